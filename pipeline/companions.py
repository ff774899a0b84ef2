"""Companions: models beside the first, which add to what that found: faces to people, poses and masks to objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.detections import I32, Detections, FaceDetections, PoseDetections
from watchline.detectors.detector import Detector
from watchline.pipeline.figures import COCO_POINTS
from watchline.pipeline.findings import Findings, Tied
from watchline.pipeline.tying import tie_alike, tie_faces
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.frame import Frame

Tie: TypeAlias = Callable[[Findings, Detections], I32]


@dataclass(frozen=True, slots=True)
class Companion:
    """A further model of a run. Safe to use from several threads at once, as its detector is.

    Attributes:
        name: as the user named it.
        task: "face", "pose" or "segment"; the stage's name in the table of times.
        detector: finds what it adds.
        tie: given what was found so far and what it found, (M,) whose each is.
    """

    name: str
    task: str
    detector: Detector
    tie: Tie

    def add(self, frames: Sequence[Frame], findings: Sequence[Findings]) -> list[Findings]:
        """Returns `findings`, one a frame, and what this model adds to each.

        Raises:
            ModelError: the model failed; says which.
        """
        try:
            found = self.detector.detect(frames)
        except ModelError as error:
            raise ModelError(f"{self.name}: {error}") from error
        return [so_far.plus(Tied(mine, self.tie(so_far, mine))) for so_far, mine in zip(findings, found, strict=True)]


@dataclass(frozen=True, slots=True)
class Role:
    """A model as it is looked at before a run: what it is called and what it is.

    Attributes:
        name: as the user named it.
        sha256: of its file.
        card: what it is.
    """

    name: str
    sha256: str
    card: ModelCard


def check_roles(roles: Sequence[Role]) -> None:
    """Refuses models that cannot run together; the first finds what is tracked, the others add to it.

    Raises:
        UsageError: says which, and what to do.
    """
    first, *others = roles
    for i, role in enumerate(others, start=1):
        if twin := next((r for r in roles[:i] if r.sha256 == role.sha256), None):
            same = "is given twice" if twin.name == role.name else f"is the same file as --model {twin.name}"
            raise UsageError(f"--model {role.name}: {same}; give each model once")
        task = role.card.task
        if task == "detect":
            raise UsageError(
                f"--model {role.name}: only finds objects, and the first model, {first.name}, does that; "
                f"name it first, or leave one of the two out"
            )
        if twin := next((r for r in roles[:i] if r.card.task == task), None):
            raise UsageError(f"--model {role.name}: {twin.name} does {task} already; give one model a task")
        if task == "face":
            person_class(first)
        elif not set(role.card.labels) & set(first.card.labels):
            raise UsageError(
                f"--model {role.name}: knows none of the classes of {first.name}, so it can add nothing to them; "
                f"name the model that finds {role.card.labels[0]} first"
            )


def person_class(first: Role) -> int:
    """Returns the class of the first model that faces belong to: "person", or the only one.

    Raises:
        UsageError: there is none.
    """
    labels = first.card.labels
    if "person" in labels:
        return labels.index("person")
    if len(labels) > 1 or first.card.task == "face":
        raise UsageError(
            f"--model {first.name}: finds no people that faces could belong to; name a model first that does"
        )
    return 0


def companion(role: Role, detector: Detector, first: Role) -> Companion:
    """Returns `role` as a companion of `first`; `check_roles` had nothing against them."""
    if role.card.task == "face":
        return Companion(role.name, "face", detector, partial(_tie_faces, person_class(first)))
    ids = {label: i for i, label in enumerate(first.card.labels)}
    classes = np.array([ids.get(label, -1) for label in role.card.labels], np.int32)
    return Companion(role.name, role.card.task, detector, partial(_tie_alike, classes))


def _tie_alike(classes: I32, so_far: Findings, found: Detections) -> I32:
    return tie_alike(found, classes, so_far.detections)


def _tie_faces(person: int, so_far: Findings, found: Detections) -> I32:
    if not isinstance(found, FaceDetections):
        raise TypeError(f"want faces, got {type(found).__name__}")
    rows = np.flatnonzero(so_far.detections.class_id == person)
    owner = tie_faces(found, so_far.detections[rows], _keypoints(so_far)[rows])
    tied = owner >= 0
    owner[tied] = rows[owner[tied]]
    return owner


def _keypoints(so_far: Findings) -> F32:
    """Returns (N, 17, 3) COCO's keypoints of each detection, of whichever model finds them; score 0 for none."""
    points = np.zeros((len(so_far.detections), COCO_POINTS, 3), np.float32)
    everyone = np.arange(len(points), dtype=np.int32)
    for found, owner in ((so_far.detections, everyone), *((tied.found, tied.owner) for tied in so_far.tied)):
        if isinstance(found, PoseDetections) and found.keypoints.shape[1] == COCO_POINTS:
            points[owner[owner >= 0]] = found.keypoints[owner >= 0]
    return points
