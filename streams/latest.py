"""The freshest frame of each camera, for whoever analyses: live frames that nobody took in time make room."""

from __future__ import annotations

import threading
from collections import deque

from watchline.streams.frame import Frame
from watchline.streams.ledger import Count, Drop, Ledger


class Latest:
    """Hands frames from many cameras to few takers; cameras take turns, so none is starved.

    A camera has one place (or `places`), the oldest frame in it makes room for a new one and counts as replaced.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._boxes: dict[str, _Box] = {}
        self._turns: deque[str] = deque()  # cameras that have a frame waiting, each once
        self._closed = False

    def add(self, camera: str, ledger: Ledger, places: int = 1, lossless: bool = False) -> Outlet:
        """Returns where to put the frames of `camera`; they are counted in `ledger`.

        Args:
            camera: not added yet.
            ledger: of that camera.
            places: frames that may wait.
            lossless: a full box makes `put` wait instead of replacing.
        """
        with self._changed:
            if camera in self._boxes:
                raise ValueError(f"camera {camera!r}: added twice")
            self._boxes[camera] = box = _Box(ledger, places, lossless)
        return Outlet(self, camera, box)

    def remove(self, camera: str) -> None:
        """Forgets a camera, if it is there; frames of it that wait count as stopped, and later ones are refused."""
        with self._changed:
            box = self._boxes.pop(camera, None)
            if box is None:
                return
            self._remove(box)
            self._turns = deque(name for name in self._turns if name != camera)
            self._changed.notify_all()

    def _remove(self, box: _Box) -> None:
        box.removed = True
        box.ledger.drop(Drop.STOPPED, len(box.frames))
        box.frames.clear()

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
                self._turns.append(camera)
            box.frames.append(frame)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Frame | None:
        """Returns the frame of the camera whose turn it is, or None after `timeout_s` or `close()`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._turns or self._closed, timeout_s) or not self._turns:
                return None
            camera = self._turns.popleft()
            box = self._boxes[camera]
            frame = box.frames.popleft()
            box.ledger.add(Count.DELIVERED)
            if box.frames:
                self._turns.append(camera)
            if box.lossless:
                self._changed.notify_all()
            return frame

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

    def __init__(self, ledger: Ledger, places: int, lossless: bool) -> None:
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
