"""Watches the encoded pictures on their way to a GStreamer decoder, and holds them back when it cannot keep up."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any, NamedTuple

from watchline.streams.gstreamer_library import Library
from watchline.streams.lost_datagrams import Doubt, is_key

MAX_PACKETS = 100  # four seconds of a usual camera
MAX_BYTES = 32 << 20
ENOUGH_KEYS = 2  # of them without one picture there is no hope
_MAX_REMEMBERED = 256


class Passed(NamedTuple):
    """What is known of a packet."""

    key: bool  # it needs no other
    doubtful: bool  # datagrams of it, or of one that it needs, were lost


_UNKNOWN = Passed(key=False, doubtful=False)


class Gate:
    """Stands before the queue of a decoder; its probe runs in GStreamer's thread, the rest in the reader's.

    Decoders give pictures in the order of their times. A packet whose time has passed without a picture gave none.
    A full queue is not waited for: packets are dropped up to the next one that needs no other, and counted.
    """

    def __init__(self, library: Library) -> None:
        self._gst = library.gst
        self._lock = threading.Lock()
        self._waiting: dict[int, Passed] = {}  # by time in ns
        self._doubt: Doubt | None = None
        self._codec = ""
        self._element: Any = None
        self._is_queue = False
        self._probe = 0
        self._skipping = False
        self.packets = 0
        self.keys = 0  # packets that need no other; counted up to `ENOUGH_KEYS`
        self.lost = 0  # packets of which no picture was made
        self.packet_s = time.monotonic()  # when the last one came

    def watch(self, element: Any, lossy: str = "") -> None:
        """Begins to watch what enters `element`: a queue, whose own limits it takes away, or a sink.

        Args:
            element: where the packets come by.
            lossy: their codec in FFmpeg's words, where datagrams of them may be lost.
        """
        self._doubt, self._codec = Doubt() if lossy else None, lossy
        self._is_queue = element.find_property("max-size-time") is not None
        for limit in ("max-size-buffers", "max-size-bytes", "max-size-time") if self._is_queue else ():
            element.set_property(limit, 0)
        self._element = element
        self._probe = element.get_static_pad("sink").add_probe(self._gst.PadProbeType.BUFFER, self._pass)

    def count_keys(self, pad: Any) -> None:
        """Counts key frames that pass `pad`, before a parser that would not know a damaged one again."""
        pad.add_probe(self._gst.PadProbeType.BUFFER, self._count_key)

    def release(self) -> None:
        """Lets go of the element."""
        element, self._element = self._element, None
        if element is not None:
            element.get_static_pad("sink").remove_probe(self._probe)

    def came_out(self, pts_ns: int) -> Passed:
        """Says that the picture of that time was decoded; returns what is known of its packet."""
        with self._lock:
            late = [other for other in self._waiting if other < pts_ns]
            for other in late:
                del self._waiting[other]
            self.lost += len(late)
            return self._waiting.pop(pts_ns, _UNKNOWN)

    def _count_key(self, _pad: Any, info: Any) -> Any:
        buffer = info.get_buffer()
        self.keys += buffer is not None and not buffer.has_flags(self._gst.BufferFlags.DELTA_UNIT)
        probes = self._gst.PadProbeReturn
        return probes.OK if self.keys < ENOUGH_KEYS else probes.REMOVE

    def _pass(self, pad: Any, info: Any) -> Any:
        buffer, go_on = info.get_buffer(), self._gst.PadProbeReturn.OK
        if buffer is None:
            return go_on
        self.packet_s = time.monotonic()
        self.packets += 1
        key = not buffer.has_flags(self._gst.BufferFlags.DELTA_UNIT)
        doubtful = self._doubt is not None and self._doubts(self._doubt, pad, buffer, key)
        self._skipping = self._is_full() or (self._skipping and not key)
        with self._lock:
            if self._skipping:
                self.lost += 1
                return self._gst.PadProbeReturn.DROP
            if buffer.pts != self._gst.CLOCK_TIME_NONE:
                self._waiting[buffer.pts] = Passed(key, doubtful)
            if len(self._waiting) > _MAX_REMEMBERED:
                del self._waiting[next(iter(self._waiting))]
                self.lost += 1
        return go_on

    def _doubts(self, doubt: Doubt, pad: Any, buffer: Any, key: bool) -> bool:
        # Depayloaders mark the next packet after a loss, and the very first one.
        lost = self.packets > 1 and buffer.has_flags(self._gst.BufferFlags.DISCONT)
        return doubt.take(lost, partial(self._is_key, pad, buffer) if key else bool)

    def _is_key(self, pad: Any, buffer: Any) -> bool:
        form = pad.get_current_caps().get_structure(0).get_string("stream-format")
        return is_key(self._codec, buffer.extract_dup(0, buffer.get_size()), form == "byte-stream")

    def _is_full(self) -> bool:
        element = self._element
        if element is None or not self._is_queue:
            return False
        buffers: int = element.get_property("current-level-buffers")
        waiting_bytes: int = element.get_property("current-level-bytes")
        return buffers >= MAX_PACKETS or waiting_bytes >= MAX_BYTES
