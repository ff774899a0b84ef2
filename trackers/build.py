"""Trackers by name, for configuration files and the command line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final, Literal, TypeAlias, get_args

from watchline.streams.errors import UsageError
from watchline.trackers.byte_track import ByteTrack, ByteTrackOptions
from watchline.trackers.native_byte_track import NATIVE, NativeByteTrack
from watchline.trackers.tracker import Tracker

Backend: TypeAlias = Literal["auto", "native", "python"]

TRACKERS: Final = ("bytetrack",)
BACKENDS: Final[tuple[str, ...]] = get_args(Backend)

_LEAST_INTERVALS: Final = 3  # a track must outlive a missed frame or two, however far apart frames are


def life_s(interval_s: float) -> float:
    """Returns how long a track should live unseen, seconds, where frames are usually `interval_s` seconds apart."""
    return max(ByteTrackOptions().lost_s, _LEAST_INTERVALS * interval_s)


def byte_track(options: ByteTrackOptions, backend: Backend = "auto") -> Tracker:
    """Returns ByteTrack with its mended defaults; "auto" takes the native one where it is built.

    Raises:
        UsageError: the native one was asked for and is not built here.
    """
    native = NATIVE if backend == "auto" else backend == "native"
    return NativeByteTrack(options) if native else ByteTrack(options)


def build_tracker(name: str, interval_s: float = 0.0, score: float = 0.5, backend: Backend = "auto") -> Tracker:
    """Returns a new tracker with its own ids.

    Args:
        name: one of `TRACKERS`.
        interval_s: usual time between two frames, seconds.
        score: least score of a detection that begins a track, in [0, 1]; fainter ones, down to 0.1, keep it alive.
        backend: one of `BACKENDS`; the answers are the same.

    Raises:
        UsageError: no such tracker or backend; names the nearest and all.
    """
    for what, value, known in (("tracker", name, TRACKERS), ("backend", backend, BACKENDS)):
        if value not in known:
            near = "".join(f', did you mean "{match}"?' for match in get_close_matches(value, known, n=1))
            raise UsageError(f'no {what} "{value}"{near or ";"} known: {", ".join(known)}')
    low_score = min(ByteTrackOptions().low_score, score)
    options = ByteTrackOptions(high_score=score, new_score=score, low_score=low_score, lost_s=life_s(interval_s))
    return byte_track(options, backend)
