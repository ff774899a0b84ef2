"""Hears of datagrams that were lost on their way to FFmpeg, which tells of them in its log and nowhere else.

PyAV switches that log on for the whole process, or not at all. So it is on only while some camera is read over UDP, and
then its lines reach nobody but the thread that reads such a camera, unless the application had switched it on itself.
FFmpeg's log needs Python's lock: a decoder with threads of its own must not be closed by one that holds the lock while
its threads have something to say. Cameras decode without such threads, and so do files unless asked otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, cast

from watchline.streams.lost_datagrams import Doubt, is_key

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame
    from av.stream import Stream

_TELLER = "rtsp"
_SIGNS = ("RTP: ", "max delay reached", "jitter buffer full")  # how FFmpeg's words for it begin
_MAX_REMEMBERED = 256
_UNHEARD = logging.CRITICAL + 1


class Losses:
    """Says which pictures of one connection over UDP may be damaged. Close it: FFmpeg's log is on until then.

    Attributes:
        is_over: the packet just given is the key frame that ends the damage; see `renewed`.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._doubt = Doubt()
        self._doubts = False  # the packet just given
        self._doubtful: dict[int | None, None] = {}  # times of packets, in the stream's units, oldest first
        self._lost = False
        self._closed = False
        _SWITCH.turn_on()

    def close(self) -> None:
        """Stops listening. Safe to call twice."""
        if not self._closed:
            self._closed = True
            _SWITCH.turn_off()

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Listens to what FFmpeg says in this thread meanwhile, for the next packet."""
        from av.logging import Capture

        with Capture() as said:
            yield
        self._hear(said)

    def next_packet(self, packets: Iterator[Packet[Stream]], codec: str) -> Packet[Stream]:
        """Waits for the next of `packets`, and remembers whether its picture may be damaged.

        FFmpeg gives a packet when it has read the beginning of the one after it. A loss that it tells of meanwhile
        lies within the packet that it gives, or behind it.
        """
        from av.logging import Capture

        _SWITCH.keep_on()
        with Capture() as said:
            packet = next(packets)
        self._hear(said)
        lost, self._lost = self._lost, False
        doubted = self._doubts
        self._doubts = self._doubt.take(lost, lambda: packet.is_keyframe and is_key(codec, bytes(packet)))
        self.is_over = doubted and not self._doubts and packet.is_keyframe
        if self._doubts:
            self._doubtful[packet.pts] = None
            if len(self._doubtful) > _MAX_REMEMBERED:
                del self._doubtful[next(iter(self._doubtful))]
        return packet

    def may_damage(self, pts: int | None) -> bool:
        """Returns whether the picture of that time may be damaged; pictures come in any order."""
        return pts in self._doubtful

    def _hear(self, said: list[tuple[int, str, str]]) -> None:
        self._lost |= any(teller == _TELLER and text.startswith(_SIGNS) for _level, teller, text in said)


def renewed(decoder: VideoCodecContext) -> tuple[list[VideoFrame], VideoCodecContext]:
    """Ends a decoder that was given damaged packets; returns the pictures still in it, and a new decoder like it.

    FFmpeg's decoder of H.264 keeps something of the damage: single blocks of later pictures come out wrong, unmarked,
    even in a whole key frame (1 % of the pictures after losses). To flush it does not help.
    """
    from av import CodecContext
    from av.error import FFmpegError

    new = cast("VideoCodecContext", CodecContext.create(decoder.codec, "r"))
    new.extradata = decoder.extradata
    new.options = decoder.options
    new.thread_count, new.thread_type = decoder.thread_count, decoder.thread_type
    try:
        return decoder.decode(None), new
    except FFmpegError:
        return [], new


class _Switch:
    """Switches FFmpeg's log on while somebody listens, and leaves it as it was; one a process, as that log is."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._listeners = 0
        self._before: tuple[int | None, bool, int] = (None, True, logging.WARNING)

    def turn_on(self) -> None:
        """Counts one more listener."""
        from av.logging import get_level, get_skip_repeated, set_skip_repeated

        with self._lock:
            self._listeners += 1
            if self._listeners > 1:
                return
            python = logging.getLogger("libav")
            self._before = (get_level(), get_skip_repeated(), python.level)
            if self._before[0] is None:
                python.setLevel(_UNHEARD)  # nobody asked for these lines, and addresses may stand in them
            set_skip_repeated(False)  # two cameras may well say the same
        self.keep_on()

    def turn_off(self) -> None:
        """Counts one less."""
        from av.logging import set_level, set_skip_repeated

        with self._lock:
            self._listeners -= 1
            if self._listeners:
                return
            level, skip_repeated, python_level = self._before
            set_level(level)
            set_skip_repeated(skip_repeated)
            logging.getLogger("libav").setLevel(python_level)

    def keep_on(self) -> None:
        """Switches it on again where somebody else switched it off."""
        from av.logging import WARNING, get_level, set_level

        level = get_level()
        if level is None or level < WARNING:
            set_level(WARNING)


_SWITCH = _Switch()
