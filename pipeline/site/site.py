"""A site: its cameras, models, storage and addresses, as its file says them and with all defaults filled in.

The descriptions here are also those of the JSON Schema and of docs/config.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from watchline.pipeline.site.kept import Retention, Sightings
from watchline.pipeline.site.part import Part
from watchline.pipeline.site.values import FilePath, Line, Name, Polygon, Setting, Sha256, Size, Text, wrong
from watchline.streams.camera_settings import Backend, Hardware, Transport
from watchline.streams.ingest_settings import MOST_IN_A_GROUP

MOST_CAMERAS: Final = 1000
LEAST_FPS: Final = 0.2  # a camera that is analysed less often would count as standing still
MOST_MODELS: Final = 16
MOST_REGIONS: Final = 32
_LISTEN: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z_.-]{1,253}):([0-9]{1,5})")
_REFERENCE: Final = re.compile(r"\$\{[^}]*\}")


class Tracker(Part):
    """How objects are followed."""

    name: Annotated[Literal["bytetrack", "ocsort"], Field(description="which one")] = "bytetrack"
    preset: Annotated[
        Literal["default", "reference"],
        Field(description="default: our best; reference: the published program to the last digit"),
    ] = "default"
    settings: Annotated[
        dict[Name, Setting],
        Field(description="options of that tracker, such as coast_s: 0.5", max_length=64),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _exists(self) -> Self:
        from watchline.pipeline.site.tracking import check_tracker

        check_tracker(self)
        return self


class Defaults(Part):
    """What a camera may say beside its id and address."""

    backend: Annotated[
        Backend,
        Field(strict=False, description="what connects and decodes; auto is PyAV, or GStreamer with hardware: auto"),
    ] = Backend.AUTO
    transport: Annotated[
        Transport, Field(strict=False, description="how RTSP sends; auto is TCP, or UDP where the camera refuses TCP")
    ] = Transport.AUTO
    hardware: Annotated[
        Hardware, Field(strict=False, description="whether a chip decodes, where there is one (GStreamer only)")
    ] = Hardware.NEVER
    fps: Annotated[
        float,
        Field(ge=0, le=240, description="frames a second to analyse, from 0.2; 0 for all, which suits lossless files"),
    ] = 5.0
    weight: Annotated[
        float,
        Field(ge=0.1, le=10, description="share of this camera where there is more to do than the machine can do"),
    ] = 1.0
    model: Annotated[Text, Field(description="which of `models` looks at it; empty: the only one")] = ""
    classes: Annotated[
        tuple[Annotated[Text, Field(min_length=1, max_length=200)], ...],
        Field(
            strict=False, max_length=1000, description="names of what is to be found, as the model has them; empty: all"
        ),
    ] = ()
    ignore: Annotated[
        tuple[Polygon, ...],
        Field(
            strict=False,
            max_length=MOST_REGIONS,
            description="regions to leave out: lists of 3 to 64 corners [x, y], fractions of width and height from the "
            "top left; an object whose foot (middle of its lower edge) stands in one is not seen",
        ),
    ] = ()
    tracker: Annotated[Tracker, Field(description="how objects are followed")] = Field(default_factory=Tracker)
    sightings: Annotated[
        bool, Field(description="what is seen of people is kept to be searched, where the site has `sightings`")
    ] = True
    open_timeout_s: Annotated[
        float, Field(ge=0.1, le=600, description="seconds in which it must answer and send something")
    ] = 10.0
    silent_after_s: Annotated[
        float, Field(ge=0.1, le=600, description="without a packet for so many seconds it is offline")
    ] = 3.0
    frozen_after_s: Annotated[
        float,
        Field(ge=0, le=86400, description="the very same picture for so many seconds (from 0.5) is frozen; 0: never"),
    ] = 4.0
    tls_verify: Annotated[bool, Field(description="its certificate must be trusted and name the host")] = True
    tls_authorities: Annotated[
        FilePath | None,
        Field(description="file of the certificates (PEM) that are trusted; null: those of this machine"),
    ] = None
    lossless: Annotated[bool, Field(description="nothing is dropped, the source waits; files only")] = False
    pipeline: Annotated[
        Line,
        Field(
            repr=False,
            description="a GStreamer pipeline of your own instead of ours; needs ingest.allow_custom_pipelines",
        ),
    ] = ""

    @field_validator("fps")
    @classmethod
    def _often_enough(cls, value: float) -> float:
        if 0 < value < LEAST_FPS:
            raise wrong(f"want {LEAST_FPS} to 240 frames a second, or 0 for all")
        return value

    @field_validator("frozen_after_s")
    @classmethod
    def _long_enough(cls, value: float) -> float:
        if 0 < value < 0.5:
            raise wrong("want 0.5 to 86400 seconds, or 0 to switch it off")
        return value


def _is_right(defaults: Mapping[str, Any]) -> bool:
    try:
        Defaults.model_validate(defaults)
    except ValidationError:
        return False
    return True


class Camera(Defaults):
    """One camera."""

    @model_validator(mode="after")
    def _can_decode(self) -> Self:
        if self.backend is Backend.PYAV and self.hardware is not Hardware.NEVER:
            raise wrong("hardware: PyAV decodes in software only; set backend: gstreamer, or hardware: never")
        return self

    id: Annotated[Name, Field(description="its name in logs, metrics and file names; never reuse one for another view")]
    url: Annotated[
        Line,
        Field(
            min_length=1,
            max_length=2048,
            repr=False,
            description="rtsp(s)://, http(s):// (MJPEG, HLS), rtmp(s)://, /dev/videoN or a file; ${NAME} stands for an "
            "environment variable, ${file:PATH} for what a file holds",
        ),
    ]

    @field_validator("url")
    @classmethod
    def _has_whole_references(cls, value: str) -> str:
        if "${" in _REFERENCE.sub("", value):
            raise wrong("holds ${ without a } behind it; want ${NAME} or ${file:PATH}")
        return value


class Model(Part):
    """A network that finds objects, and where it runs."""

    model: Annotated[
        Text, Field(min_length=1, description="name that `watchline models list` shows, or a file (.onnx, .xml, .pt)")
    ] = "yolov8n"
    family: Annotated[Text, Field(description="what it is, where its file does not say so, such as yolov8")] = ""
    sha256: Annotated[Sha256, Field(description="of the file; another one is refused; empty: any")] = ""
    device: Annotated[
        Text, Field(description="auto, cpu, openvino, cuda, tensorrt, ... or several to be tried in turn: cuda, cpu")
    ] = "auto"
    workers: Annotated[
        int,
        Field(ge=0, le=256, description="detections under way at once; 0: as many as the machine has processors for"),
    ] = 0
    batch: Annotated[int, Field(ge=0, le=256, description="most frames at once; 0: 8 on a GPU, 1 on processors")] = 0
    conf: Annotated[float, Field(ge=0, le=1, description="least score of a detection that begins a track")] = 0.25
    iou: Annotated[
        float | None,
        Field(ge=0, le=1, description="largest overlap of two detections of a class; null: what its own programs do"),
    ] = None
    imgsz: Annotated[
        int, Field(ge=32, le=4096, description="longest side of its input, pixels, where the network leaves it open")
    ] = 640
    isolate: Annotated[
        bool | None,
        Field(
            description="run it in a process of its own, whose end is not the service's; null: where this system can"
        ),
    ] = None

    @field_validator("device")
    @classmethod
    def _is_device(cls, value: str) -> str:
        from watchline.pipeline.site.tracking import check_device

        return check_device(value)


class Ingest(Part):
    """How cameras are read."""

    group_size: Annotated[
        int, Field(ge=0, le=MOST_IN_A_GROUP, description="cameras a process; 0 reads all in one with the rest")
    ] = 4
    memory: Annotated[
        Annotated[Size, Field(ge=1 << 20)] | None,
        Field(description="bound for pictures shared by processes; null: a quarter of the memory that is free"),
    ] = None
    child_memory: Annotated[
        Annotated[Size, Field(ge=1 << 20)] | None,
        Field(description="bound for one process beside these; null: 256MiB and as much again a camera"),
    ] = None
    allow_custom_pipelines: Annotated[
        bool, Field(description="cameras may have a `pipeline`, which may do all that this service may do")
    ] = False


class Storage(Part):
    """Where results and models are kept."""

    path: Annotated[FilePath, Field(description="folder of results; relative to this file")] = Path(
        "/var/lib/watchline"
    )
    models: Annotated[
        FilePath | None, Field(description="folder of models; null: that of the user who runs the service")
    ] = None


class Tls(Part):
    """A certificate of this service's own."""

    certificate: Annotated[FilePath, Field(description="file of the certificate and those that sign it (PEM)")]
    key: Annotated[FilePath, Field(description="file of its private key (PEM), readable by this service only")]


class Http(Part):
    """The address for browsers, Prometheus and scripts."""

    listen: Annotated[
        Text,
        Field(description="ADDRESS:PORT; any address but this machine's own needs token_file, and tls or behind_proxy"),
    ] = "127.0.0.1:8770"
    token_file: Annotated[
        FilePath | None, Field(description="file of the bearer token that clients must show, 16 characters or more")
    ] = None
    tls: Annotated[Tls | None, Field(description="certificate and key; null: no encryption")] = None
    behind_proxy: Annotated[bool, Field(description="a proxy in front of it does the encryption")] = False

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        found = _LISTEN.fullmatch(value)
        if found is None or int(found[2]) > 65535:
            raise wrong('want ADDRESS:PORT, such as 127.0.0.1:8770 or "[::1]:8770"')
        if found[1].startswith("["):
            try:
                ipaddress.IPv6Address(found[1][1:-1])
            except ValueError:
                raise wrong('want ADDRESS:PORT, such as 127.0.0.1:8770 or "[::1]:8770"') from None
        return value

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if self.is_local and not self.behind_proxy:
            return self
        missing = [] if self.token_file else ["token_file: FILE (a bearer token, 16 characters or more)"]
        if not (self.tls or self.behind_proxy):
            missing.append("tls: {certificate: FILE, key: FILE}, or behind_proxy: true where a proxy encrypts")
        if missing:
            what = "listen names an address that others reach" if not self.is_local else "others reach it by the proxy"
            raise wrong(f"{what}; add {'; and '.join(missing)}")
        return self

    @property
    def host(self) -> str:
        """The address to listen on, an IPv6 one without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on; 0 for any that is free."""
        return int(self.listen.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Can only this machine reach it?"""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


class Metrics(Part):
    """What Prometheus may read."""

    enabled: Annotated[bool, Field(description="/metrics is there")] = True
    without_token: Annotated[bool, Field(description="/metrics asks for no token, where http.token_file is set")] = (
        False
    )


class Site(Part):
    """A site, whole. Paths are absolute once it was read from a file.

    Attributes:
        site: its name.
        cameras: with what `defaults` says filled in.
        warnings: sentences on what works and should not stay as it is; no part of the file.
    """

    site: Annotated[Name, Field(description="name of the place, in logs and metrics")] = "site"
    defaults: Annotated[Defaults, Field(description="for all cameras that do not say otherwise")] = Field(
        default_factory=Defaults
    )
    cameras: Annotated[tuple[Camera, ...], Field(strict=False, max_length=MOST_CAMERAS, description="one or more")] = ()
    models: Annotated[
        dict[Name, Model], Field(max_length=MOST_MODELS, description="networks by a name of your own")
    ] = Field(default_factory=lambda: {"people": Model()})
    ingest: Annotated[Ingest, Field(description="how cameras are read")] = Field(default_factory=Ingest)
    storage: Annotated[Storage, Field(description="where results and models are kept")] = Field(default_factory=Storage)
    retention: Annotated[Retention, Field(description="how long results are kept")] = Field(default_factory=Retention)
    sightings: Annotated[
        Sightings | None,
        Field(description="what is kept of people seen, to be searched; null: nothing; {}: with all defaults"),
    ] = None
    http: Annotated[Http, Field(description="the address for browsers, Prometheus and scripts")] = Field(
        default_factory=Http
    )
    metrics: Annotated[Metrics, Field(description="what Prometheus may read")] = Field(default_factory=Metrics)

    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what works and should not stay as it is."""
        return self._warnings

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Gives each camera what `defaults` says and it does not; empty maps and lists take their defaults.

        Where something in `defaults` is wrong it is told there, and not again for each camera.
        """
        if not isinstance(data, Mapping):
            return data
        filled = {key: value for key, value in data.items() if value is not None or key not in ("cameras", "models")}
        defaults, cameras = data.get("defaults"), data.get("cameras")
        if isinstance(defaults, Mapping) and isinstance(cameras, list | tuple) and _is_right(defaults):
            filled["cameras"] = [{**defaults, **cam} if isinstance(cam, Mapping) else cam for cam in cameras]
        return filled

    def camera(self, name: str) -> Camera:
        """Returns the camera of that id.

        Raises:
            KeyError: there is none.
        """
        for camera in self.cameras:
            if camera.id == name:
                return camera
        raise KeyError(name)

    @property
    def sightings_file(self) -> Path:
        """The file of the store of sightings."""
        return (self.sightings and self.sightings.path) or self.storage.path / "sightings.db"

    def model_of(self, camera: Camera) -> str:
        """Returns the name of the model that looks at `camera`."""
        return camera.model or next(iter(self.models))
