"""Trackers by name, for configuration files and the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from watchline.streams.errors import UsageError
from watchline.trackers.byte_track import ByteTrack, ByteTrackOptions
from watchline.trackers.tracker import Tracker

_LEAST_INTERVALS: Final = 3  # a track must outlive a missed frame or two, however far apart frames are


def _byte_track(interval_s: float, score: float) -> Tracker:
    usual = ByteTrackOptions()
    return ByteTrack(
        ByteTrackOptions(
            high_score=score,
            new_score=score,
            low_score=min(usual.low_score, score),
            lost_s=max(usual.lost_s, _LEAST_INTERVALS * interval_s),
        )
    )


TRACKERS: Final[Mapping[str, Callable[[float, float], Tracker]]] = MappingProxyType({"bytetrack": _byte_track})


def build_tracker(name: str, interval_s: float = 0.0, score: float = 0.5) -> Tracker:
    """Returns a new tracker with its own ids.

    Args:
        name: one of `TRACKERS`.
        interval_s: usual time between two frames, seconds; a track lives at least three of them unseen.
        score: least score of a detection that begins a track, in [0, 1]; fainter ones, down to 0.1, keep it alive.

    Raises:
        UsageError: no such tracker; names the nearest and all.
    """
    if name not in TRACKERS:
        near = "".join(f', did you mean "{match}"?' for match in get_close_matches(name, TRACKERS, n=1))
        raise UsageError(f'no tracker "{name}"{near or ";"} known: {", ".join(TRACKERS)}')
    return TRACKERS[name](interval_s, score)
