"""From a site to the settings that the stages take; here secrets are put in, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from watchline.pipeline.secrets import expand
from watchline.pipeline.site.site import Camera, Ingest, Site
from watchline.pipeline.site.tracking import choice_of
from watchline.streams.address import Address
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connecting import open_connection, open_trusted
from watchline.streams.connection import Connect
from watchline.streams.ingest_settings import IngestSettings

if TYPE_CHECKING:
    from watchline.trackers.build import TrackerChoice


def camera_settings(
    site: Site,  # noqa: ARG001  # what a camera says is whole by itself today; callers have both
    camera: Camera,
    environment: Mapping[str, str] | None = None,
) -> CameraSettings:
    """Returns what ingest is told of `camera`, its secrets put in.

    Args:
        site: that it belongs to.
        camera: one of `site.cameras`.
        environment: where ${NAME} is looked up; by default that of this process.

    Raises:
        UsageError: a secret is missing, the address is none, or settings do not go together.
    """
    return CameraSettings(
        camera=camera.id,
        address=Address.parse(expand(camera.url, os.environ if environment is None else environment)),
        backend=camera.backend,
        transport=camera.transport,
        hardware=camera.hardware,
        fps=camera.fps,
        weight=camera.weight,
        open_timeout_s=camera.open_timeout_s,
        silent_after_s=camera.silent_after_s,
        frozen_after_s=camera.frozen_after_s,
        tls_verify=camera.tls_verify,
        tls_authorities=str(camera.tls_authorities or ""),
        lossless=camera.lossless,
        pipeline=camera.pipeline,
    )


def tracker_choice(camera: Camera) -> TrackerChoice:
    """Returns which tracker follows the objects of `camera`."""
    return choice_of(camera.tracker)


def connector(ingest: Ingest) -> Connect:
    """Returns what opens connections; a function of a module, for other processes to import."""
    return open_trusted if ingest.allow_custom_pipelines else open_connection


def ingest_settings(ingest: Ingest) -> IngestSettings:
    """Returns how cameras are read."""
    return IngestSettings(
        group_size=ingest.group_size, memory_bytes=ingest.memory, child_memory_bytes=ingest.child_memory
    )
