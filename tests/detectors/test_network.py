from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import ScriptedEngine, make_frame
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
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
    with pytest.raises(ModelError, match="no head for a yolov9 segment model; this version has yolov8 detect"):
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
