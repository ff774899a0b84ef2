"""Who is in a photo: people and faces, numbered from left to right, and how good each is to search with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32, Detections, FaceDetections
from watchline.detectors.detector import Detector
from watchline.pipeline.cases.advice import advise_face, advise_pixels, advise_place, refusal_of
from watchline.pipeline.cases.photos import Photo
from watchline.pipeline.tying import tie_faces
from watchline.reid.cutting import Cut
from watchline.reid.quality import FACE_GATE, Flaw, Gate, Judged, frontal, judge, sharpness
from watchline.streams.errors import StreamError, UsageError
from watchline.streams.frame import U8, ClockSource, Frame, Picture

BODY_GATE: Final = Gate()
PHOTO_FACE_GATE: Final = replace(FACE_GATE, least_sharpness=0.06)  # there is no better picture to come
_KEYPOINTS: Final = 17
_MARGIN_PX: Final = 1000.0  # around a picture that is a person: no border cuts anything off
_CROP_SHAPE: Final = (1.5, 4.5)  # height over width of a picture that was cut out around a person
_CROP_HEIGHT_PX: Final = 640  # higher ones of that shape are screens of phones
_ALL_OF_IT: Final = 0.7  # share of such a picture that a person found in it takes up
_PORTRAIT: Final = 0.08  # least share of a box that the face of a portrait takes up; in a street it is 0.02
_FREE_FACE: Final = 0.02  # least quality of a face without a body: bags and lamps are taken for faces, too
_NO_LANDMARKS: Final = np.empty((0, 2), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A body or a face in a photo.

    Attributes:
        box: (4,) float32 xyxy, pixels of the photo.
        landmarks: (5, 2) float32 of a face, pixels of the photo; (0, 2) of a body.
        score: of its detection, in [0, 1]; 1 where a person says so.
        quality: how good it is to describe somebody by, in (0, 1]; 0 where it is refused.
        refusal: why it cannot be used, and what would help; "" where it can.
        advice: what would make it better; empty for nothing.
    """

    box: F32
    landmarks: F32
    score: float
    quality: float
    refusal: str = ""
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PhotoSubject:
    """Somebody in a photo.

    Attributes:
        number: 1 is the leftmost.
        body: None where only a face was found.
        face: None where none was found, or nothing looked for faces.
        whole: the photo is this person's, all of it: it was cut out around them before.
    """

    number: int
    body: Seen | None
    face: Seen | None
    whole: bool = False

    @property
    def box(self) -> F32:
        """Where they are, (4,) float32 xyxy, pixels of the photo."""
        seen = self.body or self.face
        return seen.box if seen else np.zeros(4, np.float32)

    @property
    def usable(self) -> bool:
        """Whether there is something to search with."""
        return any(seen and not seen.refusal for seen in (self.body, self.face))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found in a photo.

    Attributes:
        subjects: from left to right; empty for nobody.
        note: what was done that a person should know; "" for nothing.
    """

    subjects: tuple[PhotoSubject, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class PeopleFinder:
    """Finds people, and faces where asked for. Safe to use from several threads at once, as its detectors are.

    Attributes:
        people: its detections are all of people.
        faces: its detections are `FaceDetections`; None: nothing looks for faces.
    """

    people: Detector
    faces: Detector | None = None

    def find(self, photo: Photo, *, whole: bool = False) -> Found:
        """Returns who is in a photo.

        A small picture of a person's shape, such as one that was cut out of a camera's, is taken whole where nobody
        is found in it, or one person who takes up nearly all of it.

        Args:
            photo: that was read.
            whole: take it so in any case.

        Raises:
            ModelError: a detector failed.
        """
        frame = Frame("photo", 0, 0.0, 0.0, ClockSource.FILE, Picture.from_rgb(photo.rgb))
        faces = self.faces.detect([frame])[0] if self.faces else FaceDetections.empty()
        if not isinstance(faces, FaceDetections):
            raise TypeError(f"want faces, got {type(faces).__name__}")
        if whole:
            return Found((_whole(photo.rgb, faces),), "all of it was taken as the person, as asked for")
        people = self.people.detect([frame])[0]
        if _looks_cut_out(photo.rgb, people):
            seen = "one person takes up nearly all of it" if len(people) else "nobody was found in it"
            size = f"{frame.width}x{frame.height}"
            note = f"has the shape of a person cut out ({size}), and {seen}: all of it was taken as the person"
            return Found((_whole(photo.rgb, faces),), note)
        return Found(tuple(_subjects(photo.rgb, people, faces)))


def choose(found: Found, number: int | None, photo: Photo) -> PhotoSubject:
    """Returns the one who is meant: who was chosen, or the only one.

    Args:
        found: in the photo.
        number: of the chosen one; None where nobody chose.
        photo: that it is, for the error.

    Raises:
        StreamError: nobody is in it.
        UsageError: there are several and none was chosen, or not so many.
    """
    count = len(found.subjects)
    if not count:
        raise StreamError(
            f"{photo.name}: nobody was found in it; give a photo that shows the person larger and from head to foot, "
            "or, where it was cut out around the person before, say --whole"
        )
    if number is None and count > 1:
        raise UsageError(f"{photo.name}: {count} people are in it; say which one with --person 1 to {count}")
    if number is not None and not 1 <= number <= count:
        who = f"{count} people are in it: 1 to {count}" if count > 1 else "one person is in it: 1"
        raise UsageError(f"{photo.name}: --person {number}: {who}, from left to right")
    return found.subjects[(number or 1) - 1]


def _looks_cut_out(rgb: U8, people: Detections) -> bool:
    height, width = rgb.shape[:2]
    if height > _CROP_HEIGHT_PX or not _CROP_SHAPE[0] <= height / width <= _CROP_SHAPE[1] or len(people) > 1:
        return False
    return all(np.prod(box[2:] - box[:2]) >= _ALL_OF_IT * height * width for box in people.xyxy)


def _whole(rgb: U8, faces: FaceDetections) -> PhotoSubject:
    """Returns the person whom a picture is of; of several faces the largest is theirs."""
    height, width = rgb.shape[:2]
    box, one = np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32)
    around = int(2 * _MARGIN_PX)
    judged = judge(box + np.float32(_MARGIN_PX), one, height + around, width + around, BODY_GATE)
    looked = _look(rgb, box[0], BODY_GATE, judged, 0)
    body = looked.seen(1.0, _NO_LANDMARKS, advise_pixels(looked.view, looked.sharp, looked.height))
    largest = np.argsort(-_areas(faces), kind="stable")[:1]
    return PhotoSubject(1, body, _face(rgb, faces[largest]) if len(faces) else None, whole=True)


def _subjects(rgb: U8, people: Detections, faces: FaceDetections) -> list[PhotoSubject]:
    """Returns everybody: bodies with their faces, and good faces that are of no body, from left to right."""
    people = people[np.argsort(people.xyxy[:, 0] + people.xyxy[:, 2], kind="stable")]
    owner = _owners(faces, people)
    bodiless = (_face(rgb, faces[row : row + 1]) for row in np.flatnonzero(owner < 0))
    free = [face for face in bodiless if face.quality >= _FREE_FACE]
    middles = [float(box[0] + box[2]) for box in (*people.xyxy, *(face.box for face in free))]
    numbers = [0] * len(middles)
    for number, place in enumerate(sorted(range(len(middles)), key=middles.__getitem__), 1):
        numbers[place] = number
    bodies = _bodies(rgb, people, numbers)
    mine = [np.flatnonzero(owner == row) for row in range(len(people))]
    found = [
        PhotoSubject(number, body, _face(rgb, faces[rows]) if len(rows) else None)
        for number, body, rows in zip(numbers, bodies, mine, strict=False)
    ]
    found += [PhotoSubject(number, None, face) for number, face in zip(numbers[len(people) :], free, strict=True)]
    return sorted(found, key=lambda subject: subject.number)


def _owners(faces: FaceDetections, people: Detections) -> I32:
    """Returns (M,) rows of the people whose faces these are; -1 for nobody's.

    A portrait's face is larger than any in a street, and lies lower in its person's box: it is theirs where it lies in
    no other's.
    """
    owner = tie_faces(faces, people, np.zeros((len(people), _KEYPOINTS, 3), np.float32))
    for row in np.flatnonzero(owner < 0):
        box = faces.xyxy[row]
        around = (people.xyxy[:, :2] <= box[:2]).all(axis=1) & (people.xyxy[:, 2:] >= box[2:]).all(axis=1)
        holders = np.flatnonzero(around)
        if (
            len(holders) == 1
            and holders[0] not in owner
            and _areas(faces)[row] >= _PORTRAIT * _areas(people)[holders[0]]
        ):
            owner[row] = holders[0]
    return owner


def _areas(found: Detections) -> F32:
    areas: F32 = np.prod(found.xyxy[:, 2:] - found.xyxy[:, :2], axis=1)
    return areas


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What the place and the pixels of a body or face say."""

    box: F32
    view: U8
    sharp: float
    quality: float
    refusal: str

    @property
    def height(self) -> float:
        return float(self.box[3] - self.box[1])

    def seen(self, score: float, landmarks: F32, advice: Iterable[str]) -> Seen:
        return Seen(self.box, landmarks, score, self.quality, self.refusal, () if self.refusal else tuple(advice))


def _look(rgb: U8, box: F32, gate: Gate, judged: Judged, row: int) -> _Look:
    view = Cut.of(box, *rgb.shape[:2]).view(rgb)
    sharp = sharpness(view) if view.size else 0.0
    flaw = Flaw(int(judged.flaw[row]))
    if flaw is Flaw.NONE and sharp < gate.least_sharpness:
        flaw = Flaw.BLURRED
    quality = float(judged.bound[row]) * sharp if flaw is Flaw.NONE else 0.0
    return _Look(box, view, sharp, quality, refusal_of(flaw, box, gate))


def _bodies(rgb: U8, people: Detections, numbers: Sequence[int]) -> list[Seen]:
    """Returns how each of the people is seen; `numbers` are those that a person knows them by."""
    judged = judge(people.xyxy, people.score, rgb.shape[0], rgb.shape[1], BODY_GATE)
    found = []
    for row, (box, score) in enumerate(zip(people.xyxy, people.score.tolist(), strict=True)):
        look = _look(rgb, box, BODY_GATE, judged, row)
        places = advise_place(people, row, rgb.shape[:2], numbers)
        found.append(look.seen(score, _NO_LANDMARKS, (*advise_pixels(look.view, look.sharp, look.height), *places)))
    return found


def _face(rgb: U8, face: FaceDetections) -> Seen:
    """Returns how a face is seen; `face` holds that one alone."""
    judged = judge(face.xyxy, face.score, rgb.shape[0], rgb.shape[1], PHOTO_FACE_GATE)
    look, turned = _look(rgb, face.xyxy[0], PHOTO_FACE_GATE, judged, 0), frontal(face.landmarks[0])
    advice = advise_face(look.view, look.sharp, look.height, turned)
    return replace(look, quality=look.quality * turned).seen(float(face.score[0]), face.landmarks[0], advice)
