"""What a site says of one camera."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum

from watchline.streams.address import Address, Kind
from watchline.streams.errors import UsageError

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,79}")


class Backend(StrEnum):
    """Which library connects and decodes."""

    AUTO = "auto"  # PyAV, or GStreamer where hardware decoding is asked for
    PYAV = "pyav"
    GSTREAMER = "gstreamer"


class Transport(StrEnum):
    """How RTSP sends the pictures."""

    AUTO = "auto"  # TCP, or UDP where the camera refuses TCP
    TCP = "tcp"
    UDP = "udp"


class Hardware(StrEnum):
    """Whether a chip decodes; GStreamer only."""

    NEVER = "never"
    AUTO = "auto"  # where there is one, else software, and the log says so


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """One camera: where it is, and what is wanted of it.

    Attributes:
        camera: name for frames, logs and metrics: letters, digits, ".", "_", "-".
        address: where it is.
        backend: which library connects and decodes.
        transport: how RTSP sends the pictures.
        hardware: whether a chip decodes.
        fps: frames a second that are handed on; 0 for all. All are decoded.
        open_timeout_s: within which it must answer and send something; a first key frame may take a minute.
        silent_after_s: without a packet, or with packets but no picture, for so long counts as a failure.
        frozen_after_s: the very same picture for so long counts as a failure; 0 switches that off.
        tls_verify: a certificate must be trusted by this machine and name the host.
        tls_authorities: file of the certificates (PEM) that are trusted; those of this machine where it is empty.
        weight: its share of turns where not all frames can be taken, 0.1 to 10.
        lossless: nothing is dropped, the source waits; files only.
        pipeline: a GStreamer pipeline of the site's own instead of ours; needs `allow_custom_pipelines` where the
            camera is opened.
    """

    camera: str
    address: Address
    backend: Backend = Backend.AUTO
    transport: Transport = Transport.AUTO
    hardware: Hardware = Hardware.NEVER
    fps: float = 5.0
    open_timeout_s: float = 10.0
    silent_after_s: float = 3.0
    frozen_after_s: float = 4.0
    tls_verify: bool = True
    tls_authorities: str = ""
    weight: float = 1.0
    lossless: bool = False
    pipeline: str = field(default="", repr=False)  # may hold a password

    def __post_init__(self) -> None:
        """Raises UsageError where a value makes no sense."""
        if not _NAME.fullmatch(self.camera):
            raise UsageError(f"camera {self.camera!r}: want 1 to 80 letters, digits, '.', '_' or '-' as its name")
        if not (math.isfinite(self.fps) and self.fps >= 0):
            raise UsageError(f'camera "{self.camera}": fps {self.fps}: want 0 (all frames) or more')
        if not 0.1 <= self.weight <= 10:
            raise UsageError(f'camera "{self.camera}": weight {self.weight}: want 0.1 to 10')
        for name in ("open_timeout_s", "silent_after_s"):
            value = getattr(self, name)
            if not 0.1 <= value <= 600:
                raise UsageError(f'camera "{self.camera}": {name} {value}: want 0.1 to 600 seconds')
        if not (self.frozen_after_s == 0 or 0.5 <= self.frozen_after_s <= 86400):
            message = f"frozen_after_s {self.frozen_after_s}: want 0.5 to 86400 seconds, or 0 to switch it off"
            raise UsageError(f'camera "{self.camera}": {message}')
        if self.lossless and self.address.kind is not Kind.FILE:
            raise UsageError(f'camera "{self.camera}": lossless is for files; a live camera cannot wait')
