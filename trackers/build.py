"""Trackers by name, for configuration files and the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from watchline.streams.errors import UsageError
from watchline.trackers.byte_track import ByteTrack
from watchline.trackers.tracker import Tracker

TRACKERS: Final[Mapping[str, Callable[[], Tracker]]] = MappingProxyType({"bytetrack": ByteTrack})


def build_tracker(name: str) -> Tracker:
    """Returns a new tracker with its own ids.

    Args:
        name: one of `TRACKERS`.

    Raises:
        UsageError: no such tracker; names the nearest and all.
    """
    if name not in TRACKERS:
        near = "".join(f', did you mean "{match}"?' for match in get_close_matches(name, TRACKERS, n=1))
        raise UsageError(f'no tracker "{name}"{near or ";"} known: {", ".join(TRACKERS)}')
    return TRACKERS[name]()
