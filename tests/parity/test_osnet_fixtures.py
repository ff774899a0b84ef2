"""Small OSNets that their authors' code built, saved and ran, imported: the same features, without torch.

embedders/NAME.pth.xz is the checkpoint, embedders/NAME.npz what went in and came out; `upstream_osnet.py --small` makes
both. All weights are random. The real weights are those of an ONNX file of the test data, which another program made.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.detectors import checkpoints
from watchline.detectors.importer.convert import describe, import_checkpoint

Numbers: TypeAlias = NDArray[np.floating[Any]]

EMBEDDERS = Path(__file__).with_name("embedders")


def features_of(model: Path, pictures: Numbers) -> Numbers:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: pictures.astype(np.float32)})[0])


def assert_same(found: Numbers, expected: Numbers) -> None:
    """Checks features (people, width) to 1e-4, and that they tell the people apart at all."""
    assert np.abs(found - expected).max() < 1e-4
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() > 1 - 1e-6
    assert 0.1 < (expected > 0).mean() < 0.9
    assert np.abs(np.diff(expected, axis=0)).max() > 0.1


def assert_same_as_upstream(checkpoint: Path, numbers: Path, cache: Path) -> None:
    """Checks an imported checkpoint against what its authors' code answered for pictures of its size."""
    expected = np.load(numbers)
    pictures = expected["pictures"].astype(np.float32) / 255
    model = import_checkpoint(checkpoint, cache, pictures.shape[2:])
    assert_same(features_of(model, pictures), expected["features"])


@pytest.mark.parametrize("name", sorted(path.stem for path in EMBEDDERS.glob("*.npz")))
def test_an_osnet_gives_the_features_that_its_authors_code_gave(name: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / f"{name}.pth"
    checkpoint.write_bytes(lzma.decompress((EMBEDDERS / f"{name}.pth.xz").read_bytes()))
    assert_same_as_upstream(checkpoint, EMBEDDERS / f"{name}.npz", tmp_path / "cache")


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[np.float64]]:
    """Returns the weights by the names that their own program gives them.

    The exporter kept most names. Where it folded a normalisation into a convolution, one that changes nothing stands
    for it, but for the offset.
    """
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor).astype(np.float64) for tensor in model.graph.initializer}
    weights = {name: array for name, array in arrays.items() if not name.startswith(("onnx::", "/"))}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1].startswith("onnx::"):
            parts = node.name.split("/")[1:-1]
            # A part of a list repeats the list's name: conv2, conv2.0.
            path = [a for a, b in zip(parts, [*parts[1:], ""], strict=True) if not b.startswith(a + ".")]
            norm, count = ".".join([*path[:-1], "bn"]), len(arrays[node.input[2]])
            weights[".".join(path) + ".weight"] = arrays[node.input[1]]
            weights |= {f"{norm}.weight": np.ones(count), f"{norm}.bias": arrays[node.input[2]]}
            weights |= {f"{norm}.running_mean": np.zeros(count), f"{norm}.running_var": np.full(count, 1 - 1e-5)}
    return weights


@pytest.mark.data
def test_real_weights_give_the_features_of_another_programs_onnx(data_dir: Path, tmp_path: Path) -> None:
    theirs, checkpoint = data_dir / "models" / "osnet_x0_25_msmt17.onnx", tmp_path / "osnet.pth"
    checkpoint.write_bytes(checkpoints.checkpoint(weights_of(onnx.load(theirs))))
    assert describe(checkpoint).parameters == 201_864
    pixels = np.random.default_rng(3).integers(0, 256, (4, 3, 32, 16), np.uint8).repeat(8, 2).repeat(8, 3)
    pictures = pixels.astype(np.float32) / 255
    mean, deviation = (np.array(n, np.float32).reshape(3, 1, 1) for n in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    found = features_of(import_checkpoint(checkpoint, tmp_path / "cache"), pictures)
    assert_same(found, features_of(theirs, (pictures - mean) / deviation))
