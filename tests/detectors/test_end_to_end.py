"""Networks that suppress by themselves, as YOLOv6's authors export them for ONNX Runtime."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.fakes import make_frame
from watchline.detectors.detections import Detections
from watchline.detectors.engine import OnnxEngine
from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.network import build
from watchline.detectors.network import DetectorOptions, NetworkDetector

SCORE, IOU, MOST = 0.55, 0.45, 100
NETWORK = Path(__file__).parents[1] / "parity" / "networks" / "yolov6m.pt.xz"


@pytest.fixture
def decoded(tmp_path: Path) -> Path:
    """A small YOLOv6 that leaves suppression to others."""
    checkpoint, path = tmp_path / "net.pt", tmp_path / "decoded.onnx"
    checkpoint.write_bytes(lzma.decompress(NETWORK.read_bytes()))
    with Checkpoint(checkpoint) as opened:
        made = build(opened, (64, 128))
    path.write_bytes(made.onnx(made.card))
    return path


@pytest.fixture
def finished(decoded: Path) -> Path:
    """The same with suppression at its end: what is found of one picture, best first, and rows of zeros."""
    model = onnx.load(decoded)
    graph = model.graph
    constants: dict[str, Any] = {
        "halves": np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
    }
    constants |= {"most": np.array([MOST]), "iou": np.array([IOU], np.float32), "least": np.array([SCORE], np.float32)}
    constants |= {name: np.array([n]) for name, n in (("zero", 0), ("one", 1), ("two", 2), ("three", 3), ("four", 4))}
    constants |= {"five": np.array([5]), "eight": np.array([8]), "row": np.zeros((1, 1, 4), np.float32)}
    constants |= {"no_score": np.zeros((1, 1), np.float32), "no_class": np.array([[-1]]), "single": np.array([1, 1])}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Slice", ["output0", "zero", "four", "two"], "cxcywh", {}),
        ("MatMul", ["cxcywh", "halves"], "boxes", {}),
        ("Slice", ["output0", "five", "eight", "two"], "sure", {}),
        ("ReduceMax", ["sure"], "surest", {"axes": [2]}),  # the authors let one box have several classes
        ("Equal", ["sure", "surest"], "is_best", {}),
        ("Cast", ["is_best"], "mask", {"to": TensorProto.FLOAT}),
        ("Mul", ["sure", "mask"], "one_class", {}),
        ("Transpose", ["one_class"], "scores", {"perm": [0, 2, 1]}),
        ("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], "kept", {}),
        ("Slice", ["kept", "one", "two", "one"], "kept_class", {}),
        ("Slice", ["kept", "two", "three", "one"], "kept_row", {}),
        ("Concat", ["kept_class", "kept_row"], "place", {"axis": 1}),
        ("Squeeze", ["scores", "zero"], "flat_scores", {}),
        ("GatherND", ["flat_scores", "place"], "kept_score", {}),
        ("Shape", ["kept_score"], "count", {}),
        ("TopK", ["kept_score", "count"], "best_score order", {}),
        ("Squeeze", ["boxes", "zero"], "flat_boxes", {}),
        ("GatherND", ["flat_boxes", "kept_row"], "kept_boxes", {}),
        ("Gather", ["kept_boxes", "order"], "best_boxes", {"axis": 0}),
        ("Gather", ["kept_class", "order"], "best_class", {"axis": 0}),
        ("Unsqueeze", ["best_boxes", "zero"], "some_boxes", {}),
        ("Unsqueeze", ["best_score", "zero"], "some_scores", {}),
        ("Transpose", ["best_class"], "some_classes", {}),
        ("Concat", ["some_boxes", "row"], "det_boxes", {"axis": 1}),
        ("Concat", ["some_scores", "no_score"], "det_scores", {"axis": 1}),
        ("Concat", ["some_classes", "no_class"], "det_classes", {"axis": 1}),
        ("Reshape", ["count", "single"], "num_dets", {}),
    ]
    for operation, inputs, outputs, attributes in steps:
        graph.node.append(helper.make_node(operation, inputs, outputs.split(), **attributes))
    del graph.output[:]
    kinds: dict[str, tuple[int, list[int | str]]] = {
        "num_dets": (TensorProto.INT64, [1, 1]),
        "det_boxes": (TensorProto.FLOAT, [1, "rows", 4]),
    }
    kinds |= {"det_scores": (TensorProto.FLOAT, [1, "rows"]), "det_classes": (TensorProto.INT64, [1, "rows"])}
    graph.output.extend(helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items())
    del model.metadata_props[:]
    helper.set_model_props(model, {"names": "['a', 'b', 'c']"})
    path = decoded.with_name("finished.onnx")
    onnx.save(model, path)
    return path


def detections(path: Path, family: str) -> list[Detections]:
    frames = [make_frame(i, height=48 + 16 * i, width=96) for i in range(3)]
    engine = OnnxEngine(path, "cpu", family)
    return NetworkDetector(engine, DetectorOptions(least_score=SCORE, iou=IOU, limit=MOST)).detect(frames)


def test_what_a_network_suppressed_is_what_we_would_have_kept(decoded: Path, finished: Path) -> None:
    ours, theirs = detections(decoded, ""), detections(finished, "yolov6")
    assert [len(found) for found in ours] == [len(found) for found in theirs]
    assert sum(len(found) for found in ours) > 5
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one.xyxy, other.xyxy, atol=1e-3)
        assert np.allclose(one.score, other.score, atol=1e-6)
        assert one.class_id.tolist() == other.class_id.tolist()
