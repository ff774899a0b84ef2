"""Describing: shared batches, one vector of length 1 a tracklet, and how far its pictures agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchline.detectors.boxes import F32
from watchline.reid.align import TEMPLATE
from watchline.reid.describe import describe, mean_of
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.tracklet import Crop, Tracklet
from watchline.streams.errors import ModelError
from watchline.streams.frame import U8, ClockSource

BODY = EmbeddingModel("body", "b" * 64, Kind.BODY, 3)
FACE = EmbeddingModel("face", "f" * 64, Kind.FACE, 3)
FACE_POINTS = np.array(TEMPLATE, np.float32)


class MeanColour:
    """Describes a picture by its mean colour; keeps how many it was given at once."""

    def __init__(self, model: EmbeddingModel = BODY) -> None:
        self.model = model
        self.calls: list[int] = []

    def embed(self, crops: Sequence[U8]) -> F32:
        self.calls.append(len(crops))
        means = np.array([crop.mean(axis=(0, 1)) for crop in crops], np.float32).reshape(-1, 3)
        unit: F32 = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def embed_faces(self, crops: Sequence[Crop]) -> F32:
        return self.embed([crop.rgb for crop in crops])


def crop(*colour: int, pts_s: float = 0.0, quality: float = 0.5) -> Crop:
    rgb = np.broadcast_to(np.array(colour, np.uint8), (4, 2, 3)).copy()
    box = np.array([1, 2, 3, 6], np.float32)
    return Crop(rgb, box, np.empty((0, 2), np.float32), 0.9, quality, pts_s, 1e9 + pts_s)


def with_landmarks(face: Crop) -> Crop:
    return face if len(face.landmarks) else replace(face, landmarks=FACE_POINTS)


def tracklet(*crops: Crop, faces: Sequence[Crop] = (), track_id: int = 1) -> Tracklet:
    return Tracklet(
        camera="yard", track_id=track_id, part=0, is_last=True, label="person", start_pts_s=0.0, end_pts_s=1.0,
        started_at=1e9, ended_at=1e9 + 1, clock=ClockSource.FILE, frames=25, best_score=0.9, crops=crops,
        faces=tuple(map(with_landmarks, faces)), reason="" if crops else "too small: 3 px high at best, 48 wanted",
        path=np.zeros((1, 5), np.float32), frame_width=640, frame_height=360,
    )  # fmt: skip


def test_pictures_of_several_tracklets_are_described_together_and_each_gets_its_own() -> None:
    embedder = MeanColour()
    described = describe([tracklet(crop(9, 0, 0), crop(0, 9, 0)), tracklet(), tracklet(crop(0, 0, 9))], embedder)
    assert embedder.calls == [3]
    assert [[e.crops for e in each] for each in described] == [[2], [], [1]]
    np.testing.assert_allclose(described[0][0].vector, [0.5**0.5, 0.5**0.5, 0], atol=1e-6)
    np.testing.assert_allclose(described[2][0].vector, [0, 0, 1], atol=1e-6)
    assert described[0][0].spread == pytest.approx(1 - 0.5**0.5)
    assert described[2][0].spread == 0


def test_faces_are_described_by_their_own_model() -> None:
    both = tracklet(crop(9, 0, 0), faces=[crop(0, 9, 0), crop(0, 9, 0)])
    ((body, face),) = describe([both], MeanColour(), MeanColour(FACE))
    assert (body.model, body.crops, face.model, face.crops) == (BODY, 1, FACE, 2)
    ((alone,),) = describe([both], face=MeanColour(FACE))
    assert alone.model == FACE
    assert describe([both]) == [()]


def test_a_face_whose_landmarks_lie_on_one_another_spoils_no_other() -> None:
    nowhere = replace(crop(9, 0, 0), landmarks=np.ones((5, 2), np.float32))
    seen = [tracklet(faces=[nowhere]), tracklet(faces=[nowhere, crop(0, 9, 0)])]
    described = describe(seen, face=MeanColour(FACE))
    assert [[each.crops for each in one] for one in described] == [[], [1]]


def test_nobody_is_described_by_nothing() -> None:
    assert describe([], MeanColour(), MeanColour(FACE)) == []


def test_a_model_that_fails_is_told() -> None:
    class Broken(MeanColour):
        def embed(self, crops: Sequence[U8]) -> F32:
            raise ModelError("body: broken")

    with pytest.raises(ModelError, match="broken"):
        describe([tracklet(crop(1, 2, 3))], Broken())


def test_vectors_that_cancel_each_other_out_still_give_a_direction() -> None:
    opposite = np.array([[1, 0, 0], [-1, 0, 0]], np.float32)
    np.testing.assert_array_equal(mean_of(opposite, BODY).vector, [1, 0, 0])


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(*[st.integers(1, 255)] * 3), max_size=4), max_size=5))
def test_a_tracklet_is_described_the_same_alone_and_among_others(colours: list[list[tuple[int, int, int]]]) -> None:
    tracklets = [replace(tracklet(*(crop(*c) for c in each)), track_id=i) for i, each in enumerate(colours)]
    together = describe(tracklets, MeanColour())
    alone = [describe([one], MeanColour())[0] for one in tracklets]
    for one, other in zip(together, alone, strict=True):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.vector, b.vector)
            assert abs(float(np.linalg.norm(a.vector)) - 1) < 1e-5
            assert 0 <= a.spread <= 2
