"""Every family's network survives quantization: its last convolutions are found, its boxes and scores stay float."""

from __future__ import annotations

import importlib.util
import lzma
from pathlib import Path

import numpy as np
import onnx
import pytest

from watchline.detectors.boxes import F32
from watchline.detectors.engine import OnnxEngine
from watchline.detectors.importer.convert import import_checkpoint
from watchline.detectors.opening import open_engine
from watchline.detectors.quantize import Calibration, Recipe, Runtime
from watchline.detectors.quantize_graph import last_convolutions, tail

NETWORKS = Path(__file__).parent / "networks"
DEVICES: dict[Runtime, str] = {"onnxruntime": "cpu"}
if importlib.util.find_spec("openvino"):
    DEVICES["openvino"] = "openvino-f32"
LAST_CONVOLUTIONS = {  # a level: boxes and scores, and what the task adds
    "yolov8n": 3 * 2,
    "yolov8n-pose": 3 * 3,
    "yolov8n-seg": 3 * 3 + 1,
    "yolov7-tiny": 3,
    "yolov7-tiny-face": 3 * 2,
    "yolov6n": 3 * 2,
}


@pytest.mark.parametrize("name", LAST_CONVOLUTIONS)
def test_the_decoding_of_every_family_stays_float(name: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / f"{name}.pt"
    checkpoint.write_bytes(lzma.decompress((NETWORKS / f"{name}.pt.xz").read_bytes()))
    network = import_checkpoint(checkpoint, tmp_path)
    graph = onnx.load(network).graph
    assert len(last_convolutions(graph)) == LAST_CONVOLUTIONS[name]
    after = tail(graph)
    assert not [node.name for node in graph.node if node.op_type == "Conv" and node.name in after]

    engine = OnnxEngine(network, "cpu")
    random = np.random.default_rng(5)
    pictures: list[F32] = [random.uniform(0, 1, (1, 3, 128, 192)).astype(np.float32) for _ in range(2)]
    calibration = Calibration(network, lambda: pictures)
    for runtime, device in DEVICES.items():
        made = tmp_path / f"{runtime}.onnx"
        made.write_bytes(calibration.quantized(Recipe("minmax", 0, runtime), engine.card))
        for before, now in zip(engine.run(pictures[0]), open_engine(made, device).run(pictures[0]), strict=True):
            spread = before.max() - before.min()
            assert np.abs(now - before).mean() < 0.01 * spread
            assert now.std() > 0.9 * before.std()
