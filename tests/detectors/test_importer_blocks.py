"""Each block of an imported network computes what a plain NumPy version of it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.detectors import checkpoints
from tests.detectors.checkpoints import Made, Weights
from watchline.detectors.card import ModelCard
from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.network import build
from watchline.streams.errors import ModelError

F64: TypeAlias = NDArray[np.float64]


def emitted(path: Path, network: Made, size: tuple[int, int] | None = None) -> onnxruntime.InferenceSession:
    path.write_bytes(checkpoints.checkpoint({"model": network}))
    with Checkpoint(path) as checkpoint:
        made = build(checkpoint, size)
    model = made.onnx(made.card)
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def answer(session: onnxruntime.InferenceSession, images: NDArray[np.float32]) -> NDArray[np.float32]:
    (result,) = session.run(None, {"images": images})
    return np.asarray(result)


def windows(x: F64, kernel: int, stride: int, padding: int, fill: float) -> F64:
    """Returns (channels, height, width, kernel, kernel)."""
    wide = np.pad(x, ((0, 0), (padding, padding), (padding, padding)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(wide, (kernel, kernel), (1, 2))[:, ::stride, ::stride]


def sigmoid(x: F64) -> F64:
    return 1 / (1 + np.exp(-x))


def plain(module: Made, x: F64) -> F64:
    """Returns what `module` makes of one map (channels, height, width), in float64 and step by step."""
    kind = module.name.rpartition(".")[2]
    if kind == "Conv2d":
        weight, groups = module.tensor("weight"), module.part("groups")
        rows = windows(x, weight.shape[2], module.part("stride")[0], module.part("padding")[0], 0)
        pieces = zip(np.split(rows, groups), np.split(weight, groups), strict=True)
        y: F64 = np.concatenate([np.einsum("chwij,ocij->ohw", piece, w, optimize=True) for piece, w in pieces])
        bias = module.part("_parameters")["bias"]
        return y if bias is None else np.add(y, module.tensor("bias")[:, None, None])
    if kind == "BatchNorm2d":
        names = ("weight", "bias", "running_mean", "running_var")
        scale, shift, mean, var = (module.tensor(name)[:, None, None] for name in names)
        normal: F64 = (x - mean) / np.sqrt(var + module.part("eps")) * scale + shift
        return normal
    if kind == "SiLU":
        return x * sigmoid(x)
    if kind == "MaxPool2d":
        pooled: F64 = windows(x, 5, 1, 2, -np.inf).max((3, 4))
        return pooled
    if kind == "Upsample":
        return x.repeat(2, 1).repeat(2, 2)
    if kind == "Conv":
        return plain(module.part("act"), plain(module.part("bn"), plain(module.part("conv"), x)))
    return plain_composite(kind, module, x)


def plain_composite(kind: str, module: Made, x: F64) -> F64:
    if kind == "Sequential":
        for child in module.part("_modules").values():
            x = plain(child, x)
        return x
    if kind == "Bottleneck":
        y = plain(module.part("cv2"), plain(module.part("cv1"), x))
        return x + y if module.part("add") else y
    if kind == "C2f":
        maps = list(np.split(plain(module.part("cv1"), x), 2))
        for child in module.part("m").part("_modules").values():
            maps.append(plain(child, maps[-1]))
        return plain(module.part("cv2"), np.concatenate(maps))
    if kind == "C3":
        chain = plain(module.part("m"), plain(module.part("cv1"), x))
        return plain(module.part("cv3"), np.concatenate([chain, plain(module.part("cv2"), x)]))
    if kind == "SPPF":
        maps = [plain(module.part("cv1"), x)]
        for _ in range(3):
            maps.append(plain(module.part("m"), maps[-1]))
        return plain(module.part("cv2"), np.concatenate(maps))
    assert kind == "Identity", kind
    return x


def plain_detect(head: Made, maps: list[F64], strides: list[int]) -> F64:
    """Returns (4 + classes, anchors), one anchor at a time."""
    columns = []
    for level, (x, stride) in enumerate(zip(maps, strides, strict=True)):
        sides = plain(head.part("cv2").part(str(level)), x)
        scores = sigmoid(plain(head.part("cv3").part(str(level)), x))
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                bars = np.exp(sides[:, row, column].reshape(4, 16))
                left, top, right, bottom = (bars / bars.sum(1, keepdims=True)) @ np.arange(16)
                middle = [column + 0.5 + (right - left) / 2, row + 0.5 + (bottom - top) / 2]
                box = [value * stride for value in (*middle, left + right, top + bottom)]
                columns.append([*box, *scores[:, row, column]])
    return np.array(columns).T


def plain_network(network: Made, image: F64, strides: list[int]) -> F64:
    outputs: list[F64] = []
    layers: list[Any] = list(network.part("model").part("_modules").values())
    for layer in layers[:-1]:
        source = layer.part("f")
        inputs = [outputs[n] if outputs else image for n in (source if isinstance(source, list) else [source])]
        joined = layer.name.endswith("Concat")
        outputs.append(np.concatenate(inputs) if joined else plain(layer, inputs[0]))
    return plain_detect(layers[-1], [outputs[n] for n in layers[-1].part("f")], strides)


def pictures(count: int, height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).random((count, 3, height, width), np.float32)


W = Weights(3)
BLOCKS = {
    "conv with stride": [W.conv(3, 8, 3, 2)],
    "conv without activation": [W.conv(3, 8, 3, act="Identity")],
    "grouped conv": [W.conv(3, 9, 3, groups=3)],
    "conv of kernel 5": [W.conv(3, 8, 5, 2)],
    "bare conv with bias": [W.conv2d(3, 8, 3, bias=True)],
    "bottleneck with shortcut": [W.conv(3, 8), W.bottleneck(8, add=True)],
    "bottleneck without shortcut": [W.conv(3, 8), W.bottleneck(8, add=False)],
    "c2f": [W.c2f(3, 8, 1, add=False)],
    "c2f of three with shortcuts": [W.c2f(3, 8, 3, add=True)],
    "c3": [W.c3(3, 8)],
    "sppf": [W.conv(3, 8, 3, 2), W.sppf(8, 8)],
    "upsample": [W.conv(3, 8, 3, 2), checkpoints.upsample()],
    "concat": [W.conv(3, 4), W.conv(4, 4), checkpoints.concat(0, -1)],
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_computes_what_its_numpy_version_computes(name: str, tmp_path: Path) -> None:
    layers = BLOCKS[name]
    stride = 1 if layers[-1].name.endswith("Upsample") else 2 ** sum(n in name for n in ("stride", "sppf", "kernel 5"))
    outputs = {"grouped conv": 9}.get(name, 8)
    head = W.detect((outputs,), (stride,), 2, (len(layers) - 1,))
    network = checkpoints.network([*layers, head], ("a", "b"))
    image = pictures(1, 8, 12)
    expected = plain_network(network, image[0].astype(np.float64), [stride])
    found = answer(emitted(tmp_path / "net.pt", network), image)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_whole_network_computes_what_its_numpy_version_computes(dtype: str, tmp_path: Path) -> None:
    network = checkpoints.small_network(dtype=dtype)
    images = pictures(2, 24, 40)
    found = answer(emitted(tmp_path / "net.pt", network), images)
    for image, result in zip(images, found, strict=True):
        expected = plain_network(network, image.astype(np.float64), [4, 8])
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=5e-5)


def test_a_fixed_size_gives_the_same_numbers_as_any_size(tmp_path: Path) -> None:
    network, images = checkpoints.small_network(), pictures(1, 16, 32)
    fixed = emitted(tmp_path / "fixed.pt", network, (16, 32))
    assert fixed.get_inputs()[0].shape == ["batch", 3, 16, 32]
    np.testing.assert_array_equal(answer(fixed, images), answer(emitted(tmp_path / "any.pt", network), images))


def test_a_fixed_size_that_the_strides_do_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net\.pt: size 16x20 is not a multiple of 8"):
        emitted(tmp_path / "net.pt", checkpoints.small_network(), (16, 20))


def test_a_batch_gives_what_its_pictures_give_alone(tmp_path: Path) -> None:
    session, images = emitted(tmp_path / "net.pt", checkpoints.small_network()), pictures(3, 16, 16)
    together = answer(session, images)
    for image, result in zip(images, together, strict=True):
        np.testing.assert_allclose(answer(session, image[None])[0], result, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_may_have_other_channels(channels: int, tmp_path: Path) -> None:
    layers = [W.conv(channels, 8, 3, 2), W.detect((8,), (2,), 2, (0,))]
    network = checkpoints.network(layers, ("a", "b"))
    image = np.random.default_rng(7).random((1, channels, 8, 12), np.float32)
    found = answer(emitted(tmp_path / "net.pt", network), image)[0]
    expected = plain_network(network, image[0].astype(np.float64), [2])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


def test_pictures_of_many_channels_are_refused(tmp_path: Path) -> None:
    network = checkpoints.network([W.conv(7, 8, 3, 2), W.detect((8,), (2,), 2, (0,))], ("a", "b"))
    with pytest.raises(ModelError, match=r"Conv2d at model\.0\.conv .*pictures of 7 channels"):
        emitted(tmp_path / "net.pt", network)


def test_the_averaged_weights_are_used_where_there_are_any(tmp_path: Path) -> None:
    trained, averaged = checkpoints.small_network(1), checkpoints.small_network(2)
    path = tmp_path / "net.pt"
    path.write_bytes(checkpoints.checkpoint({"model": trained, "ema": averaged}))
    with Checkpoint(path) as checkpoint:
        made = build(checkpoint, None)
    model = made.onnx(made.card)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    images = pictures(1, 16, 16)
    np.testing.assert_array_equal(answer(session, images), answer(emitted(path, averaged), images))


def test_the_names_of_early_releases_mean_the_same(tmp_path: Path) -> None:
    def renamed(value: Any) -> Any:
        if isinstance(value, Made):
            head, _, last = value.name.rpartition(".")
            old = head.startswith("ultralytics.nn.modules.")
            return Made("ultralytics.nn.modules." + last if old else value.name, value.args, renamed(value.state))
        return {key: renamed(item) for key, item in value.items()} if isinstance(value, dict) else value

    network, images = checkpoints.small_network(), pictures(1, 16, 16)
    old = answer(emitted(tmp_path / "old.pt", renamed(network)), images)
    np.testing.assert_array_equal(old, answer(emitted(tmp_path / "new.pt", network), images))


def test_the_card_says_what_the_network_is(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    licence = "AGPL-3.0 License (https://ultralytics.com/license)"
    path.write_bytes(checkpoints.checkpoint({"model": checkpoints.small_network(), "license": licence}))
    with Checkpoint(path) as checkpoint:
        card = build(checkpoint, None).card
    assert card == ModelCard("yolov8", "detect", ("person", "dog", "car"), (4, 8), licence="AGPL-3.0-only")


def changed(made: Made, change: dict[str, object], *path: str) -> Made:
    """Returns a copy of `made` with attributes changed in the module at `path`."""
    state = dict(made.state or {})
    if not path:
        return Made(str(change.get("class", made.name)), (), state | {k: v for k, v in change.items() if k != "class"})
    modules: Any = state["_modules"]
    return Made(made.name, (), state | {"_modules": {**modules, path[0]: changed(modules[path[0]], change, *path[1:])}})


REFUSALS = [
    (
        "unknown class",
        ("model", "2"),
        {"class": "fork.block.C2f"},
        r"module fork\.block\.C2f at model\.2 .*supported: ",
    ),
    (
        "other head",
        ("model", "8"),
        {"class": "ultralytics.nn.modules.head.Pose"},
        r"ultralytics.*head\.Pose at model\.8",
    ),
    (
        "other task",
        (),
        {"class": "ultralytics.nn.tasks.SegmentationModel"},
        r"SegmentationModel at network is not supported: it does not end in Segment",
    ),
    (
        "unknown activation",
        ("model", "0", "act"),
        {"class": "torch.nn.modules.activation.GELU"},
        r"GELU at model\.0\.act",
    ),
    ("unknown attribute", ("model", "0"), {"gate": 0.5}, r"conv\.Conv at model\.0 .*unknown part 'gate'"),
    ("a method put on a module", ("model", "0"), {"forward": "f"}, r"unknown part 'forward'"),
    ("a hook", ("model", "0"), {"_forward_hooks": {0: "f"}}, r"model\.0 .*hook"),
    ("end-to-end head", ("model", "8"), {"end2end": True}, r"head\.Detect at model\.8 .*only end2end=False"),
    ("other layout of boxes", ("model", "8"), {"xyxy": True}, r"only xyxy=False"),
    ("head without bins", ("model", "8"), {"reg_max": 1}, r"model\.8 .*1 bins"),
    (
        "strides that do not fit",
        ("model", "8"),
        {"stride": np.array([8, 16], np.float32)},
        r"its strides are \[8\.0, 16\.0\]",
    ),
    ("dilation", ("model", "0", "conv"), {"dilation": (2, 2)}, r"Conv2d at model\.0\.conv|changes the size"),
    ("uneven kernel", ("model", "0", "conv"), {"kernel_size": (3, 1)}, r"kernel_size"),
    ("mirrored borders", ("model", "0", "conv"), {"padding_mode": "reflect"}, r"padding_mode=zeros"),
    ("groups", ("model", "0", "conv"), {"groups": 3}, r"model\.0\.conv"),
    ("channels", ("model", "0", "conv"), {"in_channels": 4}, r"model\.0\.conv .*weight has shape"),
    ("later channels", ("model", "1", "conv"), {"in_channels": 4}, r"model\.1\.conv .*4 channels in 1 groups, given 8"),
    ("smooth enlargement", ("model", "5"), {"mode": "bilinear"}, r"mode=nearest"),
    ("half a size", ("model", "5"), {"scale_factor": 1.5}, r"scale_factor"),
    ("pool that shrinks", ("model", "4", "m"), {"stride": 2}, r"MaxPool2d at model\.4\.m|strides"),
    ("a shortcut in the pool", ("model", "4"), {"add": True}, r"add=False"),
    ("another axis", ("model", "6"), {"d": 2}, r"d=1"),
    ("maps of two sizes", ("model", "6"), {"f": [-1, 3]}, r"strides \[4, 8\]"),
    ("a later layer", ("model", "6"), {"f": [-1, 7]}, r"not before it"),
    ("a wrong number", ("model", "6"), {"i": 5}, r"model\.6"),
    ("no names", (), {"names": {0: "person"}}, r"3 classes"),
    ("names that are not text", (), {"names": {0: "a", 1: "b", 2: 3}}, r"class name"),
    ("variance below zero", ("model", "0", "bn"), {"eps": -9.0}, r"variance"),
    ("no norm", ("model", "0"), {"_modules": {}}, r"model\.0\.conv is not a module"),
]


@pytest.mark.parametrize(("path", "change", "reason"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_what_would_change_the_network_is_refused_by_name(
    path: tuple[str, ...], change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    network = changed(checkpoints.small_network(), change, *path)
    with pytest.raises(ModelError, match=reason) as refusal:
        emitted(tmp_path / "net.pt", network)
    assert str(refusal.value).startswith("net.pt: ")
    assert "\n" not in str(refusal.value)


def test_a_network_that_contains_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, object] = {}
    for _ in range(40):
        loop = {"0": checkpoints.module("torch.nn.modules.container.Sequential", loop)}
    network = changed(checkpoints.small_network(), {"_modules": loop}, "model")
    with pytest.raises(ModelError, match="too deep"):
        emitted(tmp_path / "net.pt", network)
