"""The pictures behind rows of features, cut again from the files that they came from, where those are still there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import numpy as np

from watchline.pipeline.cropping import Box, cut, read_picture
from watchline.pipeline.picture_lists import FEATURES_SUFFIX, LIST_SUFFIXES, is_video
from watchline.pipeline.templating import picture
from watchline.pipeline.view import jpeg_of
from watchline.reid.cutting import shrunk
from watchline.reid.features import FeatureSet
from watchline.streams.errors import StreamError
from watchline.streams.frame import U8
from watchline.streams.opening import open_source

_HEIGHT_PX: Final = 224  # at most, as stored
_WIDTH_PX: Final = 168
_SAME_TIME_S: Final = 1e-3


class Missing(StrEnum):
    """Why a picture cannot be shown."""

    GONE = "picture not there"
    OUTSIDE = "picture not shown"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture to look for.

    Attributes:
        path: of its file.
        box: in it, xyxy pixels; None for all of it.
        time_s: in a video; NaN for a picture.
    """

    path: Path
    box: Box | None
    time_s: float


class Grounds:
    """Where pictures may be taken from. What a file of features names may be any file of this machine.

    Args:
        folders: with all below them; files are good, too.
        beside: folder from which names may be meant, as they may be from each of `folders`, and from here.
    """

    def __init__(self, folders: Iterable[Path], beside: Path) -> None:
        given = [_absolute(path) for path in folders]
        self._real = tuple(path.resolve() for path in given)
        self._all = (*self._real, *given)
        self._bases = dict.fromkeys((Path.cwd(), beside, *given))

    @classmethod
    def of(cls, spec: str, folders: Iterable[Path]) -> Self:
        """Returns the grounds of an input.

        A folder, a picture and a video are named by the user and so may be shown; so may what lies in the folder of a
        list. A file of features opens nothing: where it lies, such as among downloads, others lie that it may name.

        Args:
            spec: the input.
            folders: that the user opened.
        """
        path = Path(spec)
        suffix = path.suffix.lower()
        is_list = suffix in LIST_SUFFIXES and not path.is_dir()
        own = [] if suffix == FEATURES_SUFFIX else [path.parent if is_list else path]
        return cls([*own, *folders], path.parent)

    def find(self, named: str) -> Path | Missing:
        """Returns the file that a name means. What lies outside is not even looked for: nobody is to learn of it.

        A link is judged by where it leads.
        """
        if not named:
            return Missing.GONE
        why = Missing.OUTSIDE
        for base in self._bases:
            path = _absolute(base / named)
            if not _within(path, self._all):
                continue
            try:
                real = path.resolve()
                if not _within(real, self._real):
                    continue
                if real.is_file():
                    return real
            except (OSError, ValueError, RuntimeError):  # no name of a file, or links that go round in a circle
                pass
            why = Missing.GONE
        return why


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - takes ".." away without asking the disk


def _within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def wanted(features: FeatureSet, row: int, grounds: Grounds) -> Wanted | Missing:
    """Returns what to look for, or why there is nothing to show.

    Args:
        features: where the row is.
        row: of the picture.
        grounds: where its file may lie.
    """
    path = grounds.find(str(features.file[row]))
    if isinstance(path, Missing):
        return path
    left, top, right, bottom = (float(side) for side in features.box[row])
    box = None if np.isnan(features.box[row]).any() else (left, top, right, bottom)
    return Wanted(path, box, float(features.time_s[row]))


def find_pictures(
    asked: Iterable[Wanted], on_progress: Callable[[int], None] = lambda _found: None
) -> dict[Wanted, str]:
    """Returns each picture that is still there as a small JPEG in a data URI.

    A video is played once, to the last time that is asked for.

    Args:
        asked: what to look for.
        on_progress: called with the number of pictures that were dealt with so far.
    """
    found: dict[Wanted, str] = {}
    videos: dict[Path, list[Wanted]] = {}
    done = 0
    for each in dict.fromkeys(asked):
        if is_video(str(each.path)):
            videos.setdefault(each.path, []).append(each)
            continue
        with suppress(StreamError):
            _keep(found, each, read_picture(each.path))
        done += 1
        on_progress(done)
    for path, pictures in videos.items():
        with suppress(StreamError):
            _from_video(path, pictures, found)
        done += len(pictures)
        on_progress(done)
    return found


def _from_video(path: Path, pictures: list[Wanted], found: dict[Wanted, str]) -> None:
    left = sorted((each for each in pictures if each.time_s == each.time_s), key=lambda each: each.time_s)
    with closing(open_source(str(path))) as source:
        while left and (frame := source.read()) is not None:
            while left and left[0].time_s <= frame.pts_s + _SAME_TIME_S:
                each = left.pop(0)
                if abs(each.time_s - frame.pts_s) <= _SAME_TIME_S:
                    _keep(found, each, frame.rgb())


def _keep(found: dict[Wanted, str], each: Wanted, rgb: U8) -> None:
    if each.box is not None:
        try:
            rgb = cut(rgb, each.box, str(each.path))
        except StreamError:
            return
    jpeg = jpeg_of(shrunk(rgb, _HEIGHT_PX, _WIDTH_PX)[0])
    if jpeg:
        found[each] = picture(jpeg)
