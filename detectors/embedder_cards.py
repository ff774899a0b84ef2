"""The cards of networks that compare pictures: how each family is fed; their one output is a vector a picture.

How a network is fed cannot be seen in its answers: a wrong order of colours still gives vectors, and worse matches.
So a family is said, or known by names that its own program gave to its parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from watchline.detectors.card import ModelCard
from watchline.detectors.family_cards import Facts
from watchline.detectors.onnx_header import Outline, read_outline
from watchline.streams.errors import ModelError

# Of red, green and blue in [0, 1], over ImageNet.
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

_FACE_SIZE: Final = (112, 112)
_FACE_POINTS: Final = (5, 2)
_LEAST: Final = 16  # numbers of a vector that tells people apart; a classifier of less is none
_MOST: Final = 8192


@dataclass(frozen=True, slots=True)
class _Feeding:
    """How a family is fed; see `ModelCard`."""

    colour: str
    scale: float
    of_faces: bool
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


# Source, in this order: torchreid, utils/feature_extractor.py; the Open Model Zoo's pages of
# person-reidentification-retail-0277 to -0288 (BGR; mean and deviation are inside the network);
# foamliu/MobileFaceNet, data_gen.py; OpenCV, objdetect/src/face_recognize.cpp (RGB; its first two nodes scale it).
EMBEDDERS: Final[Mapping[str, _Feeding]] = MappingProxyType(
    {
        "osnet": _Feeding("rgb", 255.0, False, IMAGENET_MEAN, IMAGENET_STD),
        "omz-reid": _Feeding("bgr", 1.0, False),
        "mobilefacenet": _Feeding("rgb", 255.0, True, IMAGENET_MEAN, IMAGENET_STD),
        "sface": _Feeding("rgb", 1.0, True),
    }
)

_OSNET: Final = ("conv2.0.gate.fc1.weight", "conv2.0.conv2a.conv1.weight")
_OSNET_AIN: Final = ("conv2.0.gate.fc1.weight", "conv2.0.conv2.0.layers.0.conv1.weight")
_OSNET_GATES: Final = 24  # four in each of its six blocks, in all widths
_MOBILEFACENET: Final = ("/dw_conv/depthwise/Conv", "/gdconv/depthwise/Conv")


def embedder(facts: Facts, family: str) -> ModelCard:
    """Returns the card of a network of one of the `EMBEDDERS`.

    Raises:
        ModelError: its output is no vector, or its input not of the shape of a person or a face.
    """
    feeding = EMBEDDERS[family]
    shape = facts.first if facts.shapes else ()
    height, width = facts.size
    if len(facts.shapes) != 1 or len(shape) != 2 or not _LEAST <= shape[1] <= _MOST:
        raise ModelError(f"a {family} model's output would be one vector a picture; this one's are {facts.shown()}")
    if feeding.of_faces and facts.size != _FACE_SIZE:
        raise ModelError(f"a {family} model sees faces of 112x112; this one's input is {height}x{width}")
    if not feeding.of_faces and height <= width:
        raise ModelError(
            f"a {family} model sees people, higher than wide; this one's input is {height}x{width}, or open; "
            "export it with its size fixed, such as 256x128"
        )
    return ModelCard(
        family,
        "embed",
        (),
        (1,),
        colour=feeding.colour,
        scale=feeding.scale,
        placement="stretch",
        keypoints=_FACE_POINTS if feeding.of_faces else (0, 0),
        outputs=facts.names,
        mean=feeding.mean,
        std=feeding.std,
    )


def family_of_onnx(path: Path) -> str:
    """Returns which of the `EMBEDDERS` the ONNX file is, by names that its own program gave; "" for none of them.

    Raises:
        ModelError: it cannot be read.
    """
    outline = read_outline(path)
    names = outline.constants | {node.name for node in outline.nodes}
    first = _first_steps(outline)
    # What scales its pictures by itself is not what is known here, though its names were.
    if first == ["Conv"]:
        if any(names.issuperset(marks) for marks in (_OSNET, _OSNET_AIN)):
            return "osnet"
        if names.issuperset(_MOBILEFACENET):
            return "mobilefacenet"
    is_sface = (outline.inputs, outline.outputs) == (("data",), ("fc1",))
    return "sface" if is_sface and first == ["Sub", "Mul"] else ""


def built_like(path: Path) -> str:
    """Returns which of the `EMBEDDERS` a network without such names is built like; "" for none.

    A hint for its user, and no answer: in which order it wants colours, nobody can see in it.

    Raises:
        ModelError: it cannot be read.
    """
    outline = read_outline(path)
    gates = sum(node.operation == "Sigmoid" for node in outline.nodes)
    return "osnet" if gates == _OSNET_GATES and _first_steps(outline) == ["Conv"] else ""


def family_of_outputs(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Returns which of the `EMBEDDERS` an OpenVINO network is, by its outputs; "" for none of them."""
    return "omz-reid" if dict(shapes) == {"reid_embedding": (1, 256)} else ""


def _first_steps(outline: Outline) -> list[str]:
    """Returns the operations that the picture goes through, up to the first convolution; [] where it branches."""
    value, found = outline.inputs[0] if len(outline.inputs) == 1 else "", list[str]()
    while value and len(found) < 4:
        takers = [node for node in outline.nodes if value in node.inputs]
        if len(takers) != 1:
            return []
        found.append(takers[0].operation)
        if found[-1] == "Conv":
            return found if found == ["Conv"] else found[:-1]
        value = takers[0].outputs[0] if takers[0].outputs else ""
    return []
