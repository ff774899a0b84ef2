"""What tests of the ingest need again and again: frames for a while, and an end to waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from watchline.streams.frame import Frame
from watchline.streams.ingest import Ingest
from watchline.streams.ingest_status import FrameCounts


def wait_for(what: Callable[[], object], within_s: float = 10.0) -> None:
    """Waits until `what()` is true."""
    until_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until_s, f"waited {within_s} s in vain"
        time.sleep(0.01)


def frames(ingest: Ingest, count: int, within_s: float = 10.0) -> Iterator[Frame]:
    """Yields the next frames; whoever keeps them all holds all slots of a process's memory."""
    until_s = time.monotonic() + within_s
    while count:
        assert time.monotonic() < until_s, f"{count} frames did not come in {within_s} s"
        if (frame := ingest.take(0.1)) is not None:
            count -= 1
            yield frame
        del frame


def skip(ingest: Ingest, count: int) -> None:
    """Waits for so many frames and lets them go."""
    for _ in frames(ingest, count):
        pass


def take_for(ingest: Ingest, seconds: float) -> list[tuple[str, int, float]]:
    """Returns camera, sequence and pts of all frames of so many seconds; the pictures are let go."""
    taken: list[tuple[str, int, float]] = []
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if (frame := ingest.take(min(left_s, 0.1))) is not None:
            taken.append((frame.camera, frame.sequence, frame.pts_s))
        del frame
    return taken


def settled(counts: FrameCounts) -> bool:
    """Returns whether every frame is accounted for, and none is in flight."""
    return counts.in_flight == 0 and counts.received == counts.delivered + sum(counts.dropped.values())
