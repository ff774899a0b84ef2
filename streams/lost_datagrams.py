"""What can be trusted once datagrams of a camera were lost: nothing, up to the next key frame that came whole.

Decoders fill the hole that a lost datagram leaves, and few of the pictures made so are marked. Each later picture is
drawn over the one before it, so that the damage stays until a picture needs no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from watchline.streams.connection import FIRST_KEY_S

_H264_IDR = 5
_H264_SLICES = range(1, 6)
_HEVC_IRAP = range(16, 24)  # pictures from which decoding may begin
_HEVC_SLICES = range(32)
_START_CODE = b"\0\0\1"
_LENGTH_BYTES = 4  # before each unit, where there are no start codes


class Doubt:
    """Whether the packets of one stream give pictures that can be trusted.

    A stream that refreshes its pictures little by little has no key frames: when none was seen for `FIRST_KEY_S`, its
    pictures are trusted again.
    """

    def __init__(self) -> None:
        self._since_s: float | None = None  # monotonic; later where a key frame came, but not whole

    def take(self, lost: bool, key: Callable[[], bool]) -> bool:
        """Takes the next packet, in the order of decoding.

        Args:
            lost: datagrams were lost since the packet before this one: of this one, or between the two.
            key: looks whether the packet is a key frame; asked only while in doubt.

        Returns:
            Whether its picture may be damaged.
        """
        if not lost and self._since_s is None:
            return False
        now_s = time.monotonic()
        if lost:
            self._since_s = now_s if self._since_s is None or key() else self._since_s
        elif self._since_s is not None and (key() or now_s - self._since_s >= FIRST_KEY_S):
            self._since_s = None
        return self._since_s is not None


def is_key(codec: str, packet: bytes, start_codes: bool = True) -> bool:
    """Returns whether a packet of H.264 or H.265 begins a picture that needs no other, and holds its beginning.

    Libraries call more than that a key frame: pictures with some slices that need no other, and those at which a
    refresh little by little begins.

    Args:
        codec: "h264" or "hevc"; each packet of any other codec, for example "mjpeg", is taken as a key frame.
        packet: one encoded picture.
        start_codes: its units are parted by start codes; else the length of each stands before it.
    """
    if codec not in ("h264", "hevc"):
        return True
    for at in _units(packet, start_codes):
        # In both codecs a slice's first own bit is 1 where it is the first of its picture.
        if codec == "h264":
            kind, slices, key, first = packet[at] & 31, _H264_SLICES, _H264_IDR, at + 1
            begins = kind == key
        else:
            kind, slices, first = packet[at] >> 1 & 63, _HEVC_SLICES, at + 2
            begins = kind in _HEVC_IRAP
        if kind in slices:
            return begins and first < len(packet) and packet[first] >= 128
    return False


def _units(packet: bytes, start_codes: bool) -> Iterator[int]:
    """Yields where the units of a packet begin, each with its first byte in `packet`."""
    at = 0
    while True:
        if start_codes:
            at = packet.find(_START_CODE, at) + len(_START_CODE)
            if at < len(_START_CODE) or at >= len(packet):
                return
            yield at
        else:
            begin = at + _LENGTH_BYTES
            if begin >= len(packet):
                return
            yield begin
            at = begin + int.from_bytes(packet[at:begin], "big")
