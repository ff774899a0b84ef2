"""Cameras under test: reads them as a site does, checks every frame by its barcode, and every count at the end."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from tests.kit import barcode
from watchline.streams.address import Address
from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.camera_settings import Backend, CameraSettings
from watchline.streams.failure import Reason
from watchline.streams.frame import ClockSource
from watchline.streams.ingest import Ingest
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.ingest_status import FrameCounts


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame as it was delivered."""

    sequence: int
    number: int | None  # by its barcode; None where the picture is too damaged to tell
    pts_s: float
    captured_at: float
    clock: ClockSource
    clock_error_s: float
    size: tuple[int, int]  # width, height
    at_s: float  # when it was taken, monotonic


class Site:
    """Reads cameras until the end of the `with` block, where it checks what must always be true."""

    def __init__(self, group_size: int = 0, backend: str = "auto") -> None:
        """Args: group_size is of cameras a process, 0 for this one; backend of all cameras."""
        self.events: list[CameraEvent] = []
        self.seen: dict[str, list[Seen]] = defaultdict(list)
        self._backend = Backend(backend)
        self._ingest = Ingest(IngestSettings(group_size=group_size), listener=self.events.append)
        self._taker = threading.Thread(target=self._take, name="taker")
        self._closed = False

    def __enter__(self) -> Self:
        self._taker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ingest.close()
        self._closed = True
        self._taker.join(10)
        if error is None:
            self.check()

    def add(self, name: str, url: str, **settings: Any) -> None:
        """Begins to read a camera; all its frames are asked for unless `fps` says otherwise."""
        wanted = {"fps": 0.0, "backend": self._backend, **settings}
        self._ingest.add(CameraSettings(name, Address.parse(url), **wanted))

    def remove(self, name: str) -> None:
        """Ends a camera."""
        self._ingest.remove(name)

    def counts(self, name: str) -> FrameCounts:
        """What became of its frames."""
        return self._ingest.status()[name].counts

    def state(self, name: str) -> CameraState:
        """What it does now."""
        return next((event.state for event in reversed(self.events) if event.camera == name), CameraState.STOPPED)

    def wait(self, what: Callable[[], object], timeout_s: float) -> float:
        """Waits until `what()` is true; returns how long that took."""
        begun = time.monotonic()
        while not what():
            assert time.monotonic() - begun < timeout_s, f"not within {timeout_s} s; {self.events[-6:]}"
            time.sleep(0.01)
        return time.monotonic() - begun

    def wait_for_state(self, name: str, state: CameraState, timeout_s: float) -> float:
        """Waits for a state; returns how long that took."""
        return self.wait(lambda: self.state(name) is state, timeout_s)

    def wait_for_picture(self, name: str, timeout_s: float, more: int = 1) -> float:
        """Waits for `more` frames from now on; returns how long that took."""
        wanted = len(self.seen[name]) + more
        return self.wait(lambda: len(self.seen[name]) >= wanted, timeout_s)

    def reasons(self, name: str) -> list[Reason]:
        """Why it gave no picture, in order."""
        return [event.reason for event in self.events if event.camera == name and event.reason]

    def rate(self, name: str, since_s: float, until_s: float) -> float:
        """Frames a second delivered between two moments of the monotonic clock."""
        return sum(since_s <= seen.at_s < until_s for seen in self.seen[name]) / (until_s - since_s)

    def assert_kept(self, name: str, fps: float, since_s: float, until_s: float) -> None:
        """Checks that a camera delivered so many frames a second; one at each end may fall outside."""
        delivered = self.rate(name, since_s, until_s) * (until_s - since_s)
        assert delivered >= fps * (until_s - since_s) - 2, (name, delivered, until_s - since_s)

    def check(self) -> None:
        """Checks the counts, and that no frame came twice, out of order, or with a time that does not rise."""
        for name, status in self._ingest.status().items():
            counts = status.counts
            assert counts.in_flight == 0, (name, counts)
            assert counts.received == counts.delivered + sum(counts.dropped.values()), (name, counts)
            assert counts.delivered == len(self.seen[name]), (name, counts)
        for name, seen in self.seen.items():
            for before, after in pairwise(seen):
                assert after.sequence > before.sequence, (name, before, after)
                assert after.pts_s > before.pts_s, (name, before, after)

    def _take(self) -> None:
        while not self._closed:
            frame = self._ingest.take(0.2)
            if frame is None:
                continue
            picture = frame.picture
            number = barcode.read(picture.planes[0] if picture.planes else picture.rgb())
            self.seen[frame.camera].append(
                Seen(
                    frame.sequence,
                    number,
                    frame.pts_s,
                    frame.captured_at,
                    frame.clock,
                    frame.clock_error_s,
                    (frame.width, frame.height),
                    time.monotonic(),
                )
            )


def assert_own_times(seen: list[Seen], frames: int, fps: float = 25.0) -> None:
    """Checks, by the barcodes, that each frame carries its own time: steps of time are steps of numbers.

    Args:
        seen: frames of one connection, of a camera whose recording of `frames` pictures is played in a loop.
    """
    for before, after in pairwise([one for one in seen if one.number is not None]):
        assert before.number is not None
        assert after.number is not None
        steps = (after.pts_s - before.pts_s) * fps
        assert abs(steps - round(steps)) < 0.2, (before, after)
        assert (after.number - before.number) % frames == round(steps) % frames, (before, after)
