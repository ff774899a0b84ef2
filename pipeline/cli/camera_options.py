"""Options that say how a camera is reached."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from watchline.streams.camera_settings import Backend as BackendName
from watchline.streams.camera_settings import Hardware as HardwareUse
from watchline.streams.camera_settings import Transport as TransportName

URL_HELP = (
    "rtsp(s)://, http(s):// (MJPEG, HLS), rtmp(s)://, /dev/videoN, or a file, played as if live. Secrets can be named: "
    "${NAME} is an environment variable, ${file:PATH} what a file holds, taken as plain text."
)

Url: TypeAlias = Annotated[str, typer.Argument(metavar="URL", help=URL_HELP, show_default=False)]
Urls: TypeAlias = Annotated[list[str], typer.Argument(metavar="URL...", help=URL_HELP, show_default=False)]
Backend: TypeAlias = Annotated[
    BackendName, typer.Option(help="What connects and decodes; auto is PyAV, or GStreamer with --hardware auto.")
]
Transport: TypeAlias = Annotated[
    TransportName, typer.Option(help="How RTSP sends; auto is TCP, or UDP where the camera refuses TCP.")
]
Hardware: TypeAlias = Annotated[HardwareUse, typer.Option(help="Whether a chip decodes, where there is one.")]
OpenTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--timeout", min=0.1, max=600, metavar="S", help="Seconds in which it must answer and send something."
    ),
]
Insecure: TypeAlias = Annotated[
    bool, typer.Option("--insecure", help="Take any certificate; for cameras that sign their own.")
]
