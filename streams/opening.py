"""From what a user names to a source: a video file, a folder of images, or a glob pattern of images."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable
from pathlib import Path

from watchline.streams.errors import StreamError
from watchline.streams.images import IMAGE_SUFFIXES, ImageSource, only_images
from watchline.streams.libav import FileSource
from watchline.streams.source import Source

_CHUNK_BYTES = 1 << 22


def open_source(spec: str, camera: str | None = None, threads: int = 1) -> Source:
    """Returns the source that `spec` names.

    Args:
        spec: a file; a folder of images; or a glob pattern of images, "**" included. A file whose name looks like a
            pattern is taken as the file.
        camera: name for its frames; the file's name without suffix, or the folder's name, when None.
        threads: decoder threads of a video file.

    Raises:
        StreamError: nothing there can be read; says what to do.
    """
    found = _find(spec)
    if isinstance(found, Path):
        return FileSource(found, camera or found.stem, threads)
    named = Path(spec)
    default = named.stem if named.is_file() else (named if named.is_dir() else found[0].parent).resolve().name
    return ImageSource(found, camera or default or "images")


def input_sha256(spec: str, stopped: Callable[[], bool] = lambda: False) -> str | None:
    """Returns the hex SHA-256 of what `spec` names, or None if `stopped` said so before the end.

    Of one file it is that of its bytes; of a folder or pattern, one over each name and the digest of its bytes, in the
    order in which they are played.

    Raises:
        StreamError: nothing there can be read.
    """
    found = _find(spec)
    if isinstance(found, Path) or Path(spec).is_file():
        digest = _file_sha256(Path(spec), stopped)
        return None if digest is None else digest.hex()
    whole = hashlib.sha256()
    for path in found:
        digest = _file_sha256(path, stopped)
        if digest is None:
            return None
        name = path.name.encode(errors="surrogateescape")
        whole.update(len(name).to_bytes(8, "big") + name + digest)
    return whole.hexdigest()


def _file_sha256(path: Path, stopped: Callable[[], bool]) -> bytes | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                if stopped():
                    return None
                digest.update(chunk)
        return digest.digest()
    except OSError as error:
        raise StreamError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _find(spec: str) -> Path | list[Path]:
    """Returns a video file, or the images in order."""
    if "://" in spec:
        # The rest of an address may hold a password.
        raise StreamError(f"{spec.partition('://')[0]}:// addresses are not read here; name a file or a folder")
    path = Path(spec)
    try:
        if path.is_dir():
            return _images_of(path)
        if path.exists():
            return only_images([path]) or path
    except OSError as error:
        raise StreamError(f"{spec}: cannot be read ({error.strerror}); check its permissions") from error
    if not glob.has_magic(spec):
        raise StreamError(f"{spec}: no such file or folder; check the name")
    matches = glob.glob(spec, recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
    images = only_images(Path(match) for match in matches)
    if not images:
        raise StreamError(f"{spec}: the pattern matches no {_suffixes()} file; check it, or name one video file")
    return images


def _images_of(folder: Path) -> list[Path]:
    images = only_images(path for path in folder.iterdir() if path.is_file())
    if not images:
        raise StreamError(
            f"{folder}: the folder holds no {_suffixes()} file; name a folder of images or one video file"
        )
    return images


def _suffixes() -> str:
    return ", ".join(sorted(suffix.lstrip(".") for suffix in IMAGE_SUFFIXES))
