"""Which GStreamer element decodes: a chip's where that is wanted and works, else one in software."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from watchline.streams.camera_settings import Hardware
from watchline.streams.gstreamer_library import Library

Decoders: TypeAlias = Mapping[str, tuple[str, ...]]

HARDWARE: Decoders = MappingProxyType(
    {
        "h264": ("nvh264dec", "vah264dec", "v4l2slh264dec", "v4l2h264dec", "d3d11h264dec", "vtdec_hw"),
        "hevc": ("nvh265dec", "vah265dec", "v4l2slh265dec", "v4l2h265dec", "d3d11h265dec", "vtdec_hw"),
        "mjpeg": ("nvjpegdec", "vajpegdec", "v4l2jpegdec"),
    }
)
"""By codec, in FFmpeg's words; the first one that starts is taken."""

SOFTWARE: Decoders = MappingProxyType(
    {
        "h264": ("avdec_h264", "openh264dec"),
        "hevc": ("avdec_h265", "libde265dec"),
        "mjpeg": ("avdec_mjpeg", "jpegdec"),
    }
)


class Choice:
    """Chooses the decoders of one camera, and remembers those that failed."""

    def __init__(self, library: Library, hardware: Hardware, chips: Decoders = HARDWARE) -> None:
        self._library = library
        self._wants_chip = hardware is not Hardware.NEVER
        self._chips = chips
        self.failed: list[str] = []
        self.is_chip = False

    def decoders(self, codec: str) -> Iterator[Any]:
        """Yields new decoders for `codec` that can be started, the best first; none where there is none.

        `is_chip` says of the last one whether it is hardware.
        """
        chips = self._chips.get(codec, ()) if self._wants_chip else ()
        for self.is_chip, names in ((True, chips), (False, SOFTWARE.get(codec, ()))):
            for name in names:
                if name not in self.failed and (element := self._started(name)) is not None:
                    yield element

    def told(self, codec: str) -> str:
        """Returns why no chip decodes, for the log; empty where one does, or none was asked for."""
        if not self._wants_chip or self.is_chip:
            return ""
        names = self._chips.get(codec, ())
        absent = [name for name in names if not self._library.has(name)]
        parts = [f"{', '.join(self.failed)} failed"] if self.failed else []
        parts += [f"{', '.join(absent)} not installed"] if absent else []
        return "; ".join(parts) or "there is none for it"

    def _started(self, name: str) -> Any:
        """Returns the element, ready to run; None where it is not installed, or its device cannot be had."""
        gst = self._library.gst
        element = gst.ElementFactory.make(name, "decoder")
        if element is None:
            return None
        for option, value in (("max-threads", 1), ("output-corrupt", False)):
            if element.find_property(option) is not None:
                element.set_property(option, value)
        if element.set_state(gst.State.READY) == gst.StateChangeReturn.FAILURE:
            element.set_state(gst.State.NULL)
            self.failed.append(name)
            return None
        return element
