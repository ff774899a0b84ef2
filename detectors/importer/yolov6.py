"""YOLOv6 networks as a whole: a backbone, a neck and a head, each a module of its own and not a list of layers.

Source: behaviour of the modules of these names in the authors' programs, main branch and face branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from watchline.detectors.importer.blocks import TORCH_BLOCKS, Block, Emitter
from watchline.detectors.importer.graph import ShapeError, Value
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.yolov6_blocks import YOLOV6_BLOCKS
from watchline.detectors.importer.yolov6_heads import YOLOV6_HEADS
from watchline.detectors.importer.yolov6_lite import YOLOV6_LITE_BLOCKS
from watchline.detectors.importer.yolov7 import chain

Walk: TypeAlias = Callable[[Emitter, Module, list[Value]], list[Value]]


@dataclass(frozen=True, slots=True)
class Part:
    """A known backbone or neck.

    Attributes:
        walk: adds its nodes to the graph and returns its maps, finest first.
        children: names of the child modules that it may hold.
        attributes: names of the plain attributes that it may hold.
        inputs: how many maps it takes.
    """

    walk: Walk
    children: str
    attributes: str = ""
    inputs: int = 1


def network(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Backbone, neck and head."""
    maps = _walk(emitter, BACKBONES, module.child("backbone"), inputs)
    maps = _walk(emitter, NECKS, module.child("neck"), maps)
    return emitter.emit(module.child("detect"), maps)


def _walk(emitter: Emitter, known: Mapping[str, Part], module: Module, inputs: list[Value]) -> list[Value]:
    part = known.get(module.name)
    if part is None:
        raise module.unknown(known)
    module.expect(part.attributes, part.children, "")
    if len(inputs) != part.inputs:
        raise module.refusal(f"it takes {part.inputs} maps, given {len(inputs)}")
    try:
        return part.walk(emitter, module, inputs)
    except ShapeError as error:
        raise module.refusal(str(error)) from error


def backbone(emitter: Emitter, module: Module, inputs: list[Value], *, levels: int, always_p2: bool) -> list[Value]:
    """Stages that halve the map each; all from the third on are answered, the second where `fuse_P2` says so."""
    x = chain(emitter, module, inputs[0], "stem", "ERBlock_2")
    if module.value("fuse_P2") not in (True, False, None):
        raise module.refusal("fuse_P2 is not true or false")
    maps = [x] if always_p2 or module.value("fuse_P2") else []
    for number in range(3, 3 + levels):
        maps.append(chain(emitter, module, maps[-1] if number > 3 else x, f"ERBlock_{number}"))
    return maps


def neck(emitter: Emitter, module: Module, inputs: list[Value], *, levels: int, fused: bool) -> list[Value]:
    """A way up, from the coarsest map to the finest, and a way down again that takes along what came up.

    Args:
        emitter: writes the graph.
        module: the neck.
        inputs: maps of the backbone, finest first.
        levels: how many maps are answered.
        fused: whether each step up takes the next finer map along as well.
    """
    graph, path = emitter.graph, module.path
    x, rising = inputs[-1], []
    for step in range(levels - 1):
        x = chain(emitter, module, x, f"reduce_layer{step}")
        rising.append(x)
        if fused:
            x = emitter.emit(module.child(f"Bifusion{step}"), [x, inputs[-2 - step], inputs[-3 - step]])
        else:
            larger = chain(emitter, module, x, f"upsample{step}")
            x = graph.concat([larger, inputs[-2 - step]], f"{path}.up{step}")
        x = chain(emitter, module, x, f"Rep_p{levels + 1 - step}")
    maps = [x]
    for step in range(levels - 1):
        smaller = chain(emitter, module, maps[-1], f"downsample{2 - step}")
        joined = graph.concat([smaller, rising[-1 - step]], f"{path}.down{step}")
        maps.append(chain(emitter, module, joined, f"Rep_n{levels + step}"))
    return maps


def lite_backbone(emitter: Emitter, module: Module, inputs: list[Value]) -> list[Value]:
    """Stages that halve the map each; the last three are answered."""
    maps = [chain(emitter, module, inputs[0], "conv_0", "lite_effiblock_1")]
    for number in (2, 3, 4):
        maps.append(chain(emitter, module, maps[-1], f"lite_effiblock_{number}"))
    return maps[1:]


def lite_neck(emitter: Emitter, module: Module, inputs: list[Value]) -> list[Value]:
    """As `neck`, with maps of equal channels, and a fourth, coarser one made of two ways."""
    graph, path = emitter.graph, module.path
    coarse, middle, fine = (chain(emitter, module, x, f"reduce_layer{step}") for step, x in enumerate(reversed(inputs)))
    larger = chain(emitter, module, coarse, "upsample0")
    up = chain(emitter, module, graph.concat([larger, middle], path + ".up0"), "Csp_p4")
    larger = chain(emitter, module, up, "upsample1")
    maps = [chain(emitter, module, graph.concat([larger, fine], path + ".up1"), "Csp_p3")]
    for step, beside in enumerate((up, coarse)):
        smaller = chain(emitter, module, maps[-1], f"downsample{2 - step}")
        joined = graph.concat([smaller, beside], f"{path}.down{step}")
        maps.append(chain(emitter, module, joined, f"Csp_n{3 + step}"))
    above = chain(emitter, module, coarse, "p6_conv_1")
    maps.append(graph.add(above, chain(emitter, module, maps[-1], "p6_conv_2"), path + ".p6"))
    return maps


def _backbone(levels: int, *, always_p2: bool = False) -> Part:
    children = ["stem", *(f"ERBlock_{number}" for number in range(2, 3 + levels))]
    return Part(partial(backbone, levels=levels, always_p2=always_p2), " ".join(children), "fuse_P2")


def _neck(levels: int, *, fused: bool) -> Part:
    steps = range(levels - 1)
    children = [f"{'Bifusion' if fused else 'upsample'}{step}" for step in steps]
    children += [f"{name}{step}" for step in range(3) for name in ("reduce_layer", "downsample")]
    children += [f"Rep_p{levels + 1 - step}" for step in steps] + [f"Rep_n{levels + step}" for step in steps]
    return Part(partial(neck, levels=levels, fused=fused), " ".join(children), inputs=levels + fused)


_LITE_NECK: Final = (
    "reduce_layer0 reduce_layer1 reduce_layer2 upsample0 upsample1 Csp_p4 Csp_p3 Csp_n3 Csp_n4 downsample2 downsample1 "
    "p6_conv_1 p6_conv_2"
)
BACKBONES: Final[Mapping[str, Part]] = {
    "yolov6.models.efficientrep.CSPBepBackbone": _backbone(3),
    "yolov6.models.efficientrep.CSPBepBackbone_P6": _backbone(4, always_p2=True),
    "yolov6.models.efficientrep.EfficientRep": _backbone(3),
    "yolov6.models.efficientrep.EfficientRep6": _backbone(4),
    "yolov6.models.efficientrep.Lite_EffiBackbone": Part(
        lite_backbone, "conv_0 lite_effiblock_1 lite_effiblock_2 lite_effiblock_3 lite_effiblock_4"
    ),
}
NECKS: Final[Mapping[str, Part]] = {
    "yolov6.models.reppan.CSPRepBiFPANNeck": _neck(3, fused=True),
    "yolov6.models.reppan.CSPRepBiFPANNeck_P6": _neck(4, fused=True),
    "yolov6.models.reppan.CSPRepPANNeck": _neck(3, fused=False),
    "yolov6.models.reppan.CSPRepPANNeck_P6": _neck(4, fused=False),
    "yolov6.models.reppan.Lite_EffiNeck": Part(lite_neck, _LITE_NECK, inputs=3),
    "yolov6.models.reppan.RepBiFPANNeck": _neck(3, fused=True),
    "yolov6.models.reppan.RepBiFPANNeck6": _neck(4, fused=True),
    "yolov6.models.reppan.RepPANNeck": _neck(3, fused=False),
    "yolov6.models.reppan.RepPANNeck6": _neck(4, fused=False),
}
_NETWORK: Final = Block(network, attributes="nc names stride export", children="backbone neck detect")
# A network is one module here, so its blocks hold it too.
YOLOV6: Final[Mapping[str, Block]] = {
    **TORCH_BLOCKS,
    **YOLOV6_BLOCKS,
    **YOLOV6_LITE_BLOCKS,
    **YOLOV6_HEADS,
    "yolov6.models.yolo.Model": _NETWORK,
    "yolov6.models.yolo_lite.Model": _NETWORK,
}
