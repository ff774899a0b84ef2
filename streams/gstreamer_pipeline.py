"""Builds the GStreamer pipeline for a camera: source, parser, gate, decoder, sink; never from text, save a site's own.

What stands behind an address shows only once the source is connected, so that the second half is built then, in
GStreamer's thread.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from watchline.streams.address import Address, Kind
from watchline.streams.camera_settings import CameraSettings, Transport
from watchline.streams.diagnosis import camera_error
from watchline.streams.failure import CameraError, Reason
from watchline.streams.gstreamer_decoders import Choice
from watchline.streams.gstreamer_feed import Feed
from watchline.streams.gstreamer_gate import Gate
from watchline.streams.gstreamer_library import Library
from watchline.streams.gstreamer_picture import FORMATS

SINK = "out"  # what a site's own pipeline must call its appsink
_MAX_PICTURES = 2  # that wait for the reader; then the decoder waits
_UDP_LATENCY_MS = 100  # for which a lost or late packet is waited for
_UDP_BUFFER_BYTES = 1 << 20  # a key frame comes in one burst; the system may grant less
_VALIDATE_ALL = 0x7F  # G_TLS_CERTIFICATE_VALIDATE_ALL

_RTP = MappingProxyType(
    {
        "H264": ("h264", ("rtph264depay", "h264parse")),
        "H265": ("hevc", ("rtph265depay", "h265parse")),
        "JPEG": ("mjpeg", ("rtpjpegdepay",)),
    }
)
_CONTENT = MappingProxyType(
    {
        "image/jpeg": ("mjpeg", ("jpegparse",)),
        "video/x-h264": ("h264", ("h264parse",)),
        "video/x-h265": ("hevc", ("h265parse",)),
    }
)
_TELLERS = ("h264parse", "h265parse")  # of the colours
_log = logging.getLogger(__name__)


class Pipeline:
    """The elements of one connection.

    Attributes:
        codec: what is decoded, in FFmpeg's words; empty until the camera told.
        decoder: the element that decodes; empty until the camera told.
        problem: what stands against it, found in GStreamer's thread; None where nothing does.
        wants_feed: what the camera sends over HTTP is to be fetched by FFmpeg.
    """

    def __init__(
        self,
        library: Library,
        settings: CameraSettings,
        choice: Choice,
        transport: Transport,
        feed: Feed | None = None,
    ) -> None:
        """Builds what can be built before the camera answers.

        Args:
            library: GStreamer.
            settings: of the camera.
            choice: which element decodes.
            transport: of RTSP.
            feed: gives the packets, instead of an element that connects.

        Raises:
            CameraError: an element is missing, or the site's own pipeline cannot be used.
        """
        self._gst = library.gst
        self._settings = settings
        self._choice = choice
        self._signals: list[tuple[Any, int]] = []
        self._media: set[str] = set()
        self._parser: Any = None
        self._lossy = settings.address.kind is Kind.RTSP and transport is Transport.UDP
        self.gate = Gate(library)
        self.codec = self.decoder = ""
        self.problem: CameraError | None = None
        self.wants_feed = False
        if settings.pipeline:
            self._build_custom()
            return
        self._pipeline = self._gst.Pipeline.new(None)
        self.sink = self._element("appsink", SINK)
        self.sink.set_property("caps", self._gst.Caps.from_string(f"video/x-raw,format={{{','.join(FORMATS)}}}"))
        self._set_sink()
        if feed is None:
            self._start_of(settings.address, transport)
        else:
            source = self._element("appsrc")
            feed.begin(source)
            self._take(source.get_static_pad("src"), source.get_property("caps").get_structure(0))

    @property
    def bus(self) -> Any:
        """Where GStreamer's messages arrive."""
        return self._pipeline.get_bus()

    @property
    def colorimetry(self) -> str | None:
        """GStreamer's word for the colours as the stream itself tells them; None where it does not.

        Behind the decoder it would be GStreamer's guess by the size of the picture.
        """
        teller = self._parser if self.codec not in ("raw", "custom") else self.sink
        if teller is None:
            return None
        caps = teller.get_static_pad("sink" if teller is self.sink else "src").get_current_caps()
        told: str | None = caps.get_structure(0).get_string("colorimetry") if caps else None
        return told

    @property
    def others(self) -> str:
        """Which media the camera sends, for a sentence; empty where video is one of them, or nothing is known yet."""
        return "" if "video" in self._media else ", ".join(sorted(self._media))

    def start(self) -> None:
        """Begins to connect; returns at once."""
        self._pipeline.set_state(self._gst.State.PLAYING)

    def pull(self, wait_s: float) -> Any:
        """Returns the next picture as a sample, or None if none came in time or none will."""
        return self.sink.emit("try-pull-sample", int(wait_s * self._gst.SECOND))

    def stop(self) -> None:
        """Ends the connection."""
        self._pipeline.set_state(self._gst.State.NULL)
        for element, signal in self._signals:
            element.disconnect(signal)
        self._signals.clear()
        self.gate.release()
        self._parser = None

    def _start_of(self, address: Address, transport: Transport) -> None:
        plain = replace(address, user="", password="").url
        if address.kind is Kind.RTSP:
            source = self._rtsp_source(plain, transport)
            self._on(source, "select-stream", self._selects)
        elif address.kind is Kind.HTTP:
            source = self._multipart(self._http_source(plain))
        elif address.kind is Kind.RTMP:
            rtmp, source = self._rtmp_source(), self._element("flvdemux")
            rtmp.link(source)
        elif address.kind is Kind.DEVICE:
            device = self._element("v4l2src")
            device.set_property("device", address.path)
            source = self._element("decodebin")
            device.link(source)
        else:
            text = f"GStreamer does not read {address.scheme}:// here"
            raise camera_error(self._settings, Reason.PROTOCOL, text, "set its backend to pyav")
        self._on(source, "pad-added", self._joined)

    def _rtsp_source(self, location: str, transport: Transport) -> Any:
        source, settings, gst = self._element("rtspsrc"), self._settings, self._gst
        udp = transport is Transport.UDP
        source.set_property("location", location)
        gst.util_set_object_arg(source, "protocols", str(transport))
        gst.util_set_object_arg(source, "buffer-mode", "none")  # the times as the camera tells them
        source.set_property("latency", _UDP_LATENCY_MS if udp else 0)
        source.set_property("drop-on-latency", udp)
        source.set_property("udp-buffer-size", _UDP_BUFFER_BYTES)
        source.set_property("timeout", 0)  # the reader keeps watch
        source.set_property("tcp-timeout", int((settings.open_timeout_s + 1) * 1e6))
        if settings.address.user:
            source.set_property("user-id", settings.address.user)
            source.set_property("user-pw", settings.address.password)
        if settings.address.scheme == "rtsps":
            self._trust(source)
        if not settings.tls_verify:
            gst.util_set_object_arg(source, "tls-validation-flags", "0")
        source.set_property("user-agent", "watchline")
        if source.find_property("add-reference-timestamp-meta") is not None:  # GStreamer 1.22
            source.set_property("add-reference-timestamp-meta", True)
        return source

    def _http_source(self, location: str) -> Any:
        source, settings = self._element("souphttpsrc"), self._settings
        source.set_property("location", location)
        source.set_property("is-live", True)
        source.set_property("do-timestamp", True)
        source.set_property("retries", 0)
        source.set_property("automatic-redirect", False)  # another host must not be given the password
        source.set_property("timeout", int(settings.open_timeout_s) + 2)
        source.set_property("ssl-strict", settings.tls_verify)
        if settings.address.scheme == "https":
            self._trust(source)
        source.set_property("user-agent", "watchline")
        if settings.address.user:
            source.set_property("user-id", settings.address.user)
            source.set_property("user-pw", settings.address.password)
        return source

    def _trust(self, source: Any) -> None:
        """Lets `source` trust the certificate authorities that are named for this camera, and no others."""
        settings = self._settings
        if not (settings.tls_verify and settings.tls_authorities):
            return
        from gi.repository import Gio

        try:
            source.set_property("tls-database", Gio.TlsFileDatabase.new(settings.tls_authorities))
        except Exception as error:  # noqa: BLE001  # GLib.Error, of which only PyGObject knows
            text = f"its tls_authorities cannot be read: {getattr(error, 'message', error)}"
            raise camera_error(settings, Reason.TLS, text, "name a PEM file") from None

    def _rtmp_source(self) -> Any:
        source, settings = self._element("rtmp2src"), self._settings
        address = settings.address
        path, found, query = address.path.lstrip("/").partition("?")
        application, _, stream = path.rpartition("/")
        self._gst.util_set_object_arg(source, "scheme", address.scheme)
        source.set_property("host", address.host.strip("[]"))
        source.set_property("port", address.port)
        source.set_property("application", application)
        source.set_property("stream", f"{stream}{found}{query}")  # a query is a key to the stream, as for FFmpeg
        source.set_property("timeout", int(settings.open_timeout_s) + 2)  # the reader keeps watch
        source.set_property("idle-timeout", 0)
        if address.user:
            source.set_property("username", address.user)
            source.set_property("password", address.password)
        if not settings.tls_verify:
            self._gst.util_set_object_arg(source, "tls-validation-flags", "0")
        return source

    def _multipart(self, source: Any) -> Any:
        """Returns the element that takes JPEG pictures out of what `source` sends; anything else is for the feed."""
        finder, splitter = self._element("typefind"), self._element("multipartdemux")
        source.link(finder)
        finder.link(splitter)
        self._on(finder, "have-type", self._typed)
        return splitter

    def _build_custom(self) -> None:
        settings, gst = self._settings, self._gst
        try:
            self._pipeline = gst.parse_launch(settings.pipeline)
        except Exception as error:  # noqa: BLE001  # GLib.Error, of which only PyGObject knows
            text = f"its own pipeline cannot be built: {getattr(error, 'message', error)}"
            raise camera_error(settings, Reason.PROTOCOL, text, "try it with gst-launch-1.0") from None
        self.sink = self._pipeline.get_by_name(SINK) if isinstance(self._pipeline, gst.Bin) else None
        if self.sink is None or self.sink.get_factory().get_name() != "appsink":
            mend = f'end it with "appsink name={SINK}"'
            raise camera_error(settings, Reason.PROTOCOL, f'its own pipeline has no appsink named "{SINK}"', mend)
        self.codec, self.decoder = "custom", "its own pipeline"
        self._set_sink()
        self.gate.watch(self.sink)

    def _set_sink(self) -> None:
        for name, value in (("sync", False), ("max-buffers", _MAX_PICTURES), ("drop", False), ("qos", False)):
            self.sink.set_property(name, value)

    def _element(self, factory: str, name: str | None = None) -> Any:
        """Returns a new element that is a part of the pipeline."""
        element = self._gst.ElementFactory.make(factory, name)
        if element is None:
            mend = "install its plugin; `watchline doctor` says which package holds it"
            raise camera_error(self._settings, Reason.CODEC, f"GStreamer has no element {factory} here", mend)
        self._pipeline.add(element)
        return element

    def _on(self, element: Any, signal: str, call: Any) -> None:
        self._signals.append((element, element.connect(signal, call)))

    # What follows runs in GStreamer's threads. An exception would be lost there: it is left for the reader.

    def _selects(self, _source: Any, _number: int, caps: Any) -> bool:
        media = caps.get_structure(0).get_string("media") or "nothing"
        self._media.add(media)
        return media == "video"

    def _typed(self, _finder: Any, _probability: int, caps: Any) -> None:
        self.wants_feed = caps.get_structure(0).get_name() != "multipart/x-mixed-replace"

    def _joined(self, _source: Any, pad: Any) -> None:
        try:
            self._join(pad)
        except CameraError as error:
            self.problem = self.problem or error
        except Exception as error:  # noqa: BLE001  # nobody above would see it
            self._refuse(Reason.INTERNAL, f"{type(error).__name__}: {error}", "please report this")

    def _join(self, pad: Any) -> None:
        shape = (pad.get_current_caps() or pad.query_caps(None)).get_structure(0)
        if self.codec:
            return  # a camera's second video stream
        if shape.get_name() == "video/x-raw":
            self.codec, self.decoder = "raw", "raw pictures"
            pad.link(self.sink.get_static_pad("sink"))
            self.gate.watch(self.sink)
            return
        self._take(pad, shape)

    def _take(self, pad: Any, shape: Any) -> None:
        """Builds what decodes the stream that a pad gives, of which `shape` tells."""
        if shape.get_name().startswith("audio/"):
            self._media.add("audio")
            self._leave(pad)
            return
        self._media.add("video")
        rtp = shape.get_name() == "application/x-rtp"
        encoding = shape.get_string("encoding-name") if rtp else shape.get_name()
        codec, stages = (_RTP if rtp else _CONTENT).get(encoding or "", ("", ()))
        if not codec:
            raise camera_error(
                self._settings,
                Reason.CODEC,
                f"sends {encoding or 'a codec without a name'}, which is not taken",
                "set the camera to H.264, H.265 or MJPEG",
            )
        self._build_rest(pad, codec, stages)
        if not rtp:
            self.gate.count_keys(pad)

    def _leave(self, pad: Any) -> None:
        """Lets a stream go that nobody wants; one that leads nowhere could end all."""
        end = self._element("fakesink")
        end.set_property("async", False)
        end.set_property("sync", False)
        end.sync_state_with_parent()
        pad.link(end.get_static_pad("sink"))

    def _build_rest(self, pad: Any, codec: str, stages: tuple[str, ...]) -> None:
        before = [self._element(stage) for stage in stages]
        queue = self._element("queue")
        for one, other in pairwise([*before, queue]):
            one.link(other)
        self.gate.watch(queue, codec if self._lossy else "")
        decoder = self._linked_decoder(queue, codec)
        self.codec, self.decoder = codec, decoder.get_factory().get_name()
        self._parser = next((each for each in before if each.get_factory().get_name() in _TELLERS), None)
        if why := self._choice.told(codec):
            sentence = 'camera "%s": no chip decodes %s (%s): %s does, in software'
            _log.warning(sentence, self._settings.camera, codec, why, self.decoder)
        for element in (decoder, queue, *reversed(before)):
            element.sync_state_with_parent()
        pad.link((before[0] if before else queue).get_static_pad("sink"))

    def _linked_decoder(self, queue: Any, codec: str) -> Any:
        for decoder in self._choice.decoders(codec):
            self._pipeline.add(decoder)
            if queue.link(decoder) and decoder.link(self.sink):
                return decoder
            self._choice.failed.append(decoder.get_factory().get_name())
            decoder.set_state(self._gst.State.NULL)
            self._pipeline.remove(decoder)
        mend = "install gstreamer1.0-libav"
        raise camera_error(self._settings, Reason.CODEC, f"GStreamer has no decoder for {codec} here", mend)

    def _refuse(self, reason: Reason, text: str, mend: str) -> None:
        self.problem = self.problem or camera_error(self._settings, reason, text, mend)
