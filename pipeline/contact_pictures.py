"""The pictures behind rows of features, cut again from the files that they came from, where those are still there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from watchline.pipeline.cropping import Box, cut, read_picture
from watchline.pipeline.picture_lists import is_video
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


def wanted(features: FeatureSet, row: int, folder: Path) -> Wanted | None:
    """Returns what to look for; None where the row names no file that is there.

    Args:
        features: where the row is.
        row: of the picture.
        folder: of the file of features, from which its names may be meant.
    """
    named = str(features.file[row])
    if not named or "\0" in named:
        return None
    try:
        path = next((path for path in (Path(named), folder / named) if path.is_file()), None)
    except OSError:  # a name too long to be one
        return None
    if path is None:
        return None
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
