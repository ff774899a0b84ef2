"""Loads GStreamer through PyGObject, or says what is missing. Importing this module loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

INSTALL = (
    'pip install "watchline[gstreamer]"; on Debian and Ubuntu after apt install gir1.2-gst-plugins-base-1.0 '
    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav "
    "libgirepository1.0-dev libcairo2-dev pkg-config python3-dev g++"
)
ELEMENTS = MappingProxyType(
    {
        "rtspsrc": "gstreamer1.0-plugins-good",
        "rtph264depay": "gstreamer1.0-plugins-good",
        "rtph265depay": "gstreamer1.0-plugins-good",
        "rtpjpegdepay": "gstreamer1.0-plugins-good",
        "souphttpsrc": "gstreamer1.0-plugins-good",
        "multipartdemux": "gstreamer1.0-plugins-good",
        "rtmp2src": "gstreamer1.0-plugins-bad",
        "flvdemux": "gstreamer1.0-plugins-good",
        "v4l2src": "gstreamer1.0-plugins-good",
        "h264parse": "gstreamer1.0-plugins-bad",
        "h265parse": "gstreamer1.0-plugins-bad",
        "jpegparse": "gstreamer1.0-plugins-bad",
        "appsink": "gstreamer1.0-plugins-base",
        "appsrc": "gstreamer1.0-plugins-base",
        "typefind": "libgstreamer1.0-0",
        "queue": "libgstreamer1.0-0",
        "fakesink": "libgstreamer1.0-0",
    }
)
"""The elements that cameras are read with, and the Debian package of each."""


class GStreamerMissingError(Exception):
    """PyGObject or GStreamer is not installed; the text says which, and nothing of how to mend it."""


@dataclass(frozen=True, slots=True)
class Library:
    """GStreamer, loaded and ready.

    Attributes:
        gst: the module `Gst`.
        video: the module `GstVideo`.
        version: as "1.22.0".
    """

    gst: Any
    video: Any
    version: str

    def has(self, element: str) -> bool:
        """Returns whether there is an element of that name."""
        return self.gst.ElementFactory.find(element) is not None


def load() -> Library:
    """Returns GStreamer; the first call of a process reads the list of its plugins (0.3 s, later 0.05 s).

    A process that is forked afterwards cannot decode: start others by spawning.

    Raises:
        GStreamerMissingError: it cannot be loaded.
    """
    try:
        import gi
    except ImportError as error:
        raise GStreamerMissingError(f"PyGObject is not installed ({error})") from None
    try:
        gi.require_version("Gst", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst, GstVideo
    except (ImportError, ValueError) as error:
        raise GStreamerMissingError(f"PyGObject finds no GStreamer ({error})") from None
    if not Gst.is_initialized():
        Gst.init(None)
    return Library(Gst, GstVideo, ".".join(map(str, Gst.version()[:3])))
