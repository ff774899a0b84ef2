"""Builds networks with the code of their authors and writes down what they answer.

Runs in a venv that has torch and ultralytics, and knows nothing of watchline:

    .venv-peers/bin/python tests/parity/upstream_networks.py OUT SOURCES [--small] NAME...

SOURCES holds the authors' repositories as folders: yolov7, yolov7-pose (its branch "pose") and yolov7-face. For each
NAME it writes OUT/NAME.pt, the checkpoint, and OUT/NAME.npz: `pictures` uint8 (batch, channels, height, width) and
`answer0`, `answer1`. All weights are random. With --small the network keeps its shape but has hardly any channels, and
weights of few different values, which pack well; with `xz -9` that is what the fixtures are.
"""

from __future__ import annotations

import argparse
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
    """How a network is made: the folder of its source, "" for ultralytics; its description; changes to that."""

    source: str
    description: str
    changes: dict[str, Any] = field(default_factory=dict)
    half: bool = True
    fused: bool = False


VARIANTS = {
    **{f"yolov8{size}": Variant("", f"yolov8{size}.yaml") for size in "nsmlx"},
    "yolov8n-fused": Variant("", "yolov8n.yaml", fused=True),
    "yolov5nu": Variant("", "yolov5n.yaml"),
    "yolov8n-pose": Variant("", "yolov8n-pose.yaml"),
    "yolov8n-face": Variant("", "yolov8n-pose.yaml", {"kpt_shape": [5, 3], "nc": 1}, half=False),
    "yolov8n-corners": Variant("", "yolov8n-pose.yaml", {"kpt_shape": [4, 2], "nc": 2}),
    "yolov8n-seg": Variant("", "yolov8n-seg.yaml", {"nc": 3}),
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
        return kinds.get(variant.description[:-5].rpartition("-")[2], tasks.DetectionModel)(description, verbose=False)
    folder = sources / variant.source
    sys.path.insert(0, str(folder))
    for name in ("seaborn", "thop"):  # drawing and counting, of no use here
        sys.modules.setdefault(name, types.ModuleType(name))
    from models.yolo import Model  # type: ignore[import-not-found]

    description = yaml.safe_load((folder / "cfg" / variant.description).read_text()) | variant.changes
    if small:
        description["width_multiple"] = 0.01
        description["nc"] = min(description["nc"], SMALL_CLASSES)
    return Model(description)


def randomise(network: Any, pictures: Any, small: bool) -> None:
    """Gives every parameter a part in the answer, and keeps the maps near one in size."""
    random = torch.Generator().manual_seed(SEED)

    def uniform(tensor: Any, low: float, high: float) -> None:
        numbers = torch.rand(tensor.shape, generator=random) * (high - low) + low
        tensor.data.copy_((numbers * 8).round() / 8 if small else numbers)

    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() == 4 and parameter.numel() > 16 and "implicit" not in name and "dfl" not in name:
                bound = parameter[0].numel() ** -0.5
                uniform(parameter, -1, 1)
                parameter.data *= 2.0 ** round(np.log2(bound))
            elif parameter.dim() == 1:
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
        if variant.fused:
            with torch.no_grad():
                network.fuse()
        if variant.half:
            network.half()
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
