"""What all models of a run found in one frame: the first model's detections, and what the others add to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from watchline.detectors.boxes import expect
from watchline.detectors.detections import I32, Detections, FaceDetections

_NO_FACES = FaceDetections.empty()  # asked for at every track of every frame


@dataclass(frozen=True, slots=True, eq=False)
class Tied:
    """What a further model found in a frame, and whose each of it is.

    Attributes:
        found: M detections.
        owner: (M,) int32, row in the first model's detections, of which each has at most one; -1: nobody's.

    Raises:
        ValueError: a wrong dtype or shape, or two have one owner.
    """

    found: Detections
    owner: I32

    def __post_init__(self) -> None:
        expect("owner", self.owner, np.int32, (len(self.found),))
        owners = self.owner[self.owner >= 0]
        if len(np.unique(owners)) < len(owners):
            raise ValueError(f"owner: want each row once at most, got {self.owner}")

    def of(self, row: int) -> int:
        """Returns the row in `found` that belongs to row `row` of the first model's detections; -1 for none."""
        rows = np.flatnonzero(self.owner == row)
        return int(rows[0]) if row >= 0 and rows.size else -1


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What all models of a run found in one frame.

    Attributes:
        detections: what the first model found; the tracker follows these.
        tied: what every further model found, in the order in which they run.

    >>> len(Findings(Detections.empty()).free_faces(np.empty(0, np.int32)))
    0
    """

    detections: Detections
    tied: tuple[Tied, ...] = ()

    def plus(self, tied: Tied) -> Self:
        """Returns these and what one more model found."""
        return type(self)(self.detections, (*self.tied, tied))

    def shapes_of(self, row: int) -> Iterator[tuple[Detections, int]]:
        """Yields what is known of row `row` of `detections`, faces that belong to it aside: detections and a row."""
        yield self.detections, row
        for tied in self.tied:
            if not isinstance(tied.found, FaceDetections) and (i := tied.of(row)) >= 0:
                yield tied.found, i

    @property
    def looks_for_faces(self) -> bool:
        """Whether a further model finds faces."""
        return any(isinstance(tied.found, FaceDetections) for tied in self.tied)

    def face_of(self, row: int) -> FaceDetections:
        """Returns the face that belongs to row `row` of `detections`; nothing where none does."""
        for tied in self.tied:
            if isinstance(tied.found, FaceDetections) and (i := tied.of(row)) >= 0:
                return tied.found[i : i + 1]
        return _NO_FACES

    def free_faces(self, rows: I32) -> FaceDetections:
        """Returns the faces that belong to none of `rows` of `detections`: a head in a window, a body not followed."""
        for tied in self.tied:
            if isinstance(tied.found, FaceDetections):
                return tied.found[(tied.owner < 0) | ~np.isin(tied.owner, rows)]
        return _NO_FACES
