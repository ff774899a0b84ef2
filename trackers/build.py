"""Trackers by name, for configuration files and the command line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final, Literal, TypeAlias, get_args

from watchline.streams.errors import UsageError
from watchline.trackers.byte_track import ByteTrack, ByteTrackOptions
from watchline.trackers.native_byte_track import NATIVE, NativeByteTrack
from watchline.trackers.oc_sort import OcSort, OcSortOptions
from watchline.trackers.tracker import Tracker

Backend: TypeAlias = Literal["auto", "native", "python"]

TRACKERS: Final = ("bytetrack", "ocsort")
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


def oc_sort(options: OcSortOptions, backend: Backend = "auto") -> Tracker:
    """Returns OC-SORT with its mended defaults.

    Raises:
        UsageError: a native one was asked for; there is none.
    """
    if backend == "native":
        raise UsageError('ocsort has no native backend yet; take backend "auto" or "python"')
    return OcSort(options)


def build_tracker(name: str, interval_s: float = 0.0, score: float = 0.5, backend: Backend = "auto") -> Tracker:
    """Returns a new tracker with its own ids.

    Args:
        name: one of `TRACKERS`.
        interval_s: usual time between two frames, seconds.
        score: least score of a detection that begins a track, in [0, 1]; fainter ones, down to 0.1, keep it alive.
        backend: one of `BACKENDS`; the answers are the same. Native is there for bytetrack only.

    Raises:
        UsageError: no such tracker or backend; names the nearest and all. Or no native one of that name.
    """
    for what, value, known in (("tracker", name, TRACKERS), ("backend", backend, BACKENDS)):
        if value not in known:
            near = "".join(f', did you mean "{match}"?' for match in get_close_matches(value, known, n=1))
            raise UsageError(f'no {what} "{value}"{near or ";"} known: {", ".join(known)}')
    life = life_s(interval_s)
    if name == "ocsort":
        low_score = min(OcSortOptions().low_score, score)
        return oc_sort(OcSortOptions(det_score=score, low_score=low_score, lost_s=life), backend)
    low_score = min(ByteTrackOptions().low_score, score)
    return byte_track(ByteTrackOptions(high_score=score, new_score=score, low_score=low_score, lost_s=life), backend)
