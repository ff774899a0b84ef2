"""Live cameras through FFmpeg: RTSP, HTTP (MJPEG, HLS), RTMP and Video4Linux, decoded by PyAV in software."""

from __future__ import annotations

import errno
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from watchline.streams.address import Kind
from watchline.streams.camera_settings import CameraSettings, Hardware, Transport
from watchline.streams.connection import FIRST_KEY_S, Arrival
from watchline.streams.diagnosis import camera_error
from watchline.streams.failure import CameraError, Reason
from watchline.streams.libav import FALLBACK_FPS, MAX_PIXELS, release
from watchline.streams.libav_failure import why
from watchline.streams.libav_losses import Losses, renewed
from watchline.streams.libav_picture import Converter, quarter_turns
from watchline.streams.pace import Pace
from watchline.streams.source import SourceInfo

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer
    from av.stream import Stream

# What FFmpeg may use to follow an address; nothing reaches files, pipes or other protocols from a stream's content.
_PROTOCOLS = MappingProxyType(
    {
        Kind.RTSP: "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto",
        Kind.HTTP: "http,https,tcp,tls,crypto",
        Kind.RTMP: "rtmp,rtmps,tcp,tls,crypto",
    }
)
_FORMATS = MappingProxyType(
    {
        Kind.RTSP: "rtsp,rtp",
        Kind.HTTP: "hls,mpegts,mpjpeg,mjpeg,jpeg_pipe,flv,mov,mp4,matroska,webm,h264,hevc,mpegvideo,aac",
        Kind.RTMP: "flv",
        Kind.DEVICE: "video4linux2,v4l2",
    }
)
_FORMATS_WITHOUT_TIMES = frozenset({"mpjpeg", "mjpeg", "jpeg_pipe", "h264", "hevc"})  # FFmpeg makes them up
_SEGMENTS_S = 30.0  # a playlist may add a segment that rarely, and gives it in one burst
_PROBE_S = 0.1  # for which FFmpeg may look at a stream before it tells what is in it
_SENDER_TIME = struct.Struct("<q")  # microseconds since 1970, the first field of AVProducerReferenceTime


class LibavConnection:
    """One connection to a live camera."""

    def __init__(self, settings: CameraSettings) -> None:
        """Connects, and waits until the stream says what is in it.

        Raises:
            CameraError: there is no connection, or no video in it.
        """
        self._settings = settings
        self._failure = partial(camera_error, settings)
        self._container, self._transport, self._losses = _open(settings)
        # A playlist gives whole segments at once: they are played at the speed at which they were taken.
        self._pace = Pace() if self._container.format.name == "hls" else None
        self._silent_s = max(settings.silent_after_s, _SEGMENTS_S if self._pace else 0.0)
        self._timeless = not _FORMATS_WITHOUT_TIMES.isdisjoint(self._container.format.name.split(","))
        self._packets = self._container.demux()  # of sound too, which must not hide that the pictures are silent
        self._pictures: Iterator[VideoFrame] = iter(())
        try:
            self._stream = self._video()
            self._context = self._stream.codec_context
            self._context.options = {"max_pixels": str(MAX_PIXELS)}
            self._context.thread_count = 1
            self._context.thread_type = "NONE"
        except CameraError:
            self.close()
            raise
        self._time_base_s = float(self._stream.time_base or 1)
        self._info = SourceInfo("live", self._stream.width, self._stream.height, self._fps(), None, None, self._codec())
        self._converter = Converter()
        self._sender_s: float | None = None  # wall clock of the sender, less the stream's time
        self._undecodable = 0
        self._first_error = ""
        self._packet_s = self._picture_s = time.monotonic()  # when the last of each came
        self._packet_count = self._picture_count = 0
        self._last_pts_s = 0.0

    @property
    def info(self) -> SourceInfo:
        """Size and codec as they are now; `fps` is 25 where the stream says nothing."""
        return self._info

    @property
    def backend(self) -> str:
        """What connects and decodes."""
        import av

        how = f", {self._transport}" if self._settings.address.kind is Kind.RTSP else ""
        return f"pyav {av.__version__} (FFmpeg {av.ffmpeg_version_info}), {self._codec()} in software{how}"

    @property
    def undecodable(self) -> int:
        """Packets so far of which no picture could be made."""
        return self._undecodable

    def read(self) -> Arrival:
        """See `Connection.read`."""
        while (frame := next(self._pictures, None)) is None:
            self._pictures = self._decode(self._next_packet())
        if (frame.width, frame.height) != (self._info.width, self._info.height) and not quarter_turns(frame) % 2:
            self._info = replace(self._info, width=frame.width, height=frame.height)
        pts_s = None if frame.pts is None or self._timeless else frame.pts * self._time_base_s
        self._play(pts_s)
        sent_at = None if pts_s is None or self._sender_s is None else self._sender_s + pts_s
        picture = partial(self._converter.picture, frame)
        damaged = frame.is_corrupt or (self._losses is not None and self._losses.may_damage(frame.pts))
        return Arrival(pts_s, sent_at, bool(frame.key_frame), damaged, picture)

    def close(self) -> None:
        """Ends the connection; pictures given out stay valid."""
        self._pictures = iter(())
        release(self._packets)
        self._container.close()
        if self._losses is not None:
            self._losses.close()

    def _play(self, pts_s: float | None) -> None:
        """Notes that a picture came; one of a burst is held back until it is due."""
        self._picture_count += 1
        if self._pace and pts_s is not None:
            self._pace.wait(pts_s - self._last_pts_s)
            self._last_pts_s = pts_s
            self._packet_s = time.monotonic()
        self._picture_s = time.monotonic()

    def _video(self) -> VideoStream:
        streams = self._container.streams
        if not streams.video:
            kinds = ", ".join(sorted({stream.type for stream in streams})) or "nothing"
            raise self._failure(Reason.NO_VIDEO, f"sends {kinds} only, no video", "name a stream with pictures")
        stream = streams.best("video") or streams.video[0]
        if stream.codec_context is None:
            raise self._failure(Reason.CODEC, "its video codec is not known here", "set the camera to H.264 or H.265")
        return stream  # type: ignore[return-value]  # the best video stream is a video stream

    def _fps(self) -> float:
        rates = (float(rate) for rate in (self._stream.average_rate, self._stream.guessed_rate) if rate)
        return next((rate for rate in rates if 0 < rate <= 240), FALLBACK_FPS)

    def _codec(self) -> str:
        return self._stream.codec_context.name

    def _next_packet(self) -> Packet[VideoStream]:
        """Waits for a packet that holds something."""
        while True:
            packet = self._any_packet()
            now_s = time.monotonic()
            silent_s = now_s - self._packet_s
            if packet.size == 0 and packet.dts is None:
                raise self._failure(Reason.ENDED, "the camera ended the stream")
            if silent_s >= self._silent_s:
                raise self._failure(Reason.TIMEOUT, f"no packet for {silent_s:.1f} s")
            if packet.stream_index == self._stream.index:
                break
        self._packet_s = now_s
        self._packet_count += 1
        if now_s - self._picture_s >= self._picture_patience_s():
            said = f": {self._first_error}" if self._first_error else ""
            damage = f" ({self._undecodable} could not be decoded{said})" if self._undecodable else ""
            text = f"packets, but no picture for {now_s - self._picture_s:.1f} s{damage}"
            raise self._failure(Reason.CORRUPT, text)
        return cast("Packet[VideoStream]", packet)

    def _any_packet(self) -> Packet[Stream]:
        """Waits for a packet of any stream; the last one of all is empty."""
        from av.error import FFmpegError

        try:
            losses = self._losses
            return next(self._packets) if losses is None else losses.next_packet(self._packets, self._codec())
        except StopIteration:
            raise self._failure(Reason.ENDED, "the camera ended the stream") from None
        except FFmpegError as error:
            if error.errno == errno.EIO:  # HTTP and RTMP end so
                raise self._failure(Reason.ENDED, "the camera ended the stream") from None
            reason, text = why(error, self._settings)
            # Interrupted reads give what was left over first: silence is what it was, not that packet.
            text = f"no packet for {time.monotonic() - self._packet_s:.1f} s" if reason is Reason.TIMEOUT else text
            raise self._failure(reason, text) from None

    def _picture_patience_s(self) -> float:
        if self._picture_count:
            return self._silent_s
        hopeless = 2 * self._undecodable > self._packet_count
        return self._settings.open_timeout_s if hopeless else max(FIRST_KEY_S, self._settings.open_timeout_s)

    def _decode(self, packet: Packet[VideoStream]) -> Iterator[VideoFrame]:
        from av.error import FFmpegError

        if packet.pts is not None and packet.has_sidedata("prft"):
            (sent_us,) = _SENDER_TIME.unpack_from(bytes(packet.get_sidedata("prft")))
            self._sender_s = sent_us / 1e6 - packet.pts * self._time_base_s
        last: list[VideoFrame] = []
        if self._losses is not None and self._losses.is_over:
            last, self._context = renewed(self._context)
        try:
            return iter(last + self._context.decode(packet))
        except FFmpegError as error:
            self._undecodable += 1
            self._first_error = self._first_error or str(error.strerror)
            return iter(last)


def _open(settings: CameraSettings) -> tuple[InputContainer, Transport, Losses | None]:
    """Returns the open stream, how it comes, and what hears of its losses where there may be some."""
    from av.error import FFmpegError

    if settings.hardware is not Hardware.NEVER:
        raise camera_error(settings, Reason.CODEC, "PyAV decodes in software only", "set its backend to gstreamer")
    transports = [settings.transport]
    if settings.transport is Transport.AUTO:
        transports = [Transport.TCP, Transport.UDP] if settings.address.kind is Kind.RTSP else [Transport.TCP]
    refused: FFmpegError | ValueError | None = None
    begun_s = time.monotonic()
    for transport in transports:
        try:
            if transport is Transport.UDP and settings.address.kind is Kind.RTSP:
                container, losses = _open_lossy(settings)
                return container, transport, losses
            return _open_by(settings, transport), transport, None
        except FFmpegError as error:
            refused = error
            if error.errno != errno.EPROTONOSUPPORT:
                break
        except ValueError as error:  # PyAV's own refusals
            refused = error
            break
    if time.monotonic() - begun_s >= settings.open_timeout_s:  # whatever the interrupted step says of itself
        reason, text = Reason.TIMEOUT, f"did not answer within {settings.open_timeout_s:.1f} s"
    elif isinstance(refused, FFmpegError):
        reason, text = why(refused, settings)
    else:
        reason, text = Reason.PROTOCOL, str(refused)
    raise camera_error(settings, reason, text)


def _open_lossy(settings: CameraSettings) -> tuple[InputContainer, Losses]:
    from av.error import HTTPOtherClientError

    losses = Losses()
    try:
        with losses.listen():
            try:  # sound is not asked for: what FFmpeg says of losses does not say whose they are
                return _open_by(settings, Transport.UDP, allowed_media_types="video"), losses
            except HTTPOtherClientError:  # so servers answer who are to play nothing; what they have is told then
                return _open_by(settings, Transport.UDP), losses
    except BaseException:
        losses.close()
        raise


def _open_by(settings: CameraSettings, transport: Transport, **more: str) -> InputContainer:
    import av

    def opened(silent_s: float) -> InputContainer:
        return av.open(
            settings.address.url,
            "r",
            format="v4l2" if settings.address.kind is Kind.DEVICE else None,
            options=_options(settings, transport) | more,
            timeout=(settings.open_timeout_s, silent_s),
            metadata_errors="replace",
        )

    container = opened(settings.silent_after_s)
    if container.format.name == "hls" and settings.silent_after_s < _SEGMENTS_S:
        container.close()
        container = opened(_SEGMENTS_S)
    return container


def _options(settings: CameraSettings, transport: Transport) -> dict[str, str]:
    address = settings.address
    probe = {"fpsprobesize": "0", "analyzeduration": str(round(_PROBE_S * 1e6))}
    if address.kind is Kind.DEVICE:
        return {"format_whitelist": _FORMATS[address.kind]}
    options = {
        **probe,
        "protocol_whitelist": _PROTOCOLS[address.kind],
        "format_whitelist": _FORMATS[address.kind],
        "user_agent": "watchline",
    }
    if address.scheme in ("rtsps", "https", "rtmps"):
        options["tls_verify"] = str(int(settings.tls_verify))
        if settings.tls_verify:
            options["ca_file"] = settings.tls_authorities or _system_authorities()
    if address.kind is Kind.RTSP:
        options |= _TRANSPORTS[transport]
    if address.kind is Kind.HTTP:
        options["live_start_index"] = "-1"  # of a playlist: its newest segment
    if address.kind is Kind.RTMP:
        options["rtmp_live"] = "live"
    return options


def _system_authorities() -> str:
    """Returns the file of the certificate authorities that this machine trusts; FFmpeg's own build knows none."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or next((name for name in _AUTHORITIES if Path(name).exists()), paths.openssl_cafile)


_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
_UDP_BUFFER_BYTES = 1 << 20  # a key frame comes in one burst; the system may grant less
_TRANSPORTS = MappingProxyType(
    {
        Transport.TCP: {"rtsp_transport": "tcp"},
        Transport.UDP: {"rtsp_transport": "udp", "buffer_size": str(_UDP_BUFFER_BYTES)},
    }
)
