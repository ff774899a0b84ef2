"""Whether a journal that is being written can be true: whole lines, ascending frames, ids of one track each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# A tracker gives a track up after a few seconds; after a restart it goes on with what was saved a few seconds before.
FORGOTTEN_S: Final = 60.0


@dataclass(slots=True)
class _Camera:
    """What was read of one camera."""

    file: str = ""
    offset: int = 0
    sequence: int = -1
    resets: int = 0
    highest: int = 0
    ends: int = 0  # of the daemon, that are reckoned with
    barred: list[range] = field(default_factory=list)  # ids given before an end that nobody knew of afterwards
    seen_at: dict[int, float] = field(default_factory=dict)


class Journals:
    """Reads what is new in the journals of all cameras; each look returns what is wrong, in sentences.

    Attributes:
        lines: read, by type.
        gaps: read, by reason.
        tracks: ids seen, of each camera.

    Args:
        folder: of the journals, a folder a camera in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cameras: dict[str, _Camera] = {}
        self._saved: Mapping[str, tuple[int, int]] = {}
        self.lines: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()

    @property
    def tracks(self) -> dict[str, int]:
        """How many ids were seen of each camera."""
        return {name: len(its.seen_at) for name, its in self._cameras.items()}

    def look(self, begins: Mapping[str, int], saved: Mapping[str, tuple[int, int]] | None = None) -> list[str]:
        """Reads on.

        Args:
            begins: how often each camera began to be read, the first time included: so often, and not once more, may
                its frames be numbered from the start.
            saved: of each camera how often the daemon has ended, and the first id that its saved tracker did not know
                then: those from there on that were seen before may not be seen again.
        """
        wrong, self._saved = [], saved or {}
        for folder in sorted(self._folder.glob("*/")):
            its = self._cameras.setdefault(folder.name, _Camera())
            for path in sorted(folder.glob("*.jsonl")):
                if path.name >= its.file:
                    wrong += [f"{path.name} of {folder.name}: {problem}" for problem in self._read(path, its)]
            if its.resets > begins.get(folder.name, 0):
                wrong.append(f"{folder.name}: frames are numbered anew the {its.resets}. time, without a cause")
                its.resets = begins.get(folder.name, 0)
        return wrong

    def _read(self, path: Path, its: _Camera) -> list[str]:
        if path.name != its.file:
            its.file, its.offset = path.name, 0
        try:
            with path.open("rb") as file:
                file.seek(its.offset)
                content = file.read()
                size = file.tell()
        except FileNotFoundError:  # retention may erase what is closed
            return []
        wrong = [f"it is {its.offset - size} bytes shorter than it was"] if size < its.offset else []
        whole = content[: content.rfind(b"\n") + 1]
        its.offset += len(whole)
        for line in whole.splitlines():
            try:
                wrong += self._take(json.loads(line), path.parent.name, its)
            except (ValueError, KeyError, TypeError) as error:
                wrong.append(f"no line of a journal ({error}): {line[:200]!r}")
        return wrong

    def _take(self, line: Mapping[str, Any], camera: str, its: _Camera) -> list[str]:
        self.lines[line["type"]] += 1
        if line["camera"] != camera:
            return [f"a line of {line['camera']}"]
        if line["type"] == "gap":
            self.gaps[line["reason"]] += 1
        if line["type"] != "tracks":
            return []
        if line["sequence"] <= its.sequence:
            its.resets += 1
            self._bar(camera, its)
        its.sequence = line["sequence"]
        wrong, at_s = [], line["captured_at"]
        for track in line["tracks"]:
            number = track["track_id"]
            away_s = at_s - its.seen_at.get(number, at_s)
            if away_s > FORGOTTEN_S:
                wrong.append(f"track {number} was seen again after {away_s:.0f} s: its id was given twice")
            if any(number in ids for ids in its.barred):
                wrong.append(f"track {number} was seen again, which the saved tracker did not know: given twice")
            its.seen_at[number] = at_s
            its.highest = max(its.highest, number)
        return wrong

    def _bar(self, camera: str, its: _Camera) -> None:
        ends, first = self._saved.get(camera, (0, 0))
        if ends > its.ends:
            its.ends = ends
            its.barred.append(range(first, its.highest + 1))


def check_end(storage: Path) -> list[str]:
    """Returns which files under the storage of a daemon that has ended are not whole."""
    files = sorted(storage.glob("tracks/*/*.jsonl"))
    wrong = [f"{path}: it does not end with a whole line" for path in files if not _ends_well(path)]
    return wrong + [f"{path}: left half-written" for path in storage.rglob("*.part")]


def _ends_well(path: Path) -> bool:
    content = path.read_bytes()
    return content == b"" or content.endswith(b"\n")
