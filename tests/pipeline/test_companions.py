"""Which models can run together, and what a companion adds on the road."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from tests.fakes import (
    OneTrackTracker,
    RecordingSink,
    ScriptedDetector,
    ScriptedSource,
    make_detections,
    make_faces,
    make_frame,
)
from watchline.detectors.card import ModelCard
from watchline.detectors.detections import Detections, PoseDetections
from watchline.pipeline.companions import Companion, Role, check_roles, companion
from watchline.pipeline.findings import Findings, Tied
from watchline.pipeline.graph import Road, Sampling
from watchline.pipeline.stopwatch import Stopwatch
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.frame import Frame

BODY, HEAD = (10.0, 5.0, 30.0, 45.0), (18.0, 7.0, 22.0, 11.0)


def role(name: str, task: str = "detect", labels: tuple[str, ...] = ("person", "car")) -> Role:
    return Role(name, name, ModelCard("yolov8", task, labels, (8, 16, 32)))


FIRST, FACES = role("coco"), role("faces", "face", ("face",))
POSES = role("poses", "pose", ("person",))


@pytest.mark.parametrize(
    "roles",
    [
        [FIRST],
        [FIRST, FACES],
        [FIRST, POSES, role("masks", "segment"), FACES],
        [POSES, FACES],
        [role("heads", labels=("pedestrian",)), FACES],
        [role("bikes", labels=("bike", "person")), FACES],
    ],
)
def test_one_model_a_task_can_run_together(roles: Sequence[Role]) -> None:
    check_roles(roles)


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ([FIRST, FIRST], "--model coco: is given twice; give each model once"),
        ([FIRST, Role("copy", "coco", FIRST.card)], "--model copy: is the same file as --model coco"),
        ([FIRST, role("more")], "name it first, or leave one of the two out"),
        ([FIRST, FACES, role("others", "face")], "--model others: faces does face already"),
        ([POSES, role("others", "pose")], "--model others: poses does pose already"),
        ([FACES, role("others", "face")], "faces does face already"),
        ([FACES, POSES], "name the model that finds person first"),
        ([role("cars", labels=("car", "bus")), FACES], "--model cars: finds no people"),
    ],
)
def test_models_that_cannot_run_together_are_refused_with_what_to_do(roles: Sequence[Role], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_roles(roles)
    assert words in str(caught.value)


def look(first: Detections, *companions: Companion) -> Findings:
    findings = [Findings(first)]
    for each in companions:
        findings = each.add([make_frame()], findings)
    return findings[0]


def test_faces_are_tied_to_people_and_to_nothing_else() -> None:
    first = Detections(np.array([BODY, BODY], np.float32), np.array([0.9, 0.5], np.float32), np.array([1, 0], np.int32))
    faces = companion(FACES, ScriptedDetector(lambda frame: make_faces(HEAD)), FIRST)
    findings = look(first, faces)
    assert findings.tied[0].owner.tolist() == [1], "the car has no face"
    assert len(findings.face_of(1)) == 1
    assert len(findings.face_of(0)) == len(findings.free_faces(np.array([1], np.int32))) == 0
    assert len(findings.free_faces(np.array([0], np.int32))) == 1


def test_poses_of_another_model_are_tied_by_name_and_help_the_faces() -> None:
    base = make_detections(BODY, (14, 5, 34, 45), class_id=0)
    keypoints = np.zeros((2, 17, 3), np.float32)
    keypoints[1, 0] = (20, 9.4, 0.9)  # the nose of the second is in the face that stands in the middle of the first
    keypoints[0, 0] = (12, 30, 0.9)
    found = PoseDetections(base.xyxy, base.score, base.class_id, keypoints)
    first = role("coco", labels=("car", "person"))
    people = Detections(base.xyxy, base.score, np.ones(2, np.int32))
    poses = companion(POSES, ScriptedDetector(lambda frame: found), first)
    faces = companion(FACES, ScriptedDetector(lambda frame: make_faces(HEAD)), first)
    assert look(people, faces).tied[0].owner.tolist() == [0]
    both = look(people, poses, faces)
    assert both.tied[0].owner.tolist() == [0, 1]
    assert both.tied[1].owner.tolist() == [1]
    assert [type(shape) for shape, _ in both.shapes_of(0)] == [Detections, PoseDetections]


def test_no_object_has_two_faces() -> None:
    with pytest.raises(ValueError, match="owner"):
        Tied(make_faces(HEAD, HEAD), np.array([0, 0], np.int32))


def road(companions: Sequence[Companion], sink: RecordingSink, watch: Stopwatch, **options: int) -> Exception | None:
    report = Road(
        ScriptedSource([make_frame(i) for i in range(12)]),
        ScriptedDetector(lambda frame: make_detections(BODY)),
        OneTrackTracker(),
        [sink],
        sampling=Sampling(),
        workers=options.get("workers", 1),
        batch=options.get("batch", 1),
        stop=threading.Event(),
        on_progress=lambda progress: None,
        watch=watch,
        companions=companions,
    ).run()
    return report.error


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 1), (2, 5)])
def test_the_road_gives_each_frame_its_own_faces_and_counts_their_time(workers: int, batch: int) -> None:
    def script(frame: Frame) -> Detections:
        return make_faces(*[HEAD] * (frame.sequence % 2), (40, 40, 44, 44))

    sink, watch = RecordingSink(), Stopwatch()
    faces = companion(FACES, ScriptedDetector(script), FIRST)
    assert road([faces], sink, watch, workers=workers, batch=batch) is None
    assert [len(findings.face_of(0)) for findings in sink.findings] == [0, 1] * 6
    assert all(len(findings.free_faces(np.array([0], np.int32))) == 1 for findings in sink.findings)
    assert {"detect", "face"} <= {stage.name for stage in watch.times()}


def test_a_companion_that_fails_is_named() -> None:
    def script(frame: Frame) -> Detections:
        raise ModelError("the provider failed")

    faces = companion(FACES, ScriptedDetector(script), FIRST)
    assert str(road([faces], RecordingSink(), Stopwatch())) == "faces: the provider failed"
