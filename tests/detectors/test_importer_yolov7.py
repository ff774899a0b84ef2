"""YOLOv7: what would make another network of it than its authors' is refused by name, and what it is told."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from watchline.detectors.importer.checkpoint import Checkpoint
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


def state_at(checkpoint: Checkpoint, path: str) -> Any:
    """Returns the state of the module at `path`, to be changed; "" is the whole network."""
    root: Any = checkpoint.root
    state = root["model"].state
    for name in path.split(".") if path else ():
        state = state["_modules"][name].state
    return state


HEADS = [
    ("yolov7-tiny", "detect", Head(3, (8, 16, 32), anchors=3)),
    ("yolov7-w6", "detect", Head(3, (8, 16, 32, 64), anchors=3)),
    ("yolov7-lite-t-face", "face", Head(1, (8, 16, 32), anchors=3, keypoints=(5, 3))),
    ("yolov7-w6-pose", "pose", Head(1, (8, 16, 32, 64), anchors=3, keypoints=(17, 3))),
    ("yolov8n", "detect", Head(3, (8, 16, 32))),
    ("yolov8n-face", "pose", Head(1, (8, 16, 32), keypoints=(5, 3))),
    ("yolov8n-seg", "segment", Head(3, (8, 16, 32), masks=32, mask_stride=4)),
]


@pytest.mark.parametrize(("network", "task", "head"), HEADS, indirect=["network"], ids=[name for name, _, _ in HEADS])
def test_the_task_and_the_head_are_known(network: Checkpoint, task: str, head: Head) -> None:
    made = build(network, None)
    assert (made.card.task, made.card.strides, replace(made.head, sizes=())) == (task, head.strides, head)
    assert len(made.head.sizes) == 2 * head.anchors * len(head.strides)
    assert made.card.family == ("yolov8" if not head.anchors else "yolov7")


@pytest.mark.parametrize("network", ["yolov7-w6"], indirect=True)
def test_what_serves_training_only_is_left_out(network: Checkpoint) -> None:
    """The auxiliary head and the four layers that only it reads."""
    import onnx

    made = build(network, None)
    model = onnx.load_model_from_string(made.onnx(made.card))
    names = {node.name for node in model.graph.node} | {tensor.name for tensor in model.graph.initializer}
    assert not [name for name in names if "m2" in name]
    read = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    assert not [node.name for node in model.graph.node if node.output[0] not in read]
    assert len(model.graph.node) < len(made.graph)


BOUND = Record("builtins.getattr", (Global("models.common.Conv"), "fuseforward"))
REFUSALS: list[tuple[str, str, str, dict[str, object], str]] = [
    ("an attribute too many", "yolov7-tiny", "model.0", {"gate": 2}, r"models\.common\.Conv at model\.0 .*'gate'"),
    ("another forward", "yolov7-tiny", "model.0", {"forward": BOUND}, r"model\.0 .*unknown part 'forward'"),
    ("another slope", "yolov7-tiny", "model.0.act", {"negative_slope": "x"}, r"LeakyReLU at model\.0\.act .*slope"),
    ("other outputs", "yolov7-tiny", "model.77", {"no": 9}, r"models\.yolo\.IDetect at model\.77 .*no=9, expected 8"),
    ("other levels", "yolov7-tiny", "model.77", {"nl": 2}, r"model\.77 .*2 levels of 3"),
    ("other anchors", "yolov7-tiny", "model.77", {"na": 2}, r"model\.77 .*anchor_grid has shape"),
    ("an end in one piece", "yolov7-tiny", "model.77", {"end2end": True}, r"only end2end=False"),
    ("suppression inside", "yolov7-tiny", "model.77", {"include_nms": True}, r"only include_nms=False"),
    ("a head without classes", "yolov7-tiny", "model.77", {"nc": 0}, r"0 classes"),
    ("a sum with an attribute", "yolov7-e6e", "model.23", {"gate": 1}, r"Shortcut at model\.23 .*'gate'"),
    ("other keypoints", "yolov7-lite-t-face", "model.22", {"nkpt": 4}, r"IKeypoint at model\.22 .*no=21, expected 18"),
    ("another decoding", "yolov7-lite-t-face", "model.22", {"inplace": False}, r"only inplace=True"),
    ("mirrored answers", "yolov7-lite-t-face", "model.22", {"flip_test": True}, r"only flip_test=False"),
    ("another shuffle", "yolov7-lite-t-face", "model.1", {"stride": 1}, r"Shuffle_Block at model\.1 .*two branches"),
    ("no weight", "yolov7-lite-t-face", "model.17", {"a": None}, r"ADD at model\.17 .*a is not a number"),
    ("groups", "yolov7", "model.102.rbr_1x1.0", {"groups": 2}, r"model\.102"),
    ("a larger point", "yolov7", "model.102.rbr_1x1.0", {"kernel_size": (3, 3)}, r"model\.102"),
    ("other points", "yolov8n-pose", "model.22", {"kpt_shape": [17, 4]}, r"head\.Pose at model\.22 .*kpt_shape"),
    ("fewer points", "yolov8n-pose", "model.22", {"kpt_shape": [16, 3]}, r"do not end in 48 channels"),
    ("another base", "yolov8n-pose", "model.22", {"detect": BOUND}, r"detect is not that of a Detect"),
    ("other masks", "yolov8n-seg", "model.22", {"nm": 16}, r"32 prototype masks, 16 coefficients"),
    ("overlapping enlargement", "yolov8n-seg", "model.22.proto.upsample", {"stride": (1, 1)}, r"ConvTranspose2d.*over"),
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
    state_at(network, path).update(change)
    with pytest.raises(ModelError, match=reason) as refusal:
        build(network, None)
    assert str(refusal.value).startswith("net.pt: ")


@pytest.mark.parametrize("network", ["yolov8n-pose", "yolov8n-seg"], indirect=True)
def test_the_way_to_detect_that_early_heads_keep_is_known(network: Checkpoint) -> None:
    base = Record("__builtin__.getattr", (Global("ultralytics.nn.modules.head.Detect"), "forward"))
    state_at(network, "model.22")["detect"] = base
    assert build(network, None).card.family == "yolov8"
