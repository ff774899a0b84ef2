"""Walks a checkpoint's network and writes it as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from watchline.detectors.card import ModelCard
from watchline.detectors.family_cards import class_names
from watchline.detectors.importer.blocks import TORCH_BLOCKS, Block, Emitter
from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.graph import Graph, Value
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.osnet import build_osnet, weights_of
from watchline.detectors.importer.pickled import Record
from watchline.detectors.importer.yolov6 import YOLOV6
from watchline.detectors.importer.yolov7 import YOLOV7_BLOCKS
from watchline.detectors.importer.yolov7_lite import YOLOV7_LITE_BLOCKS, YOLOV8_LITE_BLOCKS
from watchline.detectors.importer.yolov8 import YOLOV8_BLOCKS
from watchline.detectors.licences import spdx

_MAX_LABELS: Final = 10_000
_MAX_LABEL: Final = 200
_PICTURE_CHANNELS: Final = (1, 3, 4)  # grey; red, green and blue; these and another, as infrared


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of network that can be imported.

    Attributes:
        family: as in the card.
        tasks: by the name of the last module.
        blocks: all that such a network may hold; the network itself too, where it is not a list of layers.
        iou: largest overlap of two detections of a class that its own programs leave.
    """

    family: str
    tasks: Mapping[str, str]
    blocks: Mapping[str, Block]
    iou: float


_YOLOV8: Final = {**TORCH_BLOCKS, **YOLOV8_BLOCKS, **YOLOV8_LITE_BLOCKS}
_YOLOV7: Final = {**TORCH_BLOCKS, **YOLOV7_BLOCKS, **YOLOV7_LITE_BLOCKS}
# A network that is one module is its own last one; what its head answers tells faces from other objects.
_YOLOV6: Final = {"Model": "detect", "Model with landmarks": "face"}
# By the dotted name of the class of the whole network.
FAMILIES: Final[Mapping[str, Family]] = {
    "ultralytics.nn.tasks.DetectionModel": Family("yolov8", {"Detect": "detect"}, _YOLOV8, 0.7),
    "ultralytics.nn.tasks.PoseModel": Family("yolov8", {"Pose": "pose"}, _YOLOV8, 0.7),
    "ultralytics.nn.tasks.SegmentationModel": Family("yolov8", {"Segment": "segment"}, _YOLOV8, 0.7),
    "models.yolo.Model": Family(
        "yolov7", {"Detect": "detect", "IDetect": "detect", "IAuxDetect": "detect", "IKeypoint": "pose"}, _YOLOV7, 0.45
    ),
    "yolov6.models.yolo.Model": Family("yolov6", _YOLOV6, YOLOV6, 0.45),
    "yolov6.models.yolo_lite.Model": Family("yolov6", _YOLOV6, YOLOV6, 0.45),
}
_FACE_POINTS: Final = 5  # eyes, nose, corners of the mouth


@dataclass(frozen=True, slots=True)
class Network:
    """A network as ONNX graph, not serialised yet.

    Attributes:
        graph: all its nodes.
        head: what it answers.
        card: what it is; source_sha256 and source_name are still empty.
    """

    graph: Graph
    head: Head
    card: ModelCard

    def onnx(self, card: ModelCard) -> bytes:
        """Returns the network serialised, with `card` in its metadata."""
        return self.graph.model(card.to_metadata())


def network_of(checkpoint: Checkpoint) -> Module:
    """Returns the network in `checkpoint`: the averaged (EMA) weights where it keeps them, else the trained ones.

    Raises:
        ModelError: it holds none.
    """
    root = checkpoint.root
    if isinstance(root, Record):
        return Module(root, "network", checkpoint)
    if not isinstance(root, dict):
        raise checkpoint.refusal("holds no network")
    network = next((root[key] for key in ("ema", "model") if root.get(key) is not None), None)
    if not isinstance(network, Record):
        raise checkpoint.refusal("holds weights (a state_dict) but no network; save the whole model")
    return Module(network, "network", checkpoint)


def build(checkpoint: Checkpoint, size: tuple[int, int] | None, batch: int = 0, *, raw: bool = False) -> Network:
    """Returns the network in `checkpoint` as ONNX graph.

    Args:
        checkpoint: an open one.
        size: height and width in pixels to fix the input to, None for any.
        batch: pictures a call to fix the input to, 0 for any.
        raw: end at the last convolutions, for what decodes by itself.

    Raises:
        ModelError: the network, or a part of it, is not known.
    """
    if weights := weights_of(checkpoint):
        if raw:
            raise checkpoint.refusal("an OSNet has no head that could be raw; leave --raw-heads out")
        return Network(*build_osnet(weights, size, batch))
    network = network_of(checkpoint)
    family = FAMILIES.get(network.name)
    if family is None:
        known = ", ".join(
            f"{name} ({family.family} {', '.join(sorted(set(family.tasks.values())))})"
            for name, family in FAMILIES.items()
        )
        raise checkpoint.refusal(f"a network of class {network.name} is not supported; supported: {known}")
    layers = _layers(network, family)
    graph = Graph(size, _picture_channels(layers), batch, raw=raw)
    emitter = Emitter(graph, family.blocks, checkpoint.limits.nodes)
    outputs: list[Value] = []
    inputs = [graph.image()]
    for index, layer in enumerate(layers):
        inputs = _inputs(layer, index, outputs, inputs)
        outputs.append(emitter.emit(layer, inputs))
    task = family.tasks.get(layers[-1].name.rpartition(".")[2]) if layers else None
    if task is None or emitter.head is None:
        raise network.refusal(f"it does not end in {' or '.join(family.tasks)}")
    head = emitter.head
    if size and any(side % max(head.strides) for side in size):
        raise checkpoint.refusal(f"size {size[0]}x{size[1]} is not a multiple of {max(head.strides)}")
    task, labels = _task_and_labels(network, family, task, head)
    card = ModelCard(
        family.family,
        task,
        labels,
        head.strides,
        licence=_licence(checkpoint),
        keypoints=head.keypoints,
        iou=family.iou,
        layout="raw" if head.raw else "decoded",
        outputs=head.raw,
        anchors=head.sizes if head.raw else (),
    )
    return Network(graph, head, card)


def _layers(network: Module, family: Family) -> list[Module]:
    """Returns what is run one after the other: the network's layers, or itself where its family knows it as one."""
    if network.name in family.blocks:
        return [network]
    network.expect("*", "model", "")
    return network.child("model").at("model").children()


def _task_and_labels(network: Module, family: Family, task: str, head: Head) -> tuple[str, tuple[str, ...]]:
    """Returns the task, for the class of a network does not tell faces from people or things, and the class names."""
    if family.family == "yolov6":
        task = "face" if head.keypoints[0] else task
        if not network.has("names"):  # only a training by its authors' program leaves them behind
            return task, class_names((), head.classes, task)
    labels = _labels(network, head.classes)
    if task == "pose" and head.keypoints[0] == _FACE_POINTS and (family.family == "yolov7" or labels == ("face",)):
        task = "face"
    return task, labels


def count_parameters(network: Module) -> int:
    """Returns how many numbers were trained or fixed as parameters in all modules, each counted once."""
    seen: dict[int, int] = {}
    queue = [network]
    while queue:
        module = queue.pop()
        if module.identity not in seen:
            seen[module.identity] = module.parameters()
            queue.extend(module.children())
    return sum(seen.values())


def _picture_channels(layers: list[Module]) -> int:
    """Returns how many channels the pictures have that the first convolution was made for; 3 where there is none."""
    factor = 4 if layers and layers[0].name.endswith(".ReOrg") else 1
    parts = layers[factor > 1 :][:1]
    while parts and parts[0].name != "torch.nn.modules.conv.Conv2d":
        parts = parts[0].children()
    if not parts:
        return 3
    channels, rest = divmod(parts[0].integer("in_channels"), factor)
    if rest or channels not in _PICTURE_CHANNELS:
        raise parts[0].refusal(f"it takes pictures of {channels} channels, known are {_PICTURE_CHANNELS}")
    return channels


def _inputs(layer: Module, index: int, outputs: list[Value], previous: list[Value]) -> list[Value]:
    """Returns what `layer` reads: earlier outputs by number, -1 for the one before it."""
    source = layer.value("f", -1)
    sources = source if isinstance(source, list | tuple) else [source]
    if layer.value("i", index) != index or not sources:
        raise layer.refusal(f"it is layer {index} but says another number")
    chosen: list[Value] = []
    for number in sources:
        if not isinstance(number, int) or not -max(index, 1) <= number < index:
            raise layer.refusal("it reads from a layer that is not before it")
        chosen.append(outputs[number] if outputs else previous[0])
    return chosen


def _labels(network: Module, count: int) -> tuple[str, ...]:
    """Returns the class names, which a network keeps as a list or by number."""
    names = network.value("names")
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or set(names) != set(range(count)) or count > _MAX_LABELS:
        raise network.refusal(f"its names do not name its {count} classes")
    labels = [names[number] for number in range(count)]
    if not all(isinstance(label, str) and len(label) <= _MAX_LABEL for label in labels):
        raise network.refusal(f"a class name is not a text of up to {_MAX_LABEL} characters")
    return tuple("".join(c for c in label if c.isprintable()).strip() for label in labels)


def _licence(checkpoint: Checkpoint) -> str:
    """Returns the SPDX name of the licence that the checkpoint states, "" where it states none that is known."""
    return spdx(checkpoint.root.get("license") if isinstance(checkpoint.root, dict) else None)
