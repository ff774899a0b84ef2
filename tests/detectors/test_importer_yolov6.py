"""YOLOv6: what would make another network of it than its authors' is refused by name, and what it is told."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from watchline.detectors.classes import COCO
from watchline.detectors.importer.checkpoint import Checkpoint, Tensor
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.network import build
from watchline.detectors.importer.pickled import Global, Record
from watchline.streams.errors import ModelError

NETWORKS = Path(__file__).parents[1] / "parity" / "networks"


@pytest.fixture
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checkpoint]:
    path = tmp_path / "net.pt"
    path.write_bytes(lzma.decompress((NETWORKS / f"{request.param}.pt.xz").read_bytes()))
    with Checkpoint(path) as checkpoint:
        yield checkpoint


def module_at(checkpoint: Checkpoint, path: str) -> Any:
    """Returns the module at `path`, to be changed; "" is the whole network."""
    root: Any = checkpoint.root
    module = root["model"]
    for name in path.split(".") if path else ():
        module = module.state["_modules"][name]
    return module


HEADS = [
    ("yolov6n", "detect", Head(3, (8, 16, 32), unbounded=True, anchors=1)),
    ("yolov6n-ab", "detect", Head(3, (8, 16, 32), unbounded=True, anchors=1)),
    ("yolov6n-distilled", "detect", Head(3, (8, 16, 32), unbounded=True, anchors=1)),
    ("yolov6m", "detect", Head(3, (8, 16, 32), anchors=1)),
    ("yolov6n6", "detect", Head(3, (8, 16, 32, 64), unbounded=True, anchors=1)),
    ("yolov6-lite-s", "detect", Head(3, (8, 16, 32, 64), unbounded=True, anchors=1)),
    ("yolov6n-face-deploy", "face", Head(1, (8, 16, 32), True, unbounded=True, anchors=1, keypoints=(5, 2))),
    ("yolov6-lite-s-face", "face", Head(1, (8, 16, 32, 64), True, unbounded=True, anchors=1, keypoints=(5, 2))),
]


@pytest.mark.parametrize(("network", "task", "head"), HEADS, indirect=["network"], ids=[name for name, _, _ in HEADS])
def test_the_task_and_the_head_are_known(network: Checkpoint, task: str, head: Head) -> None:
    made = build(network, None)
    assert (made.card.family, made.card.task, made.card.strides, made.head) == ("yolov6", task, head.strides, head)
    assert (made.card.keypoints, made.card.iou, made.card.pad) == (head.keypoints, 0.45, 114)
    assert (made.card.colour, made.card.scale, made.card.placement) == ("rgb", 255.0, "centre")


@pytest.mark.parametrize("network", ["yolov6n-face-deploy"], indirect=True)
def test_one_class_with_landmarks_is_faces_and_names_that_a_training_left_come_first(network: Checkpoint) -> None:
    assert build(network, None).card.labels == ("face",)
    module_at(network, "").state["names"] = ["mask"]
    assert (build(network, None).card.labels, build(network, None).card.task) == (("mask",), "face")
    module_at(network, "").state["names"] = ["mask", "face"]
    with pytest.raises(ModelError, match="names do not name its 1 classes"):
        build(network, None)


@pytest.mark.parametrize("network", ["yolov6n"], indirect=True)
def test_classes_that_nobody_names_are_numbered_and_eighty_are_those_of_coco(network: Checkpoint) -> None:
    assert build(network, None).card.labels == ("class0", "class1", "class2")
    head, large = module_at(network, "detect"), module_at(network, "neck.Rep_n3.conv1.rbr_dense.conv")
    head.state.update(nc=80, no=85)
    storage = large.state["_parameters"]["weight"].storage
    for prediction in head.state["_modules"]["cls_preds"].state["_modules"].values():
        weight, bias = Tensor(storage, 0, (80, 8, 1, 1), (8, 1, 1, 1)), Tensor(storage, 0, (80,), (1,))
        prediction.state.update(out_channels=80, _parameters={"weight": weight, "bias": bias})
    assert build(network, None).card.labels == COCO


def test_each_shortcut_keeps_a_weight_of_its_own(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "net.pt"
    path.write_bytes(lzma.decompress((NETWORKS / "yolov6m.pt.xz").read_bytes()))
    with Checkpoint(path) as checkpoint:
        made = build(checkpoint, None)
    model = onnx.load_model_from_string(made.onnx(made.card))
    factors = [t for t in model.graph.initializer if t.name.endswith(".alpha")]
    weights = {float(onnx.numpy_helper.to_array(factor)[0]) for factor in factors}
    assert len(factors) > 10
    assert len(weights) > 3


BOUND = Record("builtins.getattr", (Global("yolov6.layers.common.ConvModule"), "forward_fuse"))
BRANCH, GATE = "backbone.stem.rbr_dense", "backbone.lite_effiblock_2.1.se"
REFUSALS: list[tuple[str, str, str, dict[str, object], str]] = [
    (
        "an attribute too many",
        "yolov6n",
        "backbone.stem",
        {"gate": 2},
        r"RepVGGBlock at network\.backbone\.stem .*'gate'",
    ),
    ("a whole with more", "yolov6n", "", {"gate": 2}, r"yolov6\.models\.yolo\.Model at network .*'gate'"),
    ("a backbone with more", "yolov6n", "backbone", {"gate": 2}, r"EfficientRep at network\.backbone .*'gate'"),
    ("a neck made for int8", "yolov6n", "neck", {"_QUANT": True}, r"RepBiFPANNeck at network\.neck .*'_QUANT'"),
    ("another forward", "yolov6n", "backbone", {"forward": BOUND}, r"network\.backbone .*unknown part 'forward'"),
    ("another convolution", "yolov6n", BRANCH, {"forward": BOUND}, r"rbr_dense .*unknown part 'forward'"),
    ("fewer maps", "yolov6n", "backbone", {"fuse_P2": None}, r"network\.neck .*takes 4 maps, given 3"),
    ("more maps", "yolov6t", "backbone", {"fuse_P2": True}, r"network\.neck .*takes 3 maps, given 4"),
    ("maybe more maps", "yolov6n", "backbone", {"fuse_P2": "x"}, r"fuse_P2 is not true or false"),
    ("a branch with an activation", "yolov6n", BRANCH, {"activation_type": "relu"}, r"a branch with an activation"),
    ("an activation without a name", "yolov6n", "detect.stems.0.block", {"activation_type": None}, r"does not name"),
    ("other numbers", "yolov6n", "detect", {"no": 9}, r"effidehead\.Detect at network\.detect .*9 numbers"),
    ("landmarks of nobody", "yolov6n", "detect", {"no": 18}, r"reg_preds .*do not end in 14"),
    ("no landmarks", "yolov6n-face-deploy", "detect", {"no": 6}, r"reg_preds .*do not end in 4"),
    ("other classes", "yolov6n", "detect", {"nc": 2, "no": 7}, r"cls_preds .*do not end in 2"),
    ("no classes", "yolov6n", "detect", {"nc": 0, "no": 5}, r"0 classes"),
    ("other levels", "yolov6n", "detect", {"nl": 2}, r"2 levels of 3"),
    ("distributions", "yolov6n", "detect", {"use_dfl": True}, r"reg_preds .*do not end in 68"),
    ("perhaps distributions", "yolov6m", "detect", {"use_dfl": "x"}, r"use_dfl is not true or false"),
    ("fewer bins", "yolov6m", "detect", {"reg_max": 7}, r"weight has shape \(1, 17, 1, 1\)"),
    ("another export", "yolov6n", "detect", {"export": True}, r"only export=False"),
    ("another middle", "yolov6n", "detect", {"grid_cell_offset": 0.0}, r"only grid_cell_offset=0\.5"),
    ("a stage that joins nothing", "yolov6m", "neck.Rep_p4", {"concat": False}, r"BepC3 at .*only concat=True"),
    ("perhaps a shortcut", "yolov6m", "neck.Rep_p4.m.conv1", {"shortcut": 2}, r"BottleRep at .*shortcut is not"),
    (
        "a mean of parts",
        "yolov6-lite-s",
        "backbone.lite_effiblock_1.0.se.avg_pool",
        {"output_size": 2},
        r"expected a mean",
    ),
    ("other parts", "yolov6-lite-s", "backbone.lite_effiblock_2.1.se", {"gate": 1}, r"SEBlock at .*'gate'"),
]


@pytest.mark.parametrize(
    ("network", "path", "change", "reason"),
    [row[1:] for row in REFUSALS],
    indirect=["network"],
    ids=[row[0] for row in REFUSALS],
)
def test_what_would_change_the_network_is_refused_by_name(
    network: Checkpoint, path: str, change: dict[str, object], reason: str
) -> None:
    module_at(network, path).state.update(change)
    with pytest.raises(ModelError, match=reason) as refusal:
        build(network, None)
    assert str(refusal.value).startswith("net.pt: ")


@pytest.mark.parametrize("network", ["yolov6n"], indirect=True)
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", "yolov6.models.yolo_seg.Model"),
        ("backbone", "yolov6.models.efficientrep.OtherBackbone"),
        ("neck", "yolov6.models.reppan.OtherNeck"),
        ("detect", "yolov6.models.heads.effidehead_seg.Detect"),
        ("backbone.stem", "yolov6.layers.common.QARepVGGBlock"),
        ("backbone.stem", "yolov6.layers.common.LinearAddBlock"),
        ("neck.Bifusion0", "fork.layers.common.BiFusion"),
    ],
)
def test_parts_that_are_not_known_are_refused_by_their_dotted_name(network: Checkpoint, path: str, name: str) -> None:
    module_at(network, path).name = name
    with pytest.raises(ModelError, match=f"{name.replace('.', r'[.]')} .*is not supported; supported: "):
        build(network, None)


@pytest.mark.parametrize("network", ["yolov6n-face-deploy"], indirect=True)
def test_a_block_with_branches_and_their_sum_is_refused(network: Checkpoint) -> None:
    parts = module_at(network, "backbone.stem").state["_modules"]
    parts["rbr_dense"] = parts["rbr_reparam"]
    with pytest.raises(ModelError, match="it has one convolution and branches as well"):
        build(network, None)


@pytest.mark.parametrize("network", ["yolov6-lite-s-face"], indirect=True)
def test_a_size_that_the_coarsest_level_does_not_divide_is_refused(network: Checkpoint) -> None:
    with pytest.raises(ModelError, match="size 96x96 is not a multiple of 64"):
        build(network, (96, 96))


@pytest.mark.parametrize("network", ["yolov6n", "yolov6n-face-deploy"], indirect=True)
def test_the_one_that_tells_yolov6_from_others_stands_where_its_authors_put_it(network: Checkpoint) -> None:
    import onnxruntime

    made = build(network, (64, 64))
    session = onnxruntime.InferenceSession(made.onnx(made.card), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"images": np.full((2, 3, 64, 64), 0.5, np.float32)})
    assert (rows[..., 4 + 2 * made.head.keypoints[0]] == 1).all()
    assert rows.shape == (2, 84, made.head.channels)


@pytest.mark.parametrize("network", ["yolov6n"], indirect=True)
def test_a_raw_head_is_refused(network: Checkpoint) -> None:
    with pytest.raises(ModelError, match="raw heads of YOLOv6 are not read"):
        build(network, None, raw=True)
