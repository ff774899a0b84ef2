"""Faces on the pictures that are kept of people: whose they are, how good, and where in the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.fakes import make_faces
from tests.pipeline.live_sightings import make_tracklet
from watchline.detectors.detections import Detections, FaceDetections
from watchline.pipeline.crop_faces import CropFaces
from watchline.reid.tracklet import Crop, Tracklet
from watchline.streams.errors import ModelError
from watchline.streams.frame import U8, Frame

NOISE = np.random.default_rng(1).integers(0, 255, (320, 160, 3), np.uint8)
HEAD = (63.0, 14.0, 97.0, 48.0)  # of somebody who fills such a picture


class Scripted:
    """Finds what it was told to, picture after picture."""

    labels = ("face",)

    def __init__(self, *found: FaceDetections) -> None:
        self.found = found

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self.found[round(frame.pts_s)] for frame in frames]


class Broken(Scripted):
    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        raise ModelError(f"no memory for {len(frames)} pictures")


def shown(*pictures: U8, xyxy: tuple[float, float, float, float] = (100, 20, 260, 340)) -> Tracklet:
    """A tracklet with these pictures, a second apart."""
    empty = np.empty((0, 2), np.float32)
    box = np.array(xyxy, np.float32)
    crops = tuple(Crop(rgb, box, empty, 0.9, 0.5, float(i), 1e9 + i) for i, rgb in enumerate(pictures))
    return replace(make_tracklet(), crops=crops)


def faces_of(tracklet: Tracklet, *found: FaceDetections) -> tuple[Crop, ...]:
    return CropFaces("yunet", Scripted(*found)).find(tracklet).faces


def test_a_face_is_cut_out_with_what_is_around_it_and_has_its_place_in_the_frame() -> None:
    found = make_faces(HEAD)
    (face,) = faces_of(shown(NOISE), found)
    np.testing.assert_allclose(face.xyxy, [163, 34, 197, 68])
    np.testing.assert_array_equal(face.rgb, NOISE[4:58, 53:107])
    np.testing.assert_allclose(face.landmarks, found.landmarks[0] - (53, 4))
    assert face.score == pytest.approx(0.8)
    assert (face.pts_s, face.captured_at, 0 < face.quality < 1) == (0.0, 1e9, True)


def test_a_picture_that_was_made_smaller_or_was_cut_off_by_the_frame_tells_the_same_place() -> None:
    tracklet = shown(NOISE, xyxy=(-40, -60, 320, 640))  # of a frame of 640 x 360: what lies in it is 320 x 360
    (face,) = faces_of(tracklet, make_faces(HEAD))
    np.testing.assert_allclose(face.xyxy, [126, 15.75, 194, 54], atol=0.01)


@pytest.mark.parametrize(
    "found",
    [
        FaceDetections.empty(),
        make_faces((10, 200, 44, 234)),  # where this person has none
        make_faces(HEAD, score=0.6),  # the back of a head
        make_faces((70, 16, 90, 36)),  # too few pixels
    ],
)
def test_what_is_not_this_persons_face_or_not_good_enough_is_left(found: FaceDetections) -> None:
    tracklet = shown(NOISE)
    assert CropFaces("yunet", Scripted(found)).find(tracklet) is tracklet


def test_the_own_face_is_taken_where_a_neighbours_is_in_the_picture() -> None:
    (face,) = faces_of(shown(NOISE), make_faces((0, 100, 34, 134), HEAD, (120, 60, 154, 94)))
    np.testing.assert_allclose(face.xyxy, [163, 34, 197, 68])


def test_the_best_three_are_kept_in_order_of_time() -> None:
    found = [make_faces(HEAD, score=score) for score in (0.9, 0.7, 0.8, 0.66, 0.95)]
    assert [face.pts_s for face in faces_of(shown(*[NOISE] * 5), *found)] == [0.0, 2.0, 4.0]
    blurred = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 9), np.uint8)
    assert [face.pts_s for face in faces_of(shown(blurred, *[NOISE] * 4), *found)] == [1.0, 2.0, 4.0]


def test_somebody_without_a_picture_or_of_small_ones_has_no_face_and_nothing_is_looked_at() -> None:
    for tracklet in (make_tracklet(crops=0), make_tracklet(crops=2)):
        assert faces_of(tracklet) == ()


def test_a_model_that_fails_is_named() -> None:
    with pytest.raises(ModelError, match="yunet: no memory for 1 pictures"):
        CropFaces("yunet", Broken()).find(shown(NOISE))
