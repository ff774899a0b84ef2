"""Folders of still images, played as one camera."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np

from watchline.streams.errors import StreamError
from watchline.streams.frame import U8, ClockSource, Frame, Picture
from watchline.streams.source import SourceInfo, SourceReport

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_FILE_BYTES = 1 << 28
MAX_SENTENCES = 20


def only_images(paths: Iterable[Path]) -> list[Path]:
    """Returns the image files among `paths`, hidden ones left out, in natural order: "img2" before "img10".

    >>> [path.name for path in only_images([Path("img10.png"), Path("img2.png"), Path(".x.png"), Path("a.txt")])]
    ['img2.png', 'img10.png']
    """
    images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]
    return sorted(images, key=_natural_key)


def _natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"([0-9]+)", path.name)
    # The full path settles what the numbers leave equal: "img1" and "img01", equal names in two folders.
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)], str(path)


class ImageSource:
    """Frames made from image files, one each, in the order given.

    `sequence` is the place in that order, `pts_s` that divided by `fps`, `captured_at` the modification time of the
    file. EXIF orientation is applied. Files over 256 MiB and pictures over OpenCV's own bound of 2**30 pixels count as
    unreadable.
    """

    def __init__(self, paths: Sequence[Path], camera: str, fps: float = 25.0) -> None:
        """Reads the first readable image.

        Args:
            paths: image files.
            camera: name for the frames.
            fps: images per second of `pts_s`, above 0.

        Raises:
            StreamError: there is no readable image.
        """
        if not fps > 0:
            raise ValueError(f"fps: want above 0, got {fps}")
        self._paths = tuple(paths)
        self._camera = camera
        self._fps = fps
        self._given = 0
        self._ended = False
        self._unreadable: list[str] = []
        self._unreadable_count = 0
        self._frames = self._read_all()
        self._next = next(self._frames, None)
        if self._next is None:
            told = self._unreadable[0] if self._unreadable else "no image given"
            wish = f'camera "{camera}": none of {len(self._paths)} images can be read'
            raise StreamError(f"{wish} ({told}); check the files")
        kinds = {path.suffix.lower().lstrip(".") for path in self._paths}
        self._info = SourceInfo(
            kind="images",
            width=self._next.width,
            height=self._next.height,
            fps=fps,
            frames=len(self._paths),
            duration_s=len(self._paths) / fps,
            codec=", ".join(sorted(kinds)),
        )

    @property
    def camera(self) -> str:
        """The name that its frames carry."""
        return self._camera

    @property
    def info(self) -> SourceInfo:
        """How many images there are, and the size of the first readable one."""
        return self._info

    def read(self) -> Frame | None:
        """Returns the next readable image as a frame, or None at the end and after `close()`."""
        frame, self._next = self._next, None
        if frame is None:
            frame = next(self._frames, None)
        if frame is not None:
            self._given += 1
        return frame

    def report(self) -> SourceReport:
        """Returns what reading has shown so far; `missing` are the unreadable images, once the end was reached."""
        damage = list(self._unreadable)
        if self._unreadable_count > len(damage):
            damage[-1] = f"and {self._unreadable_count - len(damage) + 1} more images that cannot be read"
        missing = self._unreadable_count if self._ended else 0
        return SourceReport(self._given, self._unreadable_count, missing, tuple(damage))

    def close(self) -> None:
        """Ends reading."""
        self._next = None
        self._frames.close()

    def _note(self, path: Path, error: OSError | ValueError) -> None:
        self._unreadable_count += 1
        if len(self._unreadable) < MAX_SENTENCES:
            reason = error.strerror if isinstance(error, OSError) else error
            self._unreadable.append(f"{path.name}: {reason}")

    def _read_all(self) -> Generator[Frame, None, None]:
        for index, path in enumerate(self._paths):
            try:
                rgb, captured_at = _decode(path)
            except (OSError, ValueError) as error:
                self._note(path, error)
                continue
            picture = Picture.from_rgb(rgb)
            yield Frame(self._camera, index, index / self._fps, captured_at, ClockSource.FILE, picture)
        self._ended = True


def _decode(path: Path) -> tuple[U8, float]:
    """Returns (H, W, 3) uint8 RGB, read only, and the file's modification time.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too big or no image.
    """
    import cv2

    status = path.stat()
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(f"has {status.st_size} bytes, more than {MAX_FILE_BYTES}")
    if status.st_size == 0:
        raise ValueError("is empty (0 bytes)")
    try:
        bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"is refused by OpenCV, which wants {error.err}") from error
    if bgr is None:
        raise ValueError("is not an image or is damaged")
    rgb: U8 = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[assignment]
    rgb.flags.writeable = False
    return rgb, status.st_mtime
