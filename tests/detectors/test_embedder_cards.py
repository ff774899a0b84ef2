"""Networks that compare pictures: how a family is fed, and by which names one is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.embedder_cards import EMBEDDERS, IMAGENET_MEAN, IMAGENET_STD, family_of_onnx, family_of_outputs
from watchline.detectors.family_cards import Facts
from watchline.detectors.importer.adopt import adopt
from watchline.detectors.layout import decide
from watchline.detectors.manifest import Manifest, card_of
from watchline.detectors.opening import open_engine
from watchline.streams.errors import ModelError, UsageError

SIZES = {"osnet": (256, 128), "omz-reid": (256, 128), "mobilefacenet": (112, 112), "sface": (112, 112)}
OSNET_NAMES = ("conv2.0.gate.fc1.weight", "conv2.0.conv2a.conv1.weight")


def no_probe() -> dict[str, F32]:
    raise AssertionError("it need not be run")


def facts(shape: tuple[int, ...] = (1, 512), size: tuple[int, int] = (256, 128)) -> Facts:
    return Facts({}, {"features": shape}, size, no_probe)


def write(
    path: Path,
    *,
    before: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    ends: tuple[str, str] = ("images", "features"),
    size: tuple[int, int] = (256, 128),
) -> Path:
    """Writes a network of one convolution, to which lead the operations `before`; its constants bear `names` too."""
    weight = np.random.default_rng(1).normal(size=(16, 3, 8, 8)).astype(np.float32)
    arrays = {"weight": weight, "number": np.array(2, np.float32), **dict.fromkeys(names, np.zeros(1, np.float32))}
    value, nodes = ends[0], []
    for i, operation in enumerate(before):
        nodes.append(helper.make_node(operation, [value, "number"], [f"scaled{i}"]))
        value = f"scaled{i}"
    nodes += [
        helper.make_node("Conv", [value, "weight"], ["map"], strides=[8, 8], kernel_shape=[8, 8], name="/conv/Conv"),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Flatten", ["mean"], [ends[1]]),
    ]
    graph = helper.make_graph(
        nodes,
        "describes",
        [helper.make_tensor_value_info(ends[0], TensorProto.FLOAT, ["batch", 3, *size])],
        [helper.make_tensor_value_info(ends[1], TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("family", EMBEDDERS)
def test_each_family_says_how_it_is_fed(family: str) -> None:
    card = decide(facts(size=SIZES[family]), family)
    card.check()
    assert (card.family, card.task, card.labels, card.placement) == (family, "embed", (), "stretch")
    assert card.colour == ("bgr" if family == "omz-reid" else "rgb")
    normal = family in ("osnet", "mobilefacenet")
    assert card.scale == (255.0 if normal else 1.0)
    assert (card.mean, card.std) == ((IMAGENET_MEAN, IMAGENET_STD) if normal else ((), ()))
    assert card.keypoints == ((5, 2) if SIZES[family] == (112, 112) else (0, 0))
    assert ModelCard.from_metadata(card.to_metadata()) == card


@pytest.mark.parametrize("family", EMBEDDERS)
@pytest.mark.parametrize("shape", [(1, 4), (1, 100_000), (1, 512, 1, 1), (512,)])
def test_an_output_that_is_no_vector_is_refused(family: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=f"a {family} model's output would be one vector a picture; this one's are"):
        decide(facts(shape, SIZES[family]), family)


def test_two_outputs_are_refused() -> None:
    both = Facts({}, {"classes": (1, 1041), "features": (1, 512)}, (256, 128), no_probe)
    with pytest.raises(ModelError, match=r"one vector a picture; this one's are classes \(1, 1041\), features"):
        decide(both, "osnet")


def test_an_input_of_another_form_is_refused() -> None:
    with pytest.raises(ModelError, match="a sface model sees faces of 112x112; this one's input is 256x128"):
        decide(facts((1, 128)), "sface")
    with pytest.raises(ModelError, match=r"higher than wide; this one's input is 256x320, or open; export it"):
        decide(facts(size=(256, 320)), "osnet")


def test_a_manifest_may_feed_it_otherwise() -> None:
    said = Manifest("mobilefacenet", scale=1.0, mean=(127.5,) * 3, std=(128.0,) * 3, colour="bgr")
    card = card_of(facts((1, 128), (112, 112)), said)
    assert (card.colour, card.scale, card.mean, card.std) == ("bgr", 1.0, (127.5,) * 3, (128.0,) * 3)
    assert Manifest.parse(said.to_toml()) == said


@pytest.mark.parametrize(
    "text",
    ["mean = [1, 2]", "mean = 0.5", "std = [1, 0, 1]", "std = [1, -1, 1]", 'mean = ["a", 1, 2]', "std = [1e9, 1, 1]"],
)
def test_a_mean_or_deviation_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=f"^{text[:4].strip()} = .*: want three numbers"):
        Manifest.parse(text)


def test_mean_and_deviation_go_together() -> None:
    with pytest.raises(UsageError, match="mean and std go together"):
        card_of(facts(), Manifest("osnet", mean=(0.5,) * 3))


@pytest.mark.parametrize("task", ["detect", "embed"])
def test_a_card_with_half_a_normalisation_or_of_a_detector_is_damaged(task: str) -> None:
    labels = () if task == "embed" else ("person",)
    card = ModelCard("any", task, labels, (1,), mean=(0.5,) * 3, std=(0.5,) * 3 if task == "detect" else ())
    with pytest.raises(ModelError, match=r"model metadata is damaged: .*want three of each, of an embed model"):
        ModelCard.from_metadata(card.to_metadata())


def test_a_card_of_before_has_no_mean_and_deviation() -> None:
    old = ModelCard("osnet", "embed", (), (16,)).to_metadata()
    del old["watchline.mean"], old["watchline.std"]
    assert ModelCard.from_metadata(old) == ModelCard("osnet", "embed", (), (16,))


def test_an_osnet_is_known_by_its_weights_names(tmp_path: Path) -> None:
    assert family_of_onnx(write(tmp_path / "a.onnx", names=OSNET_NAMES)) == "osnet"
    assert family_of_onnx(write(tmp_path / "b.onnx", names=OSNET_NAMES[:1])) == ""


def test_what_scales_its_pictures_by_itself_is_not_fed_by_its_name(tmp_path: Path) -> None:
    assert family_of_onnx(write(tmp_path / "a.onnx", before=("Sub", "Div"), names=OSNET_NAMES)) == ""


def test_an_sface_is_known_by_its_ends_and_its_first_steps(tmp_path: Path) -> None:
    ends = ("data", "fc1")
    assert family_of_onnx(write(tmp_path / "a.onnx", before=("Sub", "Mul"), ends=ends, size=(112, 112))) == "sface"
    assert family_of_onnx(write(tmp_path / "b.onnx", ends=ends, size=(112, 112))) == ""
    assert family_of_onnx(write(tmp_path / "c.onnx", before=("Sub", "Mul"), size=(112, 112))) == ""


def test_networks_of_the_open_model_zoo_are_known_by_their_output() -> None:
    assert family_of_outputs({"reid_embedding": (1, 256)}) == "omz-reid"
    assert family_of_outputs({"embedding": (1, 256)}) == ""
    assert family_of_outputs({"reid_embedding": (1, 256), "attributes": (1, 8)}) == ""


def test_what_is_no_onnx_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    whole = write(tmp_path / "whole.onnx").read_bytes()
    for content in (b"", b"\x08\x07", whole[:-100], b"\xff" * 50):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"cut\.onnx: not an ONNX model, or damaged") as caught:
            family_of_onnx(path)
        assert "\n" not in str(caught.value)


def test_what_is_said_of_it_is_kept_in_a_copy(tmp_path: Path) -> None:
    copy = adopt(write(tmp_path / "mine.onnx"), Manifest("osnet"), tmp_path / "cache")
    engine = open_engine(copy, "cpu")
    assert (engine.card.family, engine.card.task, engine.card.mean) == ("osnet", "embed", IMAGENET_MEAN)
    assert engine.run(np.zeros((3, 3, 256, 128), np.float32))[0].shape == (3, 16)
