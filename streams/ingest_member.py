"""One camera of an ingest process, as its parent sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Frame
from watchline.streams.ingest_wire import Channel, FrameNote, Message, settings_out
from watchline.streams.ledger import Count, Drop, Ledger
from watchline.streams.shared_budget import SharedBudget
from watchline.streams.shared_pictures import PictureMemory, reserve_cells, shared_cells

_CLOSING_S = 2.0  # in which a connection that ended for whatever reason is closed
_SILENT_TRY_S = 30.0  # for which a try may wait for a silent camera, where its own time-out is less
_RESOLVER_S = 60.0  # for which the system may look for a host name, whatever time-outs a camera has


class LosingOutlet(Protocol):
    """Takes the frames of a camera, and is told when others will never come."""

    def put(self, frame: Frame) -> None:
        """Takes one frame."""

    def lose(self, reason: Drop) -> None:
        """Counts as dropped what was received and will never come."""


class Member:
    """One camera: its settings, its counts, and the memory of its pictures.

    Its ledger lies in memory that it shares with the process that reads the camera, and outlives that process.
    """

    def __init__(self, key: int, settings: CameraSettings) -> None:
        """No process reads it yet.

        Args:
            key: unlike that of any other, a removed one of the same name included.
            settings: which camera.

        Raises:
            CameraError: there is no memory, or no descriptor left.
        """
        self.key = key
        self.settings = settings
        self.leaving = False  # removed, but its process still reads it
        try:
            self._fd = reserve_cells()
            try:
                self.ledger = Ledger(shared_cells(self._fd))
            except OSError:
                os.close(self._fd)
                raise
        except OSError as error:
            text = f'camera "{settings.camera}": no shared memory for its counts ({error.strerror})'
            raise CameraError(Reason.MEMORY, f"{text}; use fewer cameras") from None
        self._outlet: LosingOutlet | None = None
        self._listener: Callable[[CameraEvent], None] | None = None
        self._memory: PictureMemory | None = None
        self._born_s: float | None = None  # arrival of its first frame, monotonic
        self._last_s = 0.0  # `pts_s` of its last one
        self._active_s = time.monotonic()
        self._event = CameraEvent(settings.camera, CameraState.CONNECTING, self._active_s)
        self._doubted = False  # its process says nothing, so the status must not say that it is live
        self._received = 0

    def report_to(self, outlet: LosingOutlet, listener: Callable[[CameraEvent], None]) -> None:
        """Says where its frames go, and who is told of each change of state."""
        self._outlet, self._listener = outlet, listener

    def introduce(self, channel: Channel) -> None:
        """Has a process read this camera."""
        self._memory = None  # another process may still hold it
        self._active_s = time.monotonic()
        settings = settings_out(self.settings)
        born = {"born_s": self._born_s, "last_s": self._last_s}
        channel.send("add", self._fd, key=self.key, settings=settings, **born)

    def heard(self, event: CameraEvent) -> None:
        """Takes a change of state."""
        self._active_s = time.monotonic()
        self._event, self._doubted = event, False
        self._say(event)

    def frame(self, note: FrameNote) -> None:
        """Takes a frame that lies in the shared memory.

        Raises:
            ValueError: it does not.
        """
        if self._memory is None:
            raise ValueError("a frame before there was memory for it")
        frame = note.frame(self.settings.camera, self._memory.read(note.slot, note.shape))
        if self._born_s is None:
            self._born_s = time.monotonic() - frame.pts_s
        self._last_s = frame.pts_s
        if self._outlet is not None:
            self._outlet.put(frame)

    def reserve(self, message: Message, budget: SharedBudget) -> tuple[Message, int | None]:
        """Reserves memory for pictures of the size that its process asks for.

        Returns:
            What to answer, and the descriptor that goes with it, which the caller closes; None with a refusal.
        """
        self._memory = None
        width, height, slot_bytes = (int(message[name]) for name in ("width", "height", "slot_bytes"))
        answer: Message = {"key": self.key, "ask": message["ask"]}
        try:
            self._memory, fd = budget.reserve(self.settings.camera, width, height, slot_bytes)
        except CameraError as error:
            return {"do": "refuse", **answer, "sentence": str(error)}, None
        return {"do": "memory", **answer, "slot_bytes": slot_bytes, "slots": self._memory.slots}, fd

    def leave(self) -> None:
        """Takes note that it was removed, while its process may need a moment to let it go."""
        self.leaving = True
        self._active_s = time.monotonic()

    def stuck_s(self) -> float:
        """Returns for how long it has done nothing, beyond all that it may wait for itself; negative if not."""
        now_s = time.monotonic()
        received = self.ledger[Count.RECEIVED]
        if received != self._received:
            self._received, self._active_s = received, now_s
        settings, state = self.settings, self._event.state
        if state is CameraState.STOPPED or (settings.lossless and not self.leaving):
            return -1.0
        patience_s = settings.silent_after_s + _CLOSING_S
        if state is not CameraState.LIVE:  # a frozen one is connected, but is tried anew again and again
            patience_s += self._event.retry_s + 2 * max(settings.open_timeout_s, _SILENT_TRY_S) + _RESOLVER_S
        return now_s - self._active_s - patience_s

    def doubt(self, sentence: str) -> None:
        """Says that nothing is known of it for now, where it is thought to be connected."""
        if self._event.state in (CameraState.LIVE, CameraState.FROZEN) and not self._doubted and not self.leaving:
            self._doubted = True
            text = f'camera "{self.settings.camera}": {sentence}'
            self._say(CameraEvent(self.settings.camera, CameraState.OFFLINE, time.monotonic(), Reason.TIMEOUT, text))

    def trust(self) -> None:
        """Says again how it stands, after a doubt."""
        if self._doubted:
            self._doubted = False
            self._say(replace(self._event, at_s=time.monotonic()))

    def process_ended(self, reason: Drop) -> None:
        """Counts what that process had received and not handed over."""
        self._memory = None
        if self._outlet is not None:
            self._outlet.lose(reason)

    def crashed(self, reason: Reason, sentence: str, retry_s: float) -> None:
        """Says that its process has ended, and when the next is started."""
        self.ledger.add(Count.FAILURES)
        camera = self.settings.camera
        text = f'camera "{camera}": {sentence}'
        self.heard(CameraEvent(camera, CameraState.OFFLINE, time.monotonic(), reason, text, retry_s))

    def stopped(self) -> None:
        """Says that nothing reads it any more, where its process did not come to say so."""
        if self._event.state is not CameraState.STOPPED:
            self.heard(CameraEvent(self.settings.camera, CameraState.STOPPED, time.monotonic()))

    def _say(self, event: CameraEvent) -> None:
        if self._listener is not None:
            self._listener(event)

    def close(self) -> None:
        """Closes what it holds open; its counts can still be read."""
        os.close(self._fd)
