"""Who is in a photo, how good each is to search with, and what would help."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from tests.fakes import ScriptedDetector, make_detections, make_faces
from tests.reid.drawn import face as drawn_face
from tests.reid.drawn import person as drawn_person
from watchline.detectors.boxes import F32
from watchline.detectors.detections import Detections, FaceDetections
from watchline.pipeline.cases.marking import marked
from watchline.pipeline.cases.photo_words import lines_of, record_of
from watchline.pipeline.cases.photos import Photo
from watchline.pipeline.cases.shots import shots_of
from watchline.pipeline.cases.subjects import Found, PeopleFinder, choose
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.features import unit
from watchline.reid.tracklet import Crop
from watchline.streams.errors import StreamError, UsageError
from watchline.streams.frame import U8

Box = tuple[float, float, float, float]


def photo(*people: Box, height: int = 480, width: int = 640, blur: float = 0.0, light: float = 1.0) -> Photo:
    """A street with drawn people at the boxes, the nearest last."""
    rgb = np.full((height, width, 3), 120, np.uint8)
    for number, (left, top, right, bottom) in enumerate(map(_whole, people)):
        drawn = drawn_person(bottom - top, right - left, hue=30 * number)
        inside = drawn[max(0, -top) :, max(0, -left) :]
        area = rgb[max(0, top) : bottom, max(0, left) : right]
        area[:] = inside[: area.shape[0], : area.shape[1]]
    if blur:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), blur), np.uint8)
    return of((rgb * light).astype(np.uint8))


def of(rgb: U8) -> Photo:
    """A photo of those pixels."""
    return Photo("party.jpg", "JPEG", 1234, "ab" * 32, rgb, b"")


def _whole(box: Box) -> tuple[int, int, int, int]:
    return int(box[0]), int(box[1]), int(box[2]), int(box[3])


def find(picture: Photo, people: Detections, faces: FaceDetections | None = None, *, whole: bool = False) -> Found:
    """What is found in a picture by detectors that say so."""
    face_detector = None if faces is None else ScriptedDetector(lambda _frame: faces)
    return PeopleFinder(ScriptedDetector(lambda _frame: people), face_detector).find(picture, whole=whole)


def advice(picture: Photo, people: Detections, number: int = 1) -> str:
    """What would help one of them."""
    body = find(picture, people).subjects[number - 1].body
    assert body
    assert not body.refusal
    return "; ".join(body.advice)


TALL: Box = (100, 100, 180, 300)
OTHER: Box = (400, 120, 480, 330)


class TestPeople:
    def test_they_are_numbered_from_left_to_right_whatever_order_they_are_found_in(self) -> None:
        found = find(photo(OTHER, TALL), make_detections(OTHER, TALL))
        assert [subject.number for subject in found.subjects] == [1, 2]
        assert [float(subject.box[0]) for subject in found.subjects] == [100, 400]

    def test_a_person_seen_well_needs_no_advice(self) -> None:
        (subject,) = find(photo((100, 100, 260, 440)), make_detections((100, 100, 260, 440))).subjects
        assert subject.usable
        assert subject.body
        assert subject.body.advice == ()
        assert 0.2 < subject.body.quality <= 1

    def test_a_face_belongs_to_its_person(self) -> None:
        (subject,) = find(photo(TALL), make_detections(TALL), make_faces((128, 105, 152, 131))).subjects
        assert subject.body
        assert subject.face

    def test_the_face_of_a_portrait_is_its_persons_though_it_is_larger_than_any_in_a_street(self) -> None:
        near: Box = (20, 20, 460, 479)
        (subject,) = find(photo(near), make_detections(near), make_faces((170, 80, 330, 290))).subjects
        assert subject.body
        assert "cut off: too little of it is in the picture" in subject.body.refusal
        assert subject.face
        assert subject.usable

    def test_a_good_face_that_is_nobodys_is_somebody_and_a_poor_one_is_not(self) -> None:
        faces = make_faces((300, 50, 360, 120), (500, 50, 510, 62))
        picture = photo(TALL)
        picture.rgb[50:120, 300:360] = drawn_face(70, 60)
        found = find(picture, make_detections(TALL), faces)
        assert [(subject.number, subject.body is None) for subject in found.subjects] == [(1, False), (2, True)]


class TestAdvice:
    def test_small(self) -> None:
        box: Box = (100, 100, 130, 161)
        assert "61 px high: 128 or more would help; use a larger picture" in advice(photo(box), make_detections(box))

    def test_cut_off(self) -> None:
        box: Box = (0, 100, 70, 300)
        assert "cut off at the left edge: a picture from head to foot" in advice(photo(box), make_detections(box))

    def test_blurred(self) -> None:
        assert "blurred: a sharper picture would help" in advice(photo(TALL, blur=1.2), make_detections(TALL))

    def test_dark(self) -> None:
        assert "dark: a picture in better light" in advice(photo(TALL, light=0.42), make_detections(TALL))

    def test_unsure(self) -> None:
        assert "perhaps no person (score 0.35)" in advice(photo(TALL), make_detections(TALL, score=0.35))

    def test_two_who_overlap_are_told_who_stands_in_front(self) -> None:
        near: Box = (150, 110, 240, 340)
        people = make_detections(TALL, near)
        assert "person 2 stands in front and hides up to 36 %" in advice(photo(TALL, near), people)
        assert "person 1 is seen in 28 % of the same box" in advice(photo(TALL, near), people, 2)

    def test_what_cannot_be_told_apart_from_fog_is_refused(self) -> None:
        (subject,) = find(photo(TALL, blur=9), make_detections(TALL)).subjects
        assert subject.body
        assert subject.body.refusal == "too blurred, or too dark; use a sharper picture in better light"

    @pytest.mark.parametrize(
        ("box", "says"),
        [
            ((100, 100, 120, 131), "too small: 31 px high, 48 is the least; use a larger picture"),
            ((100, 100, 110, 200), "too narrow: 10 px wide, 16 is the least"),
            ((0, 0, 320, 300), "cut off: too little of it is in the picture"),
        ],
    )
    def test_who_is_of_no_use_is_told_why_and_what_would_help(self, box: Box, says: str) -> None:
        (subject,) = find(photo(box), make_detections(box)).subjects
        assert subject.body
        assert says in subject.body.refusal
        assert subject.body.quality == 0
        assert not subject.usable

    def test_of_a_small_face_the_body_is_what_is_left(self) -> None:
        found = find(photo(TALL), make_detections(TALL), make_faces((130, 105, 149, 126)))
        taken = choose(found, None, photo(TALL))
        assert taken.face
        assert "too small: 21 px high, 24 is the least" in taken.face.refusal
        assert any("can be searched with, by body (" in line for line in lines_of(photo(TALL), found, taken))


class TestWhole:
    def test_a_small_picture_of_a_persons_shape_is_taken_whole_where_nobody_is_found(self) -> None:
        found = find(of(drawn_person(160, 64)), make_detections())
        (subject,) = found.subjects
        assert subject.whole
        assert subject.box.tolist() == [0, 0, 64, 160]
        assert "has the shape of a person cut out (64x160), and nobody was found in it" in found.note
        assert subject.body
        assert not any("cut off" in line for line in subject.body.advice)

    def test_also_where_one_person_takes_up_nearly_all_of_it(self) -> None:
        found = find(of(drawn_person(160, 64)), make_detections((3, 2, 62, 158)))
        assert found.subjects[0].whole
        assert "one person takes up nearly all of it" in found.note

    @pytest.mark.parametrize(
        "people", [make_detections((3, 2, 30, 158), (32, 2, 62, 158)), make_detections((3, 40, 40, 120))]
    )
    def test_not_where_two_are_in_it_or_one_is_a_small_part(self, people: Detections) -> None:
        assert not any(subject.whole for subject in find(of(drawn_person(160, 64)), people).subjects)

    @pytest.mark.parametrize("shape", [(2340, 1080), (480, 640), (100, 300)])
    def test_not_a_screen_of_a_phone_nor_a_wide_picture(self, shape: tuple[int, int]) -> None:
        assert find(of(np.full((*shape, 3), 90, np.uint8)), make_detections()).subjects == ()

    def test_as_asked_for_it_is_taken_in_any_case_with_its_largest_face(self) -> None:
        faces = make_faces((10, 10, 40, 45), (200, 10, 300, 130))
        found = find(photo(TALL), make_detections(TALL), faces, whole=True)
        (subject,) = found.subjects
        assert subject.whole
        assert subject.face
        assert subject.face.box[0] == 200


class TestChoice:
    FOUND = find(photo(TALL, OTHER), make_detections(TALL, OTHER))

    def test_the_only_one_is_taken(self) -> None:
        assert choose(find(photo(TALL), make_detections(TALL)), None, photo()).number == 1

    def test_of_several_one_must_be_said(self) -> None:
        with pytest.raises(UsageError, match=r"^party\.jpg: 2 people are in it; say which one with --person 1 to 2$"):
            choose(self.FOUND, None, photo())
        assert choose(self.FOUND, 2, photo()).number == 2

    def test_nobody_and_who_is_not_there_are_one_line_each(self) -> None:
        with pytest.raises(StreamError, match=r"^party\.jpg: nobody was found in it; .* say --whole$"):
            choose(Found(()), None, photo())
        with pytest.raises(UsageError, match="--person 3: 2 people are in it: 1 to 2, from left to right"):
            choose(self.FOUND, 3, photo())


class Colours:
    """Describes a picture by its mean colour."""

    def __init__(self, kind: Kind) -> None:
        self.model = EmbeddingModel(f"{kind} colours", "cd" * 32, kind, 3)
        self.crops: list[U8] = []
        self.landmarks: list[F32] = []

    def embed(self, crops: Sequence[U8], /) -> F32:
        self.crops += crops
        return unit(np.array([crop.mean(axis=(0, 1)) for crop in crops], np.float32).reshape(-1, 3))

    def embed_faces(self, crops: Sequence[Crop], /) -> F32:
        self.landmarks += [crop.landmarks for crop in crops]
        return self.embed([crop.rgb for crop in crops])


class TestShots:
    def test_body_and_face_are_described_with_where_they_come_from(self) -> None:
        picture = photo((100, 20, 260, 440))
        picture.rgb[30:100, 150:210] = drawn_face(70, 60)
        found = find(picture, make_detections((100, 20, 260, 440)), make_faces((150, 30, 210, 100)))
        body, face = Colours(Kind.BODY), Colours(Kind.FACE)
        shots = shots_of(picture, found.subjects[0], body, face)
        assert [shot.model.kind for shot in shots] == [Kind.BODY, Kind.FACE]
        for shot in shots:
            assert shot.vector.shape == (3,)
            assert np.linalg.norm(shot.vector) == pytest.approx(1)
            assert shot.photo_sha256 == picture.sha256
            assert shot.jpeg_sha256 == hashlib.sha256(shot.jpeg).hexdigest()
            assert 0 < shot.quality <= 1
        assert body.crops[0].shape == (384, 146, 3)  # as large as pictures of tracks, at most
        assert face.crops[0].shape == (112, 96, 3)  # with a margin to turn it in
        assert face.landmarks[0][0] == pytest.approx((0.3 * 60 + 18, 0.4 * 70 + 21), abs=1)

    def test_who_cannot_be_searched_with_is_refused_with_the_reason(self) -> None:
        box: Box = (100, 100, 120, 131)
        found = find(photo(box), make_detections(box))
        with pytest.raises(
            UsageError, match=r"person 1 cannot be searched with: body too small: 31 px high, .* larger"
        ):
            shots_of(photo(box), found.subjects[0], Colours(Kind.BODY))

    def test_a_good_body_without_a_model_for_it_is_told(self) -> None:
        found = find(photo(TALL), make_detections(TALL))
        with pytest.raises(UsageError, match="the body is good enough, and no model describes it"):
            shots_of(photo(TALL), found.subjects[0], face=Colours(Kind.FACE))


class TestTelling:
    def test_of_many_people_only_the_one_who_is_meant_is_told_in_full(self) -> None:
        small: list[Box] = [(20 + 60 * i, 100, 50 + 60 * i, 170) for i in range(5)]
        picture = photo(*small)
        found = find(picture, make_detections(*small))
        lines = lines_of(picture, found, None)
        assert lines[-1] == "who is meant? say it with --person 1 to 5"
        assert not any("would help" in line for line in lines)
        chosen = lines_of(picture, found, choose(found, 4, picture))
        assert sum("would help" in line for line in chosen) >= 1

    def test_the_record_says_the_same(self) -> None:
        found = find(photo(TALL, OTHER), make_detections(TALL, OTHER))
        record = record_of(photo(), found, None)
        assert record["taken"] is None
        assert isinstance(record["people"], list)
        assert [person["usable"] for person in record["people"]] == [True, True]
        assert record["people"][0]["body"]["box"] == list(TALL)

    def test_the_marked_picture_has_numbered_boxes_and_a_bound(self) -> None:
        wide = of(np.full((2000, 4000, 3), 120, np.uint8))
        found = find(wide, make_detections((100, 100, 900, 1900), (0, 0, 60, 150)))
        picture = cv2.imdecode(np.frombuffer(marked(wide.rgb, found.subjects, 1), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (800, 1600, 3)
        coloured = np.ptp(picture.astype(int), axis=2) > 40
        assert coloured[400, 36:44].any()  # a side of the box
        assert coloured[5:40, 2:40].any()  # a number that has no room above
        assert not coloured[:, 800:].any()
