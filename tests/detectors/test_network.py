from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import ScriptedEngine, make_frame
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.detections import FaceDetections, MaskDetections, PoseDetections
from watchline.detectors.engine import EngineInfo
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.streams.errors import ModelError, UsageError


def engine_with(*rows: tuple[float, ...], fixed_size: tuple[int, int] | None = None) -> ScriptedEngine:
    """Anchors given as cx, cy, w, h, person score, car score."""
    output = np.array(rows, np.float32).reshape(len(rows), 6).T
    return ScriptedEngine(lambda item: output, fixed_size)


def test_boxes_come_back_in_frame_pixels_with_their_best_class() -> None:
    engine = engine_with((32, 16, 16, 8, 0.9, 0.1), (10, 10, 4, 4, 0.3, 0.6))
    (found,) = NetworkDetector(engine, DetectorOptions(size=64)).detect([make_frame(height=64, width=128)])
    assert engine.batches == [(1, 3, 32, 64)]
    assert found.xyxy.tolist() == [[48.0, 24.0, 80.0, 40.0], [16.0, 16.0, 24.0, 24.0]]
    assert found.class_id.tolist() == [0, 1]
    assert found.score.tolist() == pytest.approx([0.9, 0.6])


def test_a_score_equal_to_the_least_is_kept() -> None:
    engine = engine_with((32, 16, 16, 8, 0.25, 0), (10, 10, 4, 4, 0.249, 0))
    (found,) = NetworkDetector(engine, DetectorOptions(size=64)).detect([make_frame(height=32, width=64)])
    assert found.score.tolist() == [0.25]


def test_only_the_classes_asked_for_are_reported() -> None:
    # The first is more car than person: asking for people must not turn it into one.
    engine = engine_with((32, 16, 16, 8, 0.5, 0.6), (10, 10, 4, 4, 0.9, 0.1))
    detector = NetworkDetector(engine, DetectorOptions(size=64, classes=("person",)))
    (found,) = detector.detect([make_frame(height=32, width=64)])
    assert found.class_id.tolist() == [0]
    assert found.score.tolist() == pytest.approx([0.9])


def test_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="class 'persn': the model does not know it; did you mean 'person'"):
        NetworkDetector(engine_with(), DetectorOptions(classes=("persn",)))


def test_an_empty_scene_gives_no_detections() -> None:
    (found,) = NetworkDetector(engine_with(), DetectorOptions(size=64)).detect([make_frame()])
    assert len(found) == 0


def test_no_frames_give_no_answers() -> None:
    engine = engine_with()
    assert NetworkDetector(engine, DetectorOptions()).detect([]) == []
    assert engine.batches == []


def test_what_lies_in_the_padding_alone_is_left_out() -> None:
    engine = engine_with((32, 2, 16, 4, 0.9, 0))
    (found,) = NetworkDetector(engine, DetectorOptions(size=64)).detect([make_frame(height=20, width=64)])
    assert len(found) == 0


def test_frames_of_one_input_size_share_a_batch() -> None:
    engine = engine_with((32, 16, 16, 8, 0.9, 0.1))
    sizes = [(64, 128), (90, 90), (32, 64)]
    found = NetworkDetector(engine, DetectorOptions(size=64)).detect([make_frame(i, *s) for i, s in enumerate(sizes)])
    assert engine.batches == [(2, 3, 32, 64), (1, 3, 64, 64)]
    assert [len(f) for f in found] == [1, 1, 1]


def test_a_fixed_network_is_fed_its_own_size() -> None:
    engine = engine_with((32, 32, 16, 8, 0.9, 0.1), fixed_size=(64, 64))
    NetworkDetector(engine, DetectorOptions()).detect([make_frame(height=32, width=64)])
    assert engine.batches == [(1, 3, 64, 64)]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (np.zeros((5, 1), np.float32), "a 2-class head has"),
        (np.full((6, 1), 300, np.float32), "scores exceed 1"),
        (np.float32([[np.nan], [0], [1], [1], [0.9], [0]]), "not finite"),  # type: ignore[arg-type]
    ],
)
def test_an_output_of_another_kind_is_refused(output: F32, says: str) -> None:
    detector = NetworkDetector(ScriptedEngine(lambda item: output), DetectorOptions())
    with pytest.raises(ModelError, match=says):
        detector.detect([make_frame()])


def test_a_family_without_a_head_is_refused() -> None:
    engine = engine_with()
    engine.card = ModelCard("yolov9", "segment", ("a",), (8,))
    with pytest.raises(ModelError, match=r"no head for a yolov9 segment model \(decoded\); this version has yolov8"):
        NetworkDetector(engine, DetectorOptions())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"least_score": 1.5}, "least_score 1.5"),
        ({"iou": -0.1}, "iou -0.1"),
        ({"size": 630}, "multiple of 32"),
        ({"size": 9600}, "32 to 4096"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        DetectorOptions(**options)  # type: ignore[arg-type]


def network_with(card: ModelCard, *outputs: F32, size: tuple[int, int] = (64, 64)) -> NetworkDetector:
    return NetworkDetector(ScriptedOutputs(card, outputs, size), DetectorOptions(size=64, iou=0.5))


class ScriptedOutputs:
    """A network that answers every picture with the same outputs."""

    info = EngineInfo("scripted", "cpu", "none")

    def __init__(self, card: ModelCard, outputs: tuple[F32, ...], fixed_size: tuple[int, int]) -> None:
        self.card = card
        self.fixed_size = fixed_size
        self._outputs = outputs

    def run(self, batch: F32) -> tuple[F32, ...]:
        return tuple(np.stack([output] * len(batch)) for output in self._outputs)


def test_keypoints_come_back_in_frame_pixels_and_may_lie_outside() -> None:
    card = ModelCard("yolov8", "pose", ("person",), (8, 16, 32), keypoints=(2, 3))
    output = np.array([[32, 32, 16, 16, 0.9, 32, 40, 0.75, -2, 10, 0.25]], np.float32).T
    (found,) = network_with(card, output).detect([make_frame(height=64, width=128)])
    assert isinstance(found, PoseDetections)
    assert found.xyxy.tolist() == [[48, 16, 80, 48]]  # twice as large, and 16 rows of padding above
    assert found.keypoints.tolist() == [[[64, 48, 0.75], [-4, -12, 0.25]]]


def test_keypoints_stay_with_their_box_when_others_go() -> None:
    card = ModelCard("yolov8", "pose", ("person",), (8, 16, 32), keypoints=(1, 3))
    rows = [(20, 20, 10, 10, 0.5, 1, 1, 1), (20, 20, 10, 10, 0.9, 2, 2, 1), (50, 50, 9, 9, 0.7, 3, 3, 1)]
    (found,) = network_with(card, np.array(rows, np.float32).T).detect([make_frame(height=64, width=64)])
    assert isinstance(found, PoseDetections)
    assert found.keypoints[:, 0, 0].tolist() == [2, 3]


def test_a_face_has_landmarks_and_no_keypoint_scores() -> None:
    card = ModelCard("yolov8", "face", ("face",), (8, 16, 32), keypoints=(5, 3))
    row = [32, 32, 16, 16, 0.9, *(n for point in range(5) for n in (point, point + 20, 0.5))]
    (found,) = network_with(card, np.array([row], np.float32).T).detect([make_frame(height=64, width=128)])
    assert isinstance(found, FaceDetections)
    assert found.landmarks[0].tolist() == [[2 * n, 2 * (n + 20 - 16)] for n in range(5)]


def test_a_mask_covers_its_box_after_that_was_cut_at_the_frame() -> None:
    card = ModelCard("yolov8", "segment", ("person",), (8, 16, 32))
    prototypes = np.full((1, 16, 16), -1, np.float32)
    prototypes[:, :, 8:] = 1  # the right half of the input is in
    output = np.array([[32, 32, 80, 16, 0.9, 20]], np.float32).T  # wider than the input
    (found,) = network_with(card, output, prototypes).detect([make_frame(height=64, width=64)])
    assert isinstance(found, MaskDetections)
    assert found.xyxy.tolist() == [[0, 24, 64, 40]]
    assert (found.masks[0, :, :29] < 128).all()
    assert (found.masks[0, :, 35:] >= 128).all()


def test_what_a_network_finished_itself_is_not_suppressed_again() -> None:
    card = ModelCard("yolov8", "detect", ("person",), (8, 16, 32), layout="finished")
    rows = [(10, 10, 20, 20, 0.5, 0), (10, 10, 20, 20, 0.9, 0)]
    (found,) = network_with(card, np.array(rows, np.float32)).detect([make_frame(height=64, width=64)])
    assert found.score.tolist() == pytest.approx([0.9, 0.5])


def test_a_class_that_the_model_does_not_have_is_refused() -> None:
    card = ModelCard("yolov8", "detect", ("person",), (8, 16, 32), layout="finished")
    with pytest.raises(ModelError, match="names class 7, and has 1"):
        network_with(card, np.array([(10, 10, 20, 20, 0.5, 7)], np.float32)).detect([make_frame()])


def test_a_picture_in_the_corner_needs_no_margin_taken_off() -> None:
    card = ModelCard("yolov8", "detect", ("person",), (8, 16, 32), placement="corner")
    output = np.array([[32, 16, 16, 16, 0.9]], np.float32).T
    (found,) = network_with(card, output).detect([make_frame(height=64, width=128)])
    assert found.xyxy.tolist() == [[48, 16, 80, 48]]


@pytest.mark.parametrize("point", [(np.nan, 0, 0.5), (0, 0, 1.5), (0, np.inf, 0), (0, 0, -0.5)])
def test_points_that_make_no_sense_are_refused(point: tuple[float, float, float]) -> None:
    card = ModelCard("yolov8", "pose", ("person",), (8, 16, 32), keypoints=(1, 3))
    output = np.array([[32, 32, 16, 16, 0.9, *point]], np.float32).T
    with pytest.raises(ModelError, match="its outputs mean something else"):
        network_with(card, output).detect([make_frame()])


def test_a_network_without_a_batch_dimension_sees_one_picture_at_a_time() -> None:
    card = ModelCard("yolov7", "detect", ("a", "b"), (8, 16, 32), layout="finished", batched=False)
    rows = np.array([(0, 10, 10, 20, 20, 1, 0.5), (0, 30, 30, 40, 40, 0, 0.9)], np.float32)
    found = network_with(card, rows).detect([make_frame(i, height=64, width=64) for i in range(3)])
    assert [f.class_id.tolist() for f in found] == [[0, 1]] * 3
