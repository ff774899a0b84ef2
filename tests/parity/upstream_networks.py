"""Builds networks with the code of their authors and writes down what they answer.

Runs in a venv that has torch and ultralytics, and knows nothing of watchline:

    .venv-peers/bin/python tests/parity/upstream_networks.py OUT SOURCES [--small] NAME...

SOURCES holds the authors' repositories as folders: yolov6, yolov6-0.3.0 and yolov6-0.2.1 (its releases), yolov6-face
(its branch of that name), yolov7, yolov7-pose (its branch "pose"), yolov7-face and yolov8-face. For each NAME it writes
OUT/NAME.pt, the checkpoint, and OUT/NAME.npz: `pictures` uint8 (batch, channels, height, width) and `answer0`,
`answer1`. All weights are random. With --small the network keeps its shape but has hardly any channels, and weights of
few different values, which pack well; with `xz -9` that is what the fixtures are.
"""

from __future__ import annotations

import argparse
import os
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml  # type: ignore[import-untyped]

SEED = 11
PICTURES = (2, 3, 128, 192)
SMALL_PICTURE = (1, 3, 64, 128)
SMALL_CLASSES = 3


@dataclass(frozen=True)
class Variant:
    """How a network is made: the folder of its source, "" for ultralytics; its description; changes to that.

    Normalisations are folded into convolutions where it is fused; where it is deployed, branches are added up as well.
    """

    source: str
    description: str
    changes: dict[str, Any] = field(default_factory=dict)
    half: bool = True
    fused: bool = False
    deployed: bool = False


VARIANTS = {
    **{f"yolov8{size}": Variant("", f"yolov8{size}.yaml") for size in "nsmlx"},
    "yolov8n-fused": Variant("", "yolov8n.yaml", fused=True),
    "yolov5nu": Variant("", "yolov5n.yaml"),
    "yolov8n-pose": Variant("", "yolov8n-pose.yaml"),
    "yolov8n-face": Variant("", "yolov8n-pose.yaml", {"kpt_shape": [5, 3], "nc": 1}, half=False),
    "yolov8n-corners": Variant("", "yolov8n-pose.yaml", {"kpt_shape": [4, 2], "nc": 2}),
    "yolov8n-seg": Variant("", "yolov8n-seg.yaml", {"nc": 3}),
    "yolov8n-p2": Variant("", "yolov8n-p2.yaml"),
    "yolov8n-p6": Variant("", "yolov8n-p6.yaml"),
    "yolov8m-p6": Variant("", "yolov8m-p6.yaml"),
    "yolov8n-pose-p6": Variant("", "yolov8n-pose-p6.yaml"),
    "yolov8n-seg-p6": Variant("", "yolov8n-seg-p6.yaml", {"nc": 3}),
    **{f"yolov8n-ghost{levels}": Variant("", f"yolov8n-ghost{levels}.yaml") for levels in ("", "-p2", "-p6")},
    "yolov7-tiny": Variant("yolov7", "training/yolov7-tiny.yaml"),
    "yolov7-tiny-deploy": Variant("yolov7", "deploy/yolov7-tiny.yaml", half=False),
    "yolov7": Variant("yolov7", "training/yolov7.yaml"),
    "yolov7-deploy": Variant("yolov7", "deploy/yolov7.yaml"),
    "yolov7-fused": Variant("yolov7", "training/yolov7.yaml", fused=True),
    "yolov7-w6-fused": Variant("yolov7", "training/yolov7-w6.yaml", fused=True),
    "yolov7x": Variant("yolov7", "training/yolov7x.yaml"),
    "yolov7-w6": Variant("yolov7", "training/yolov7-w6.yaml"),
    "yolov7-w6-deploy": Variant("yolov7", "deploy/yolov7-w6.yaml"),
    "yolov7-e6": Variant("yolov7", "training/yolov7-e6.yaml"),
    "yolov7-d6": Variant("yolov7", "training/yolov7-d6.yaml"),
    "yolov7-e6e": Variant("yolov7", "training/yolov7-e6e.yaml"),
    "yolov7-w6-pose": Variant("yolov7-pose", "yolov7-w6-pose.yaml"),
    "yolov7-lite-t-face": Variant("yolov7-face", "yolov7-lite-t.yaml"),
    "yolov7-lite-s-face": Variant("yolov7-face", "yolov7-lite-s.yaml"),
    "yolov7-tiny-face": Variant("yolov7-face", "yolov7-tiny-face.yaml"),
    "yolov7s-face": Variant("yolov7-face", "yolov7s-face.yaml"),
    "yolov7-face": Variant("yolov7-face", "yolov7-face.yaml"),
    **{
        f"yolov8-{size}-face": Variant("yolov8-face", f"yolov8-{size}-pose.yaml")
        for size in ("lite-t", "lite-s", "tiny")
    },
    **{f"yolov6{size}": Variant("yolov6", f"yolov6{size}.py") for size in "nsml"},
    **{f"yolov6{size}6": Variant("yolov6", f"yolov6{size}6.py") for size in "nsml"},
    **{f"yolov6-lite-{size}": Variant("yolov6", f"yolov6_lite/yolov6_lite_{size}.py") for size in "sml"},
    "yolov6n-fused": Variant("yolov6", "yolov6n.py", fused=True),
    "yolov6n-deploy": Variant("yolov6", "yolov6n.py", {"names": True}, half=False, deployed=True),
    "yolov6n-ab": Variant("yolov6", "yolov6n.py", {"fuse_ab": True}),
    "yolov6n-distilled": Variant("yolov6", "yolov6n.py", {"distill_ns": True, "use_dfl": True, "reg_max": 16}),
    "yolov6n-base": Variant("yolov6", "base/yolov6n_base.py"),
    "yolov6t": Variant("yolov6", "experiment/yolov6t.py"),
    "yolov6t-csp": Variant("yolov6", "experiment/yolov6t_csp_scaled.py", {"names": True}),
    "yolov6s-opt": Variant("yolov6", "repopt/yolov6s_opt.py"),
    "yolov6s-mbla": Variant("yolov6", "mbla/yolov6s_mbla.py"),
    "yolov6m-deploy": Variant("yolov6", "yolov6m.py", deployed=True),
    "yolov6-lite-s-fused": Variant("yolov6", "yolov6_lite/yolov6_lite_s.py", half=False, fused=True),
    **{f"yolov6{size}-0.3": Variant("yolov6-0.3.0", f"yolov6{size}.py") for size in "nm"},
    **{f"yolov6{size}-0.2": Variant("yolov6-0.2.1", f"yolov6{size}.py") for size in "nm"},
    "yolov6n-0.3-fused": Variant("yolov6-0.3.0", "yolov6n.py", {"names": True}, half=False, fused=True),
    "yolov6n-0.2-deploy": Variant("yolov6-0.2.1", "yolov6n.py", deployed=True),
    **{f"yolov6{size}-face": Variant("yolov6-face", f"yolov6{size}_finetune.py", {"nc": 1}) for size in "nsml"},
    **{
        f"yolov6-lite-{size}-face": Variant("yolov6-face", f"yolov6_lite_{size}_finetune.py", {"nc": 1})
        for size in "sml"
    },
    "yolov6n-face-deploy": Variant("yolov6-face", "yolov6n_finetune.py", {"nc": 1}, deployed=True),
    "yolov6s-face-deploy": Variant("yolov6-face", "yolov6s_finetune.py", {"nc": 1}, half=False, deployed=True),
    "yolov6s-face-ab": Variant("yolov6-face", "yolov6s_finetune.py", {"nc": 1, "fuse_ab": True, "names": True}),
    "yolov6-lite-s-face-fused": Variant("yolov6-face", "yolov6_lite_s_finetune.py", {"nc": 1}, fused=True),
}


def build(variant: Variant, sources: Path, small: bool) -> Any:
    """Returns the network, with random weights."""
    torch.manual_seed(SEED)
    if not variant.source:
        from ultralytics.nn import tasks

        description = tasks.yaml_model_load(variant.description) | variant.changes
        if small:
            depth, _, most = description["scales"][description["scale"]]
            description["scales"] = {description["scale"]: [depth, 0.01, most]}
            description["nc"] = min(description["nc"], SMALL_CLASSES)
        kinds = {"pose": tasks.PoseModel, "seg": tasks.SegmentationModel}
        kind = next((kinds[word] for word in kinds if word in variant.description), tasks.DetectionModel)
        return kind(description, verbose=False)
    folder = sources / variant.source
    sys.path.insert(0, str(folder))
    if variant.source.startswith("yolov6"):
        return build_yolov6(folder, variant, small)
    if variant.source == "yolov8-face":
        return build_yolov8_face(folder, variant, small)
    for name in ("seaborn", "thop"):  # drawing and counting, of no use here
        sys.modules.setdefault(name, types.ModuleType(name))
    from models.yolo import Model  # type: ignore[import-not-found]

    description = yaml.safe_load((folder / "cfg" / variant.description).read_text()) | variant.changes
    if small:
        description["width_multiple"] = 0.01
        description["nc"] = min(description["nc"], SMALL_CLASSES)
    return Model(description)


def stub_versions() -> None:
    """Puts something in the place of pkg_resources, which compared versions and is no longer everywhere."""
    package = types.ModuleType("pkg_resources")
    package.__dict__["parse_version"] = torch.torch_version.TorchVersion
    sys.modules["pkg_resources"] = package


def build_yolov8_face(folder: Path, variant: Variant, small: bool) -> Any:
    """Returns a network of the copy of Ultralytics that the authors of YOLOv8-face changed."""
    os.environ["YOLO_CONFIG_DIR"] = str(Path.cwd())  # it writes settings
    for name in ("ultralytics", "ultralytics.yolo"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]  # without what its __init__ imports
        package.__dict__["__version__"] = "8"
        sys.modules[name] = package
    stub_versions()
    # It says True where a dilation of 1 is meant, which torch took when it was written.
    torch.nn.Conv2d._conv_forward = lambda self, x, weight, bias: torch.nn.functional.conv2d(
        x, weight, bias, self.stride, self.padding, tuple(int(step) for step in self.dilation), self.groups
    )
    from ultralytics.nn.tasks import PoseModel

    description = yaml.safe_load((folder / "ultralytics" / "models" / "v8" / variant.description).read_text())
    description |= {"kpt_shape": [5, 3], "nc": 1} | ({"width_multiple": 0.01} if small else {})
    return PoseModel(description, verbose=False)


class Options(dict[str, Any]):
    """A description whose entries are attributes too, as the authors of YOLOv6 read theirs."""

    def __getattr__(self, name: str) -> Any:
        value = self[name]
        return Options(value) if isinstance(value, dict) else value


def build_yolov6(folder: Path, variant: Variant, small: bool) -> Any:
    """Returns a YOLOv6 network; its description is a Python file."""
    sys.modules.setdefault("requests", types.ModuleType("requests"))  # to fetch weights, of no use here
    stub_versions()
    description: dict[str, Any] = {"training_mode": "repvgg"}
    exec((folder / "configs" / variant.description).read_text(), description)
    model, changes = description["model"], variant.changes
    model["head"].update({name: value for name, value in changes.items() if name in ("use_dfl", "reg_max")})
    classes = changes.get("nc", 80)
    if small:
        model["width_multiple"] = 0.01
        classes = min(classes, SMALL_CLASSES)
        if "unified_channels" in model["neck"]:
            model["neck"]["unified_channels"] = 16
            model["head"]["in_channels"] = [16] * 4
    if "lite" in variant.description:
        from yolov6.models.yolo_lite import Model  # type: ignore[import-not-found]

        network = Model(Options(description), num_classes=classes)
    else:
        from yolov6.models.yolo import Model  # type: ignore[import-not-found]

        kind = {name: True for name in ("fuse_ab", "distill_ns") if name in changes}
        network = Model(Options(description), num_classes=classes, **kind)
    if "names" in changes:  # as after training
        network.nc, network.names = classes, [f"thing {number}" for number in range(classes)]
    return network


def fuse(network: Any, variant: Variant) -> None:
    """Folds normalisations into convolutions and, for deployment, adds branches up, as the authors do."""
    with torch.no_grad():
        if not variant.source.startswith("yolov6"):
            network.fuse()
            return
        from yolov6.utils.torch_utils import fuse_model  # type: ignore[import-not-found]

        fuse_model(network)
        if variant.deployed:
            for module in network.modules():
                if hasattr(module, "switch_to_deploy"):
                    module.switch_to_deploy()


def randomise(network: Any, pictures: Any, small: bool) -> None:
    """Gives every parameter a part in the answer, and keeps the maps near one in size."""
    random = torch.Generator().manual_seed(SEED)

    def uniform(tensor: Any, low: float, high: float) -> None:
        numbers = torch.rand(tensor.shape, generator=random) * (high - low) + low
        tensor.data.copy_((numbers * 8).round() / 8 if small else numbers)

    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() == 4 and parameter.numel() > 16 and not is_fixed(name):
                bound = parameter[0].numel() ** -0.5
                uniform(parameter, -1, 1)
                parameter.data *= 2.0 ** round(np.log2(bound))
            elif parameter.dim() == 1 and not is_fixed(name):
                uniform(parameter, -1, 1)
            elif "implicit" in name:
                uniform(parameter, 0.5, 1.5)
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for norm in norms:
            uniform(norm.weight, 0.5, 1.5)
            norm.momentum = 1.0
        network.train()
        network(pictures)
        for norm in norms:
            norm.momentum = 0.03
            norm.running_var.clamp_(min=0.25)  # a smaller one would blow rounding errors up, layer by layer
    network.eval()


def is_fixed(name: str) -> bool:
    """Whether a parameter is not learnt as a weight is: what is implicit, and what bins of distances stand for."""
    return any(part in name for part in ("implicit", "dfl", "detect.proj"))


def answers(network: Any, pictures: Any) -> list[Any]:
    """Returns what the network answers in use, without what it hands to its loss."""
    with torch.no_grad():
        found = network(pictures)[0]
    return [part.float().numpy() for part in (found if isinstance(found, tuple) else (found,))]


def main() -> None:
    """Makes the networks that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--old-format", action="store_true", help="the file format of torch before 1.6")
    parser.add_argument("--double", action="store_true", help="answer with twice the precision")
    parser.add_argument("names", nargs="+", choices=VARIANTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        variant = VARIANTS[name]
        network = build(variant, options.sources, options.small)
        shape = SMALL_PICTURE if options.small else PICTURES
        patches = (shape[0], shape[1], shape[2] // 4, shape[3] // 4)
        pixels = np.random.default_rng(SEED).integers(0, 256, patches, np.uint8).repeat(4, 2).repeat(4, 3)
        pictures = torch.from_numpy(pixels).float() / 255
        randomise(network, pictures, options.small)
        if variant.fused or variant.deployed:
            fuse(network, variant)
        if variant.half:
            network.half()
        if not variant.source.startswith("yolov6"):
            network.yaml = network.args = {}
        saved = {"epoch": -1, "model": network, "ema": None, "optimizer": None}
        torch.save(saved, options.out / f"{name}.pt", _use_new_zipfile_serialization=not options.old_format)
        found = answers(network.double(), pictures.double()) if options.double else answers(network.float(), pictures)
        np.savez_compressed(
            options.out / f"{name}.npz", pictures=pixels, **{f"answer{i}": answer for i, answer in enumerate(found)}
        )
        print(name, sum(p.numel() for p in network.parameters()), [answer.shape for answer in found])


if __name__ == "__main__":
    main()
