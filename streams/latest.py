"""The freshest frame of each camera, for whoever analyses: live frames that nobody took in time make room."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque

from watchline.streams.frame import Frame
from watchline.streams.ledger import Count, Drop, Ledger


class Latest:
    """Hands frames from many cameras to few takers; cameras take turns by their weights, so none is starved.

    A camera has one place (or `places`), the oldest frame in it makes room for a new one and counts as replaced.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._boxes: dict[str, _Box] = {}
        # Cameras that have a frame waiting, each once; the least goes first. Each frame moves its camera back by the
        # inverse of its weight, so that of two that always wait, one of twice the weight is taken twice as often.
        self._turns: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._now = 0.0  # place of the camera that went last: where one that comes anew stands
        self._closed = False

    def add(self, camera: str, ledger: Ledger, places: int = 1, lossless: bool = False, weight: float = 1.0) -> Outlet:
        """Returns where to put the frames of `camera`; they are counted in `ledger`.

        Args:
            camera: not added yet.
            ledger: of that camera.
            places: frames that may wait.
            lossless: a full box makes `put` wait instead of replacing.
            weight: how often it is its turn, where all always have a frame waiting.
        """
        with self._changed:
            if camera in self._boxes:
                raise ValueError(f"camera {camera!r}: added twice")
            self._boxes[camera] = box = _Box(ledger, places, lossless, weight)
        return Outlet(self, camera, box)

    def remove(self, camera: str) -> None:
        """Forgets a camera, if it is there; frames of it that wait count as stopped, and later ones are refused."""
        with self._changed:
            box = self._boxes.pop(camera, None)
            if box is None:
                return
            self._remove(box)
            self._turns = [turn for turn in self._turns if turn[2] != camera]
            heapq.heapify(self._turns)
            self._changed.notify_all()

    def _remove(self, box: _Box) -> None:
        box.removed = True
        box.ledger.drop(Drop.STOPPED, len(box.frames))
        box.frames.clear()

    def weigh(self, camera: str, weight: float) -> None:
        """Gives a camera that was added another weight."""
        with self._changed:
            self._boxes[camera].weight = weight

    def put(self, camera: str, box: _Box, frame: Frame) -> None:
        """See `Outlet.put`."""
        with self._changed:
            if box.lossless:
                self._changed.wait_for(lambda: box.removed or len(box.frames) < box.places)
            if box.removed:
                box.ledger.drop(Drop.STOPPED)
                return
            if len(box.frames) == box.places:
                box.frames.popleft()
                box.ledger.drop(Drop.REPLACED)
            elif not box.frames:
                self._line_up(camera, box)
            box.frames.append(frame)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Frame | None:
        """Returns the frame of the camera whose turn it is, or None after `timeout_s` or `close()`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._turns or self._closed, timeout_s) or not self._turns:
                return None
            self._now, _, camera = heapq.heappop(self._turns)
            box = self._boxes[camera]
            box.place = self._now + 1 / box.weight
            frame = box.frames.popleft()
            box.ledger.add(Count.DELIVERED)
            if box.frames:
                self._line_up(camera, box)
            if box.lossless:
                self._changed.notify_all()
            return frame

    def _line_up(self, camera: str, box: _Box) -> None:
        box.place = max(box.place, self._now)  # what it did not use while it had nothing is not made up for
        heapq.heappush(self._turns, (box.place, next(self._order), camera))

    def lose(self, box: _Box, reason: Drop) -> None:
        """See `Outlet.lose`."""
        with self._changed:
            box.ledger.drop(reason, box.ledger.in_flight - len(box.frames))

    def close(self) -> None:
        """Forgets all cameras; whoever waits in `take` or `put` returns."""
        with self._changed:
            self._closed = True
            for box in self._boxes.values():
                self._remove(box)
            self._boxes.clear()
            self._turns.clear()
            self._changed.notify_all()


class _Box:
    """The frames of one camera that wait, oldest first."""

    def __init__(self, ledger: Ledger, places: int, lossless: bool, weight: float) -> None:
        self.weight = weight
        self.place = 0.0
        self.ledger = ledger
        self.places = places
        self.lossless = lossless
        self.frames: deque[Frame] = deque()
        self.removed = False


class Outlet:
    """Where one camera puts its frames."""

    def __init__(self, latest: Latest, camera: str, box: _Box) -> None:
        self._latest = latest
        self._camera = camera
        self._box = box

    def put(self, frame: Frame) -> None:
        """Offers a frame that was counted as received; from here on it is delivered or counted as dropped."""
        self._latest.put(self._camera, self._box, frame)

    def lose(self, reason: Drop) -> None:
        """Counts as dropped what was received and neither waits here nor is settled; whoever received it has ended."""
        self._latest.lose(self._box, reason)
