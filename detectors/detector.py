"""The seam to everything that finds objects: one method, `detect`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from watchline.detectors.detections import Detections
from watchline.streams.frame import Frame


class Detector(Protocol):
    """Finds objects in frames. Safe to call from several threads at once."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names; `Detections.class_id` indexes them."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Returns one `Detections` a frame, in order.

        The result for a frame does not depend on the frames that share its batch. Frames may differ in size and
        camera.

        Raises:
            ModelError: the engine failed; the message says on which device.
        """
