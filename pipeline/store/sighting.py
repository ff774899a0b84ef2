"""Sighting: a tracklet as it is stored, matched or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.reid.embeddings import EmbeddingModel, Kind


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a sighting.

    Attributes:
        source: the file that it was seen in, its whole path, or "live".
        detector: name of the model that found it.
        detector_sha256: of that model's file.
        tracker: its name and settings, on one line.
        config_sha256: of the options or the site's configuration that were in force.
        version: of watchline.
    """

    source: str
    detector: str
    detector_sha256: str
    tracker: str
    config_sha256: str
    version: str


@dataclass(frozen=True, slots=True)
class StoredCrop:
    """A picture of a sighting.

    Attributes:
        kind: of what.
        jpeg: the picture; b"" once it was erased by the retention.
        xyxy: where it lay in the frame, pixels.
        quality: in (0, 1].
        pts_s: of its frame, seconds.
        captured_at: of its frame, UTC seconds.
    """

    kind: Kind
    jpeg: bytes
    xyxy: tuple[float, float, float, float]
    quality: float
    pts_s: float
    captured_at: float


@dataclass(frozen=True, slots=True, eq=False)
class StoredVector:
    """A vector of a sighting.

    Attributes:
        model: what made it.
        vector: (D,) float16 of length 1.
        spread: see `reid.embeddings.TrackletEmbedding`.
        crops: of how many it is made.
        quality: the best of those crops', in (0, 1].

    Raises:
        ValueError: a wrong dtype or shape.
    """

    model: EmbeddingModel
    vector: NDArray[np.float16]
    spread: float
    crops: int
    quality: float

    def __post_init__(self) -> None:
        expect("vector", self.vector, np.float16, (self.model.dimension,))


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A tracklet as it is stored, matched or not; see `reid.tracklet.Tracklet` for what is not said here.

    Attributes:
        sighting_id: 32 hex digits, its own for good; ids made later sort later.
        track_key: 32 hex digits that all parts of one track share, and no other track.
        clock: where its UTC times come from: "rtcp", "arrival" or "file".
        quality: of its best crop, in (0, 1]; 0 for none.
        path: (M, 5) float32, seconds since `start_pts_s` and box; M = 0 once it was erased by the retention.

    Raises:
        ValueError: a wrong dtype or shape, or a frame without pixels.
    """

    sighting_id: str
    track_key: str
    camera: str
    track_id: int
    part: int
    label: str
    start_pts_s: float
    end_pts_s: float
    started_at: float
    ended_at: float
    clock: str
    frames: int
    best_score: float
    quality: float
    reason: str
    crops: tuple[StoredCrop, ...]
    vectors: tuple[StoredVector, ...]
    path: F32
    frame_width: int
    frame_height: int
    provenance: Provenance

    def __post_init__(self) -> None:
        expect("path", self.path, np.float32, (len(self.path), 5))
        if min(self.frame_width, self.frame_height) < 1:
            raise ValueError(f"frame {self.frame_width} x {self.frame_height}: want pixels")
