"""Live cameras through GStreamer: RTSP, RTMP, HTTP and Video4Linux; decoded by a chip where there is one."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

from watchline.streams.address import Kind
from watchline.streams.camera_settings import CameraSettings, Transport
from watchline.streams.connection import FIRST_KEY_S, Arrival
from watchline.streams.diagnosis import camera_error
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Picture
from watchline.streams.gstreamer_decoders import HARDWARE, Choice, Decoders
from watchline.streams.gstreamer_failure import is_about_reading, parts_of, refuses_transport, why
from watchline.streams.gstreamer_feed import Feed, is_fed
from watchline.streams.gstreamer_gate import ENOUGH_KEYS, Passed
from watchline.streams.gstreamer_library import INSTALL, GStreamerMissingError, load
from watchline.streams.gstreamer_picture import matrix_of, picture_of
from watchline.streams.gstreamer_pipeline import Pipeline
from watchline.streams.libav import FALLBACK_FPS, MAX_PIXELS
from watchline.streams.libav_picture import Converter
from watchline.streams.source import SourceInfo

_WAIT_S = 0.05  # for a picture, before the watch looks at the clock and at messages
_LEAST_S = 0.5  # for another way to connect, however long the first one took
_NAME_ANOTHER = "name a stream with pictures"
_JPEG_MATRIX = 5  # ITU-T H.273: BT.601 as JPEG has it
_PAUSE_S = 0.01  # where GStreamer will not wait: its stream has ended, and the message is on its way
_NTP_TO_UNIX_S = 2_208_988_800  # from 1900 to 1970


class GStreamerConnection:
    """One connection to a live camera."""

    def __init__(self, settings: CameraSettings, chips: Decoders = HARDWARE) -> None:
        """Connects, and waits for the first picture.

        Args:
            settings: which camera, and what is wanted of it.
            chips: hardware decoders by codec, the best first.

        Raises:
            CameraError: there is no connection, no video in it, or no GStreamer here.
        """
        try:
            self._library = load()
        except GStreamerMissingError as missing:
            text = f"the backend gstreamer cannot be used: {missing}"
            raise camera_error(settings, Reason.CODEC, text, INSTALL) from None
        gst = self._library.gst
        self._settings = settings
        self._told = gst.MessageType.ERROR | gst.MessageType.EOS
        self._ntp = gst.Caps.from_string("timestamp/x-ntp")
        self._choice = Choice(self._library, settings.hardware, chips)
        self._transport = Transport.UDP if settings.transport is Transport.UDP else Transport.TCP
        self._converter = Converter()
        self._caps: Any = None
        self._info = SourceInfo("live", 0, 0, FALLBACK_FPS, None, None, "")
        self._matrix = 2
        self._sender_s: float | None = None  # wall clock of the sender, less the stream's time
        self._opened_s = time.monotonic()
        self._picture_s: float | None = None
        self._pipeline: Pipeline | None = None
        self._feed: Feed | None = None
        try:
            if is_fed(settings):
                self._feed = Feed(settings, self._library)
            self._pipeline = self._started()
            self._first: Any = self._next_sample()
            self._look_at(self._first)
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> SourceInfo:
        """Size, rate and codec as they are now; `fps` is 25 where the stream says nothing."""
        return self._info

    @property
    def backend(self) -> str:
        """What connects and decodes."""
        pipeline = self._pipeline
        decoder = pipeline.decoder if pipeline else "closed"
        where = "hardware" if self._choice.is_chip else "software"
        fed = f" with {self._feed.backend.partition(',')[0]}" if self._feed else ""
        decodes = decoder if pipeline and pipeline.codec in ("custom", "raw") else f"{decoder} in {where}"
        how = f", {self._transport}" if self._settings.address.kind is Kind.RTSP else ""
        return f"gstreamer {self._library.version}{fed}, {decodes}{how}"

    @property
    def undecodable(self) -> int:
        """Packets so far of which no picture could be made, or that came too fast to be decoded."""
        return self._pipeline.gate.lost if self._pipeline else 0

    def read(self) -> Arrival:
        """See `Connection.read`."""
        sample, self._first = self._first or self._next_sample(), None
        self._look_at(sample)
        buffer = sample.get_buffer()
        timed = buffer.pts != self._library.gst.CLOCK_TIME_NONE
        packet = self._running().gate.came_out(buffer.pts) if timed else Passed(self._info.codec == "mjpeg", False)
        pts_s = buffer.pts / 1e9 if timed and self._settings.address.kind is not Kind.HTTP else None
        if self._feed is not None:
            pts_s = self._feed.came(buffer.pts if timed else None, self.undecodable)
        return Arrival(
            pts_s,
            self._sent_at(buffer, pts_s),
            packet.key,
            packet.doubtful or buffer.has_flags(self._library.gst.BufferFlags.CORRUPTED),
            partial(self._picture, sample),
        )

    def close(self) -> None:
        """Ends the connection; pictures given out stay valid."""
        pipeline, self._pipeline, self._first = self._pipeline, None, None
        if pipeline is not None:
            pipeline.stop()
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _started(self) -> Pipeline:
        pipeline = Pipeline(self._library, self._settings, self._choice, self._transport, self._feed)
        pipeline.start()
        return pipeline

    def _restart(self) -> None:
        """Connects anew, another way; the time for opening goes on."""
        self._running().stop()
        self._pipeline = self._started()

    def _fetch_by_ffmpeg(self) -> None:
        """Lets FFmpeg connect, in the time that is left for opening."""
        self._running().stop()
        left_s = self._settings.open_timeout_s - (time.monotonic() - self._opened_s)
        self._feed = Feed(replace(self._settings, open_timeout_s=max(left_s, _LEAST_S)), self._library)
        self._pipeline = self._started()

    def _running(self) -> Pipeline:
        if self._pipeline is None:
            raise self._failure(Reason.ENDED, "the connection is closed")
        return self._pipeline

    def _picture(self, sample: Any) -> Picture:
        return picture_of(self._library, sample, self._matrix, self._converter)

    def _next_sample(self) -> Any:
        while True:
            asked_s = time.monotonic()
            sample = self._running().pull(_WAIT_S if self._feed is None else self._feed.wait_s)
            self._heed_messages()
            if sample is not None:
                self._picture_s = time.monotonic()
                return sample
            if self._feed is not None:
                self._feed.give()
                continue
            self._watch()
            if time.monotonic() - asked_s < _WAIT_S / 2:
                time.sleep(_PAUSE_S)

    def _heed_messages(self) -> None:
        """Raises what GStreamer said of failures; takes all else off its list, which would grow."""
        pipeline = self._running()
        if pipeline.problem is not None:
            raise pipeline.problem
        if pipeline.wants_feed:
            self._fetch_by_ffmpeg()
            return
        message = pipeline.bus.pop_filtered(self._told)
        if message is None:
            return
        if message.type == self._library.gst.MessageType.EOS:
            raise self._failure(Reason.ENDED, "the camera ended the stream")
        domain, code, text = parts_of(message)
        if pipeline.others:
            raise self._failure(Reason.NO_VIDEO, f"sends {pipeline.others} only, no video", _NAME_ANOTHER)
        if self._goes_another_way(message, domain, code, text):
            self._restart()
            return
        if self._picture_s is not None and is_about_reading(domain):
            raise self._failure(Reason.ENDED, "cut the connection")
        raise self._failure(*why(domain, code, text, self._settings))

    def _goes_another_way(self, message: Any, domain: str, code: int, text: str) -> bool:
        """Returns whether another transport or decoder is left to try; only before the first picture."""
        if self._picture_s is not None:
            return False
        is_rtsp = self._settings.address.kind is Kind.RTSP
        if is_rtsp and refuses_transport(domain, code, text) and self._settings.transport is Transport.AUTO:
            again = self._transport is Transport.TCP
            self._transport = Transport.UDP
            return again
        if self._choice.is_chip and message.src is not None and message.src.get_name() == "decoder":
            self._choice.failed.append(self._running().decoder)
            return True
        return False

    def _watch(self) -> None:
        """Raises when nothing came for too long: own watch, for GStreamer has none that notices a silent camera."""
        gate, settings, now_s = self._running().gate, self._settings, time.monotonic()
        if self._picture_s is None:
            if now_s - self._opened_s < settings.open_timeout_s:
                return
            if gate.packets:
                hopeless = 2 * gate.lost > gate.packets or gate.keys >= ENOUGH_KEYS
                if not hopeless and now_s - self._opened_s < FIRST_KEY_S:
                    return
                raise self._failure(Reason.CORRUPT, f"packets, but no picture for {now_s - self._opened_s:.1f} s")
            if others := self._running().others:
                raise self._failure(Reason.NO_VIDEO, f"sends {others} only, no video", _NAME_ANOTHER)
            raise self._failure(Reason.TIMEOUT, f"did not send a picture within {settings.open_timeout_s:.1f} s")
        silent_s = now_s - max(gate.packet_s, self._picture_s)
        if silent_s >= settings.silent_after_s:
            raise self._failure(Reason.TIMEOUT, f"no packet for {silent_s:.1f} s")
        if now_s - self._picture_s >= settings.silent_after_s:
            text = f"packets, but no picture for {now_s - self._picture_s:.1f} s"
            raise self._failure(Reason.CORRUPT, f"{text} ({gate.lost} could not be decoded)")

    def _look_at(self, sample: Any) -> None:
        """Takes over what the stream says of itself, where that changed."""
        caps = sample.get_caps()
        if self._caps is not None and caps.is_equal(self._caps):
            return
        self._caps = caps
        shape = self._library.video.VideoInfo.new_from_caps(caps)
        if shape.width * shape.height > MAX_PIXELS:
            text = f"sends pictures of {shape.width}x{shape.height} pixels"
            raise self._failure(Reason.MEMORY, text, f"set it to {MAX_PIXELS} pixels at most")
        pipeline = self._running()
        fps = shape.fps_n / shape.fps_d if shape.fps_d else 0.0
        fps = fps if 0 < fps <= 240 else FALLBACK_FPS
        self._matrix = _JPEG_MATRIX if pipeline.codec == "mjpeg" else matrix_of(pipeline.colorimetry)
        self._info = replace(self._info, width=shape.width, height=shape.height, fps=fps, codec=pipeline.codec)

    def _sent_at(self, buffer: Any, pts_s: float | None) -> float | None:
        """Returns the camera's wall clock at a picture; not every picture of a stream carries it, keyframes seldom."""
        if pts_s is None:
            return None
        meta = buffer.get_reference_timestamp_meta(self._ntp)
        if meta is not None:
            self._sender_s = meta.timestamp / 1e9 - _NTP_TO_UNIX_S - pts_s
        return None if self._sender_s is None else self._sender_s + pts_s

    def _failure(self, reason: Reason, text: str, mend: str = "") -> CameraError:
        return camera_error(self._settings, reason, text, mend)
