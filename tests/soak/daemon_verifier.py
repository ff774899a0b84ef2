"""`python -m tests.soak.daemon_verifier BOARD STORAGE VERDICT`: watches a daemon from outside until it is told to end.

Each second it reads /metrics, /api/cameras and what is new in the journals, and notes what is wrong; every
three seconds what the processes hold. The verdict is written at the end, and after each finding.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.soak.daemon_board import Notice, read_notice
from tests.soak.daemon_counts import Counts, check_cameras, check_sightings, frames, parse
from tests.soak.daemon_journals import Journals
from tests.soak.daemon_usage import Sample, growths, look

EVERY_S: Final = 1.0
USAGE_EVERY_S: Final = 3.0
ANSWER_S: Final = 10.0  # within which a page comes, on a busy machine
_CALM_S: Final = 3.0  # without anything befalling before a moment counts as calm
_MOST_TOLD: Final = 200


class Verifier:
    """Watches one daemon over all its lives.

    Args:
        board: the file that tells what is done to it.
        storage: its folder.
    """

    def __init__(self, board: Path, storage: Path) -> None:
        self._board = board
        self._counts, self._journals = Counts(), Journals(storage / "tracks")
        self.wrong: list[str] = []
        self.samples: list[Sample] = []
        self._pages_s: list[float] = []
        self._begun_s = self._busy_s = time.monotonic()
        self._used_s = -USAGE_EVERY_S
        self._frames: dict[int, dict[str, dict[str, float]]] = {}
        self._stored: dict[int, int] = {}  # sightings, as each life told last
        self._steps = 0

    def step(self) -> bool:
        """Looks once; returns whether to go on."""
        before = read_notice(self._board)
        page, cameras, problem = self._pages(before)
        after = read_notice(self._board)
        now_s, excused = time.monotonic(), {*before.excused, *after.excused}
        same = before.pid == after.pid != 0
        if excused or not same:
            self._busy_s = now_s
        if same and problem:
            self._note([problem])
        if same and not problem:
            # A camera that begins anew meanwhile is compared with nothing.
            unsure = {name for name, begins in after.begins.items() if begins != before.begins.get(name)}
            self._note(self._counts.look(page, now_s, after.life, after.begins, [*excused, *unsure]))
            answer = json.loads(cameras)
            self._note(check_cameras(answer["cameras"]) + check_sightings(answer["sightings"]))
            self._stored[after.life] = answer["sightings"]["stored"]
            told = self._frames[after.life] = frames(parse(page))
            self._use(after, now_s, int(sum(its["processed"] for its in told.values())))
        self._note(self._journals.look(after.begins, after.saved))
        self._steps += 1
        return not after.over

    def verdict(self) -> dict[str, object]:
        """Returns what was found."""
        times = sorted(self._pages_s) or [0.0]
        grown = growths(self.samples)
        return {
            "looks": self._steps,
            "seconds": time.monotonic() - self._begun_s,
            "wrong": self.wrong + [problem for growth in grown for problem in growth.wrong],
            "growth": [asdict(growth) for growth in grown],
            "page_s": {"p50": times[len(times) // 2], "p99": times[int(0.99 * len(times))], "most": times[-1]},
            "frames": {
                what: int(sum(its[what] for told in self._frames.values() for its in told.values()))
                for what in ("received", "processed", "dropped")
            },
            "lives": len(self._frames),
            "journal_lines": dict(self._journals.lines),
            "gaps": dict(self._journals.gaps),
            "tracks": self._journals.tracks,
            "stored": sum(self._stored.values()),
        }

    def _pages(self, notice: Notice) -> tuple[str, str, str]:
        """Returns both pages, and why there are none."""
        if not notice.pid:
            return "", "", "away"
        begun_s = time.monotonic()
        try:
            with urllib.request.urlopen(f"{notice.url}/metrics", timeout=ANSWER_S) as answer:
                page = answer.read().decode()
            self._pages_s.append(time.monotonic() - begun_s)
            with urllib.request.urlopen(f"{notice.url}/api/cameras", timeout=ANSWER_S) as answer:
                return page, answer.read().decode(), ""
        except (OSError, urllib.error.URLError) as error:
            return "", "", f"its pages do not answer after {time.monotonic() - begun_s:.1f} s: {error}"

    def _use(self, notice: Notice, now_s: float, processed: int) -> None:
        if now_s - self._used_s >= USAGE_EVERY_S:
            self._used_s = now_s
            self.samples += look(notice.pid, now_s, processed, calm=now_s - self._busy_s >= _CALM_S)

    def _note(self, wrong: list[str]) -> None:
        at_s = time.monotonic() - self._begun_s
        self.wrong += [f"{at_s:.1f} s: {problem}" for problem in wrong][: _MOST_TOLD - len(self.wrong)]


def main() -> None:
    """Watches, and writes the verdict; ends the daemon should whoever runs the soak be gone."""
    board, storage, verdict = map(Path, sys.argv[1:4])
    verifier, told, parent = Verifier(board, storage), -1, os.getppid()
    while verifier.step():
        if os.getppid() != parent:
            _end(read_notice(board).pid)
            return
        if len(verifier.wrong) != told:
            told = len(verifier.wrong)
            _write(verdict, verifier)
        time.sleep(EVERY_S)
    _write(verdict, verifier)


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        if pid:
            os.kill(pid, signal.SIGKILL)


def _write(path: Path, verifier: Verifier) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(verifier.verdict(), indent=1))
    part.replace(path)


if __name__ == "__main__":
    main()
