"""The lines of all cameras, in Prometheus' text format.

A thousand cameras have some sixty thousand lines. Built as objects of prometheus-client they would take most of a
second each time; here the text of each line is kept, and only its number is new.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchline.pipeline.live.status import LaneStatus
from watchline.pipeline.metrics.camera_families import CAMERA_FAMILIES, CameraFamily

_QUOTED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class CameraPage:
    """Renders what is known of each camera. One thread at a time may use it."""

    def __init__(self) -> None:
        self._templates: dict[str, tuple[str, ...]] = {}

    def render(self, lanes: Mapping[str, LaneStatus]) -> str:
        """Returns the lines of `lanes`, by name; a camera that is not among them has none."""
        self._templates = {camera: self._templates.get(camera) or _templates(camera) for camera in lanes}
        parts: list[str] = []
        for index, family in enumerate(CAMERA_FAMILIES):
            parts.append(f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n")
            values, templates = family.values, self._templates
            parts.extend(templates[camera][index] % tuple(values(lane)) for camera, lane in lanes.items())
        return "".join(parts)


def _templates(camera: str) -> tuple[str, ...]:
    """Returns the lines of a camera, a text of each family, with a place for each number."""
    return tuple(_template(family, camera) for family in CAMERA_FAMILIES)


def _template(family: CameraFamily, camera: str) -> str:
    lines = []
    for name, (label, value) in family.series:
        more = f',{label}="{_escaped(value)}"' if label else ""
        lines.append(f'{name}{{camera="{_escaped(camera)}"{more}}} %s\n')
    return "".join(lines)


def _escaped(value: str) -> str:
    """Returns a label's value as it stands in a line; a percent sign would be a place for a number."""
    return value.translate(_QUOTED).replace("%", "%%")
