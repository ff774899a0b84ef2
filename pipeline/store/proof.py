"""The record of an erasure: what was erased, and where nothing of it was found. It holds none of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from watchline.pipeline.files import sync_folder
from watchline.pipeline.store.seam import Erased, Selection
from watchline.streams.errors import OutputError

FORMAT: Final = "watchline erasure 1"


def proof_of(erased: Erased, asked: Selection, store: Path, at: float, version: str) -> dict[str, object]:
    """Returns the record of an erasure, ready for JSON.

    Args:
        erased: what the store says.
        asked: what it was asked to erase.
        store: its file.
        at: when it was done, UTC seconds.
        version: of watchline.
    """
    return {
        "format": FORMAT,
        "store": str(store),
        "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
        "watchline": version,
        "asked": {name: value for name, value in asdict(asked).items() if value not in ((), "", None)},
        "sightings": [
            {"id": id_, "sha256": sha256} for id_, sha256 in zip(erased.sightings, erased.sha256, strict=True)
        ],
        "crops": erased.crops,
        "vectors": erased.vectors,
        "searched": {
            "files": list(erased.files),
            "bytes": erased.bytes_searched,
            "found": 0,
            "least_fragment_bytes": erased.fragment_bytes,
        },
        "kept_sightings_with_the_same_data": list(erased.shared),
        "backups_removed": list(erased.backups),
    }


def proves(path: Path, ids: Sequence[str], *, complete: bool) -> bool:
    """Is a file the record of the erasure of these sightings, that ended as this one does?"""
    try:
        said = json.loads(path.read_bytes())
        return [each["id"] for each in said["sightings"]] == list(ids) and said["complete"] is complete
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def write_proof(path: Path, proof: dict[str, object]) -> None:
    """Writes a record to a new file, for its owner alone.

    Raises:
        OutputError: there is a file of that name, or it cannot be written.
    """
    text = json.dumps(proof, indent=2) + "\n"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.absolute().parent)
        except OSError:
            path.unlink(missing_ok=True)  # half of one proves nothing, and would stand in the way of the next
            raise
    except OSError as error:
        raise OutputError(f"{path}: the proof cannot be written: {error.strerror or error}") from error
