"""Playlists (HLS) and other streams over HTTP that are no motion JPEG: FFmpeg fetches them, GStreamer decodes.

GStreamer (1.22) has two elements for playlists, and neither will do. Both begin four segments behind the newest one,
and ask for segments without the password that the playlist needed; nor can they be told which certificates to trust.
The older one, `hlsdemux`, follows a playlist to addresses of any kind, files of this machine among them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from watchline.streams.address import Kind
from watchline.streams.camera_settings import CameraSettings, Hardware
from watchline.streams.diagnosis import camera_error
from watchline.streams.failure import Reason
from watchline.streams.gstreamer_library import Library
from watchline.streams.libav_live import LibavConnection

if TYPE_CHECKING:
    from av import Packet, VideoStream

NS = 1_000_000_000
WAIT_S = 0.05  # for the picture of a packet, before the next packet is given
# By FFmpeg's name of the codec: GStreamer's name, and the layout of packets without and with a description beside them.
_CAPS = MappingProxyType(
    {
        "h264": ("video/x-h264", "byte-stream", "avc"),
        "hevc": ("video/x-h265", "byte-stream", "hvc1"),
        "mjpeg": ("image/jpeg", "", ""),
    }
)
_MOST_PARTS = 16  # of the stream's time that are remembered; pictures of one wait for a moment only
_LONGEST_STEP_NS = 10 * NS  # more is a jump
_EARLIEST_NS = 10 * NS  # where the decoder's time begins, for pictures may stand before 0
_DESCRIBED = 1  # first byte of a description (avcC, hvcC); packets that describe themselves begin with zeros


def is_fed(settings: CameraSettings) -> bool:
    """Returns whether FFmpeg is to fetch this stream from the start; of others over HTTP only their content tells."""
    address = settings.address
    if settings.pipeline:
        return False
    if address.kind is Kind.HTTP:
        return address.path.partition("?")[0].lower().endswith((".m3u8", ".m3u"))
    return address.scheme == "rtmps" and bool(settings.tls_authorities)  # which rtmp2src cannot be told


class Feed(LibavConnection):
    """The packets of one stream, for a GStreamer decoder; used by the thread that reads the pictures.

    It connects, watches and fails as every connection by FFmpeg does, but decodes nothing. GStreamer's decoders make
    times up where those that they are given jump: so they get times without jumps, and pictures their own times again.

    Attributes:
        codec: in FFmpeg's words.
    """

    def __init__(self, settings: CameraSettings, library: Library) -> None:
        """Connects, and waits until the stream says what is in it.

        Raises:
            CameraError: there is no connection, or no video that GStreamer takes in it.
        """
        super().__init__(replace(settings, hardware=Hardware.NEVER))
        self._library = library
        self.codec = self._codec()
        self._ahead = 0  # packets that were given, and are neither pictures nor lost yet
        self._lag = 0  # how many of them the decoder keeps
        if self.codec not in _CAPS:
            self.close()
            mend = "set the camera to H.264, H.265 or MJPEG"
            raise camera_error(settings, Reason.CODEC, f"sends {self.codec}, which is not taken", mend)
        self._description = bytes(self._context.extradata or b"")
        self._source: Any = None
        self._last_ns: int | None = None  # decoding time of the last packet, in the decoder's time
        # Parts of the stream between jumps: when each begins, and the decoder's time less its own.
        self._parts: deque[tuple[int, int]] = deque([(0, _EARLIEST_NS)], _MOST_PARTS)

    @property
    def wait_s(self) -> float:
        """For how long a picture is waited for before the next packet is given; 0 where none is due."""
        return WAIT_S if self._ahead > self._lag else 0.0

    def begin(self, source: Any) -> None:
        """Sets up the appsrc `source`, of a new decoder, to which packets are given from now on."""
        gst = self._library.gst
        self._source = source
        self._ahead = self._lag = 0
        gst.util_set_object_arg(source, "format", "time")
        source.set_property("max-bytes", 0)  # there is never more than the decoder needs for one picture
        source.set_property("caps", self._caps())

    def give(self) -> None:
        """Gives the decoder one packet more.

        Raises:
            CameraError: there is none, or there were too many without a picture.
        """
        if self._ahead > self._lag:
            self._lag = self._ahead
        packet = self._next_packet()
        if packet.has_sidedata("new_extradata"):
            self._description = bytes(packet.get_sidedata("new_extradata"))
            self._source.set_property("caps", self._caps())
        gst = self._library.gst
        buffer = gst.Buffer.new_wrapped(bytes(packet))
        buffer.pts, buffer.dts = self._times_ns(packet)
        if not packet.is_keyframe:
            buffer.set_flags(gst.BufferFlags.DELTA_UNIT)
        self._ahead += 1
        self._source.emit("push-buffer", buffer)

    def came(self, pts_ns: int | None, lost: int) -> float | None:
        """Notes that a picture was decoded, and waits until it is due.

        Args:
            pts_ns: the decoder's time of the picture.
            lost: how many packets so far gave no picture.

        Returns:
            The stream's own time of the picture, seconds; None where it tells none.
        """
        self._ahead = max(0, self._ahead - 1 - (lost - self._undecodable))
        self._lag = min(self._lag, self._ahead)
        self._undecodable = lost
        pts_s = None
        if pts_ns is not None and not self._timeless:
            before = (less_ns for begin_ns, less_ns in reversed(self._parts) if begin_ns <= pts_ns)
            less_ns = next(before, self._parts[0][1])
            pts_s = (pts_ns - less_ns) / NS
        self._play(pts_s)
        return pts_s

    def _times_ns(self, packet: Packet[VideoStream]) -> tuple[int, int]:
        """Returns the decoder's times of a packet: of its picture, and of its decoding."""
        pts_ns, dts_ns = self._in_ns(packet.pts), self._in_ns(packet.dts)
        known_ns = pts_ns if dts_ns is None else dts_ns
        if known_ns is not None:
            less_ns = self._parts[-1][1]
            if self._last_ns is not None and not 0 <= known_ns + less_ns - self._last_ns <= _LONGEST_STEP_NS:
                less_ns = self._last_ns + round(NS / self._info.fps) - known_ns
                self._parts.append(((known_ns if pts_ns is None else pts_ns) + less_ns, less_ns))
            self._last_ns = known_ns + less_ns
        return self._for_decoder(pts_ns), self._for_decoder(dts_ns)

    def _in_ns(self, ticks: int | None) -> int | None:
        return None if ticks is None else round(ticks * self._time_base_s * NS)

    def _for_decoder(self, time_ns: int | None) -> int:
        return int(self._library.gst.CLOCK_TIME_NONE) if time_ns is None else max(0, time_ns + self._parts[-1][1])

    def _caps(self) -> Any:
        gst = self._library.gst
        name, plain, described = _CAPS[self.codec]
        if not plain:
            return gst.Caps.from_string(name)
        if self._description[:1] != bytes([_DESCRIBED]):
            return gst.Caps.from_string(f"{name},stream-format={plain},alignment=au")
        form = f"{name},stream-format={described},alignment=au,codec_data=(buffer){self._description.hex()}"
        return gst.Caps.from_string(form)
