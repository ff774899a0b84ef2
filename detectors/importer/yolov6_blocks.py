"""The blocks of YOLOv6 networks, as trained or as deployed.

Source: behaviour of the modules of these names in the authors' programs, releases 0.2 to 0.4; RepVGG: Ding et
al., 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from watchline.detectors.importer.blocks import Block, Emitter, convolution, silu
from watchline.detectors.importer.graph import Value
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.yolov7 import added, chain
from watchline.detectors.importer.yolov8 import c3, conv, sppf

_BRANCHES: Final = ("rbr_dense", "rbr_1x1", "rbr_identity")


def conv_module(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Convolution, batch normalisation, and an activation where it says one."""
    (x,) = _conv_parts(emitter, module, inputs[0], ("",))
    return x


def _conv_parts(emitter: Emitter, module: Module, x: Value, parts: tuple[str, ...]) -> list[Value]:
    """Adds a ConvModule whose output channels are dealt out to several maps."""
    maps = convolution(emitter, module.child("conv"), x, None if module.fused else module.child("bn"), parts)
    if module.has("act") != module.has("activation_type"):
        raise module.refusal("it has an activation that it does not name, or names one that it has not")
    return [emitter.emit(module.child("act"), [y]) for y in maps] if module.has("act") else maps


def wrapped(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Does what its one child does."""
    children = module.children()
    if len(children) != 1:
        raise module.refusal(f"{len(children)} parts, expected one")
    return emitter.emit(children[0], inputs)


def pools(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Pools its map again and again and joins the steps; before release 0.4 without a module around that."""
    return wrapped(emitter, module, inputs) if module.has("sppf") else sppf(emitter, module, inputs)


def pools_beside(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The same, with convolutions around and one convolution beside it."""
    if module.has("cspsppf"):
        return wrapped(emitter, module, inputs)
    maps = [chain(emitter, module, inputs[0], "cv1", "cv3", "cv4")]
    for step in range(3):
        maps.append(emitter.emit(module.child("m").at(f"{module.path}.m.{step}"), [maps[-1]]))
    x = chain(emitter, module, emitter.graph.concat(maps, module.path + ".pools"), "cv5", "cv6")
    beside = chain(emitter, module, inputs[0], "cv2")
    return chain(emitter, module, emitter.graph.concat([beside, x], module.path + ".join"), "cv7")


def rep_vgg(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A 3 by 3 and a 1 by 1 convolution and the map itself, each normalised, all added, then cut off below zero."""
    if _is_folded(module):
        x = chain(emitter, module, inputs[0], "rbr_reparam")
    else:
        dense, point = (_branch(emitter, module.child(name)) for name in _BRANCHES[:2])
        x = added(emitter, module, inputs[0], dense, point)
    return chain(emitter, module, x, "se", "nonlinearity")


def _is_folded(module: Module) -> bool:
    """Returns whether the branches of a block were added up already."""
    if not module.has("rbr_reparam"):
        return False
    if any(module.has(name) for name in _BRANCHES):
        raise module.refusal("it has one convolution and branches as well")
    return True


def _branch(emitter: Emitter, branch: Module) -> tuple[Module, Module | None]:
    """Returns the convolution and the normalisation of one branch: a ConvModule, or before release 0.4 a Sequential."""
    if emitter.block(branch).emit is conv_module:
        if branch.has("act") or branch.has("activation_type"):
            raise branch.refusal("a branch with an activation")
    elif branch.name != "torch.nn.modules.container.Sequential" or len(branch.children()) != 2:
        raise branch.refusal("expected a convolution and its normalisation")
    return branch.child("conv"), None if branch.fused else branch.child("bn")


def plain_vgg(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """One normalised 3 by 3 convolution, cut off below zero."""
    (x,) = convolution(emitter, module.child("conv"), inputs[0], module.child("bn"))
    return chain(emitter, module, x, "se", "relu")


def stage(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Blocks one after the other; a stage of one keeps no list."""
    return chain(emitter, module, inputs[0], *(["conv1", "block"] if module.has("block") else ["conv1"]))


def joined_stage(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A stage beside one convolution, joined."""
    module.require("concat", True)
    return c3(emitter, module, inputs)


def residual(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Two or three blocks, with their input, weighted, added where `shortcut` says so."""
    names = ["conv1", "conv2", "conv3"] if module.has("conv3") else ["conv1", "conv2"]
    x = chain(emitter, module, inputs[0], *names)
    if module.value("shortcut") not in (True, False):
        raise module.refusal("shortcut is not true or false")
    if not module.value("shortcut"):
        return x
    plain = module.value("alpha")
    weight = plain if isinstance(plain, float) else float(module.numbers("alpha", (1,))[0])
    factor = emitter.graph.constant(np.array([weight], np.float32), module.path + ".alpha")
    scaled = emitter.graph.node("Mul", [inputs[0].name, factor], module.path + ".shortcut")
    return emitter.graph.add(x, Value(scaled, inputs[0].channels, inputs[0].stride), module.path)


def many_chains(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Deals its channels out, sends all parts but the first down a chain each, and joins all links of all chains."""
    first, chains = module.child("cv1"), module.child("m").children()
    if emitter.block(first).emit is not conv_module:
        raise first.refusal("expected a ConvModule")
    parts = _conv_parts(emitter, first, inputs[0], tuple(f".{part}" for part in range(len(chains) + 1)))
    if parts[0].channels != module.integer("c"):
        raise module.refusal(f"c={module.integer('c')}, but its parts have {parts[0].channels} channels")
    maps = parts[:1]
    for part, links in zip(parts[1:], chains, strict=True):
        maps.append(part)
        for link in links.children():
            maps.append(emitter.emit(link, [maps[-1]]))
    return chain(emitter, module, emitter.graph.concat(maps, module.path + ".join"), "cv2")


def three_levels(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Brings a coarser map and a finer one to the size of the one between them, and joins the three."""
    coarse, between, fine = inputs
    maps = [
        chain(emitter, module, coarse, "upsample"),
        chain(emitter, module, between, "cv1"),
        chain(emitter, module, fine, "cv2", "downsample"),
    ]
    return chain(emitter, module, emitter.graph.concat(maps, module.path + ".join"), "cv3")


_WRAPPERS: Final = ("ConvBN", "ConvBNHS", "ConvBNReLU", "ConvBNSiLU", "ConvWrapper", "SimConvWrapper")
_CONVOLUTIONS: Final = "cv1 cv2 cv3 cv4 cv5 cv6 cv7 m"
_LAYERS: Final[Mapping[str, Block]] = {
    **{name: Block(wrapped, children="block") for name in _WRAPPERS},
    **{name: Block(conv, attributes="forward", children="conv bn act") for name in ("Conv", "Conv_C3", "SimConv")},
    **{name: Block(pools, children="sppf cv1 cv2 m") for name in ("SimSPPF", "SPPF")},
    **{name: Block(pools_beside, children="cspsppf " + _CONVOLUTIONS) for name in ("SimCSPSPPF", "CSPSPPF")},
    "BepC3": Block(joined_stage, attributes="concat", children="cv1 cv2 cv3 m"),
    "BiFusion": Block(three_levels, children="cv1 cv2 cv3 upsample downsample", inputs=3),
    "BottleRep": Block(residual, attributes="shortcut alpha", children="conv1 conv2", tensors="alpha"),
    "BottleRep3": Block(residual, attributes="shortcut alpha", children="conv1 conv2 conv3", tensors="alpha"),
    "ConvModule": Block(conv_module, attributes="activation_type forward", children="conv bn act"),
    "CSPSPPFModule": Block(pools_beside, children=_CONVOLUTIONS),
    "MBLABlock": Block(many_chains, attributes="c split_num", children="cv1 cv2 m"),
    "RealVGGBlock": Block(plain_vgg, children="conv bn se relu"),
    "RepBlock": Block(stage, children="conv1 block"),
    "RepVGGBlock": Block(
        rep_vgg,
        attributes="deploy groups in_channels out_channels id_tensor",
        children="nonlinearity se rbr_reparam " + " ".join(_BRANCHES),
    ),
    "SiLU": Block(silu),
    "SPPFModule": Block(sppf, children="cv1 cv2 m"),
    "Transpose": Block(wrapped, children="upsample_transpose"),
}
YOLOV6_BLOCKS: Final[Mapping[str, Block]] = {f"yolov6.layers.common.{name}": block for name, block in _LAYERS.items()}
