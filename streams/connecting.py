"""From a camera's settings to a connection: which library connects and decodes."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from watchline.streams.address import Kind
from watchline.streams.camera_settings import Backend, CameraSettings, Hardware
from watchline.streams.connection import Connection
from watchline.streams.diagnosis import camera_error
from watchline.streams.failure import Reason

_log = logging.getLogger(__name__)
_LOADING = threading.Lock()


def open_connection(settings: CameraSettings, *, allow_custom_pipelines: bool = False) -> Connection:
    """Returns a connection to the camera, by the backend that its settings ask for.

    Without a word on the backend, GStreamer is taken for hardware decoding and for a site's own pipeline, PyAV for all
    else. Where GStreamer is missing, PyAV decodes in software and a warning is logged; where it was asked for by name,
    that is an error.

    Args:
        settings: which camera, and what is wanted of it.
        allow_custom_pipelines: a site's own GStreamer pipeline is run; it may do all that this process may do.

    Raises:
        CameraError: there is no connection, no video in it, or the settings ask for what cannot be had.
    """
    if settings.address.kind is Kind.FILE:
        from watchline.streams.looped import LoopedConnection

        _load_av()
        return LoopedConnection(settings)
    if settings.pipeline and not allow_custom_pipelines:
        mend = "set allow_custom_pipelines: true, or take the pipeline away"
        raise camera_error(settings, Reason.PROTOCOL, "GStreamer pipelines of its own are not allowed", mend)
    if settings.pipeline and settings.backend is Backend.PYAV:
        mend = "set its backend to gstreamer"
        raise camera_error(settings, Reason.PROTOCOL, "PyAV runs no GStreamer pipelines", mend)
    wants_gstreamer = bool(settings.pipeline) or settings.hardware is not Hardware.NEVER
    if settings.backend is Backend.GSTREAMER or (settings.backend is Backend.AUTO and wants_gstreamer):
        if settings.backend is Backend.AUTO and not settings.pipeline and (missing := _missing()):
            _log.warning('camera "%s": no chip decodes (%s): PyAV does, in software', settings.camera, missing)
            settings = replace(settings, hardware=Hardware.NEVER)
        else:
            from watchline.streams.gstreamer import GStreamerConnection

            _load_av()  # for pixels, and for what GStreamer does not fetch
            return GStreamerConnection(settings)
    from watchline.streams.libav_live import LibavConnection

    _load_av()
    return LibavConnection(settings)


def open_trusted(settings: CameraSettings) -> Connection:
    """Returns a connection as `open_connection` does, to a camera whose settings may hold a pipeline of its own."""
    return open_connection(settings, allow_custom_pipelines=True)


def _load_av() -> None:
    """Loads PyAV, whose modules import each other: of two threads that begin together one would see half of it."""
    with _LOADING:
        import av
        import av.error  # noqa: F401


def _missing() -> str:
    """Returns why GStreamer cannot be used; empty where it can."""
    from watchline.streams.gstreamer_library import GStreamerMissingError, load

    try:
        load()
    except GStreamerMissingError as missing:
        return str(missing)
    return ""
