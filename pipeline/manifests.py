"""The manifest of an export: which of its files holds which sightings, so that an erasure finds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from watchline.pipeline.files import writing

MANIFEST: Final = "watchline-export.json"
_MOST_BYTES: Final = 256_000_000
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export.

    Attributes:
        file: its path from the manifest's folder, with slashes.
        sha256: of what was written.
        size_bytes: of it.
        sightings: ids of what is in it.
    """

    file: str
    sha256: str
    size_bytes: int
    sightings: tuple[str, ...]

    def place(self, folder: Path) -> Path | None:
        """Returns the file, or None where it is gone, lies elsewhere, or is no longer what was written."""
        parts = PurePosixPath(self.file).parts
        if not parts or ".." in parts or PurePosixPath(self.file).is_absolute() or "\\" in self.file:
            return None
        path = folder.joinpath(*parts)
        with writing(path):
            if path.is_symlink() or not path.is_file() or path.resolve().parent != path.parent.resolve():
                return None
            if not path.resolve().is_relative_to(folder.resolve()):
                return None
            return path if path.stat().st_size == self.size_bytes and sha256_of(path) == self.sha256 else None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export wrote.

    Attributes:
        store: name of the store.
        selection: what was exported, in words.
        made: when, as text.
        files: all but the manifest itself.
    """

    store: str
    selection: str
    made: str
    files: tuple[ExportedFile, ...]

    def to_json(self) -> str:
        """Returns it as its file has it."""
        return json.dumps({"made_by": "watchline sightings export", **asdict(self)}, indent=1) + "\n"


def read_manifest(path: Path) -> Manifest | None:
    """Returns the manifest in a file; None where there is none, or the file is something else."""
    with writing(path):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        data = path.read_bytes()
    try:
        said = json.loads(data)
        files = tuple(
            ExportedFile(str(f["file"]), str(f["sha256"]), int(f["size_bytes"]), tuple(map(str, f["sightings"])))
            for f in said["files"]
        )
        return Manifest(str(said["store"]), str(said["selection"]), str(said["made"]), files)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def manifests_in(folder: Path) -> Iterator[tuple[Path, Manifest]]:
    """Yields the manifests in a folder and those below it; links are not followed."""
    for path in sorted(folder.rglob(f"*{MANIFEST}")):
        manifest = read_manifest(path)
        if manifest is not None:
            yield path, manifest


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, in hex."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()
