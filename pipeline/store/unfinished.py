"""The journal of an erasure: what it needs to come to its end should its process be killed.

It is a file beside the store, for its owner alone, from before the first row goes until the erasure is proven. Of what
is erased it holds ids, checksums, and prints, by which the search finds a piece that is left; no piece itself. A store
has one at most, of 16 bytes for each window that is looked for (8 MB at most), some 100 bytes a sighting, and a note.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchline.pipeline.files import FULL, sync_folder
from watchline.pipeline.store.asking import utc_text
from watchline.pipeline.store.failures import StoreFull, told
from watchline.pipeline.store.search import PRINT_BYTES
from watchline.streams.errors import OutputError

_FORMAT: Final = "watchline unfinished erasure 1"


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """What is erased, and how it is known again.

    Attributes:
        mark: its own; the store notes it, too, so that a journal is not taken for that of another store.
        at: when it was begun, UTC seconds.
        ids: of the sightings.
        sha256: of each one's pictures and vectors, one after the other.
        crops: pictures.
        vectors: how many.
        step: bytes between two windows.
        prints: (N, PRINT_BYTES) uint8, of the windows.
        note: what the caller wants to know at the end, ready for JSON.
    """

    mark: str
    at: float
    ids: tuple[str, ...]
    sha256: tuple[str, ...]
    crops: int
    vectors: int
    step: int
    prints: NDArray[np.uint8]
    note: Mapping[str, Any]


def journal_of(store: Path) -> Path:
    """Returns where the journal of a store lies."""
    return Path(os.path.realpath(store) + ".erasing")


def begin(store: Path, sought: Sought) -> None:
    """Writes the journal; once this returns it survives a kill and a loss of power.

    Raises:
        StoreFull: there is no room for it.
        OutputError: it cannot be written.
    """
    path = journal_of(store)
    part = path.with_name(path.name + ".part")
    text = base64.b64encode(sought.prints.tobytes()).decode()
    record = asdict(replace(sought, prints=np.empty((0, PRINT_BYTES), np.uint8))) | {"prints": text}
    with told(path):
        part.unlink(missing_ok=True)  # of one that was killed here
        try:
            with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                json.dump({"format": _FORMAT, **record}, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            part.unlink(missing_ok=True)
            if error.errno not in FULL:
                raise
            raise StoreFull(f"{path}: no room left on its disk; free some: nothing was erased from it") from error
        part.replace(path)
        sync_folder(path.parent)


def unfinished(store: Path) -> Sought | None:
    """Returns the erasure that did not come to its end; None where there is none.

    Raises:
        OutputError: its journal cannot be read.
    """
    path = journal_of(store)
    with told(path):
        if not path.exists():
            return None
        data = path.read_bytes()
    try:
        said = json.loads(data)
        if said["format"] != _FORMAT:
            raise ValueError("of another format")
        prints = np.frombuffer(base64.b64decode(said["prints"], validate=True), np.uint8)
        return Sought(
            mark=str(said["mark"]),
            at=float(said["at"]),
            ids=tuple(map(str, said["ids"])),
            sha256=tuple(map(str, said["sha256"])),
            crops=int(said["crops"]),
            vectors=int(said["vectors"]),
            step=int(said["step"]),
            prints=prints.reshape(-1, PRINT_BYTES),
            note=dict(said["note"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise OutputError(
            f"{path}: the journal of an unfinished erasure is damaged ({error}); erase the same again, by what you "
            "know of it, after you removed this file"
        ) from None


def unfinished_line(store: Path) -> str:
    """Returns what is to be done about an erasure that did not come to its end; "" where there is none."""
    try:
        left = unfinished(store)
    except OutputError as error:
        return str(error)
    if left is None:
        return ""
    many = f"{len(left.ids)} sighting{'s' * (len(left.ids) != 1)}"
    return (
        f"the erasure of {many}, begun {utc_text(left.at)}, is not proven yet; where it was broken off, "
        f"`watchline erase finish --store {store}` ends it"
    )


def end(store: Path) -> None:
    """Forgets the erasure: it is proven."""
    path = journal_of(store)
    with told(path):
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
