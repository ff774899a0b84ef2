"""From a camera's settings to a connection: which library connects and decodes."""

from __future__ import annotations

from watchline.streams.address import Kind
from watchline.streams.camera_settings import Backend, CameraSettings
from watchline.streams.connection import Connection


def open_connection(settings: CameraSettings) -> Connection:
    """Returns a connection to the camera, by the backend that its settings ask for.

    Raises:
        CameraError: there is no connection, or no video in it.
    """
    if settings.address.kind is Kind.FILE:
        from watchline.streams.looped import LoopedConnection

        return LoopedConnection(settings)
    if settings.backend is not Backend.GSTREAMER:
        from watchline.streams.libav_live import LibavConnection

        return LibavConnection(settings)
    raise NotImplementedError
