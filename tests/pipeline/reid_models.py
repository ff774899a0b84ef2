"""A network that describes pictures by their colours, and drawn people to describe."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from watchline.detectors.card import ModelCard
from watchline.streams.frame import U8

CARD = ModelCard("osnet", "embed", (), (1,), placement="stretch", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
DIMENSION = 24
COLOURS = {"red": (200, 30, 30), "green": (30, 170, 40), "blue": (40, 50, 210), "sand": (190, 170, 120)}


def write_tiny_embedder(path: Path, card: ModelCard = CARD, columns: int = 2) -> Path:
    """Writes a network that gives the mean colours of 4 x `columns` parts of a picture, 12 x `columns` numbers."""
    import onnx
    from onnx import TensorProto, helper

    width = 8 * columns
    nodes = [
        helper.make_node("AveragePool", ["images"], ["parts"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["parts"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, width])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", 12 * columns])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, card.to_metadata())
    onnx.save(model, path)
    return path


def person(shirt: str, trousers: str = "blue", seed: int = 0, height: int = 96) -> U8:
    """A drawn person (H, H / 2, 3) RGB: a shirt above trousers, with a little noise of its own."""
    rgb = np.empty((height, height // 2, 3), np.uint8)
    rgb[: height // 2], rgb[height // 2 :] = COLOURS[shirt], COLOURS[trousers]
    noise = np.random.default_rng(seed).integers(-12, 13, rgb.shape)
    noisy: U8 = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    return noisy


def save(path: Path, rgb: U8) -> Path:
    """Writes a picture, as its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1])
    return path
