"""Shots: what is kept of somebody in a photo to search with: vectors, a small picture, and where they come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.pipeline.cases.photos import Photo
from watchline.pipeline.cases.subjects import PhotoSubject, Seen
from watchline.pipeline.view import jpeg_of
from watchline.reid.align import can_align
from watchline.reid.collector import CollectorSettings
from watchline.reid.cutting import Cut, shrunk
from watchline.reid.describe import BodyEmbedder, FaceEmbedder
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.tracklet import Crop
from watchline.streams.errors import UsageError

_FACE_MARGIN: Final = 0.3  # of a face's sides, kept around it: aligning turns and moves it
_LIKE_TRACKS: Final = CollectorSettings()  # pictures of tracks are kept in this size, and compared with these


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A body or a face of a photo, described.

    Attributes:
        model: what described it; its kind says whether it is a body or a face.
        vector: (D,) float32 of length 1.
        quality: as of `Seen`.
        box: (4,) float32 xyxy, pixels of the photo as it was encoded anew.
        jpeg: the picture that was described.
        jpeg_sha256: of that.
        photo_sha256: of the photo's file, as it came.
    """

    model: EmbeddingModel
    vector: F32
    quality: float
    box: F32
    jpeg: bytes
    jpeg_sha256: str
    photo_sha256: str


def shots_of(
    photo: Photo, subject: PhotoSubject, body: BodyEmbedder | None = None, face: FaceEmbedder | None = None
) -> tuple[Shot, ...]:
    """Returns what is kept of somebody: of the body, of the face, or of both, as they are good enough.

    Args:
        photo: the photo.
        subject: found in it.
        body: describes bodies; None: nothing does.
        face: describes faces; None: nothing does.

    Raises:
        UsageError: neither can be used with these models; says why.
        ModelError: a model failed.
    """
    shots = []
    if body is not None and subject.body and not subject.body.refusal:
        crop = _crop(photo, subject.body, 0.0)
        shots.append(_shot(photo, subject.body, crop, body.model, body.embed([crop.rgb])))
    if face is not None and subject.face and not subject.face.refusal and can_align(subject.face.landmarks):
        crop = _crop(photo, subject.face, _FACE_MARGIN)
        shots.append(_shot(photo, subject.face, crop, face.model, face.embed_faces([crop])))
    if not shots:
        raise UsageError(f"{photo.name}: person {subject.number} cannot be searched with: {why_not(subject)}")
    return tuple(shots)


def why_not(subject: PhotoSubject) -> str:
    """Returns why nothing of somebody can be used."""
    parts = [("body", subject.body), ("face", subject.face)]
    told = [f"{name} {seen.refusal}" for name, seen in parts if seen and seen.refusal]
    good = [
        f"the {name} is good enough, and no model describes it" for name, seen in parts if seen and not seen.refusal
    ]
    return "; ".join([*told, *good])


def _crop(photo: Photo, seen: Seen, margin: float) -> Crop:
    """Returns the picture of a body or face, made as those of tracks are."""
    around = margin * (seen.box[2:] - seen.box[:2])
    cut = Cut.of(np.concatenate([seen.box[:2] - around, seen.box[2:] + around]), *photo.rgb.shape[:2])
    rgb, scale = shrunk(cut.view(photo.rgb), _LIKE_TRACKS.most_height, _LIKE_TRACKS.most_width)
    points = ((seen.landmarks - np.array([cut.left, cut.top], np.float32)) * scale).astype(np.float32)
    return Crop(rgb, seen.box.astype(np.float32), points, seen.score, seen.quality, 0.0, 0.0)


def _shot(photo: Photo, seen: Seen, crop: Crop, model: EmbeddingModel, vectors: F32) -> Shot:
    jpeg = jpeg_of(crop.rgb)
    return Shot(model, vectors[0], seen.quality, crop.xyxy, jpeg, hashlib.sha256(jpeg).hexdigest(), photo.sha256)
