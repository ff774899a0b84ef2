"""Builds OSNets with the code of their authors, saves them as their trainer does, and writes down what they answer.

Runs in a venv that has torch, and knows nothing of watchline:

    .venv-peers/bin/python tests/parity/upstream_osnet.py OUT SOURCES [--small] [--old-format] NAME...

SOURCES holds the authors' repository as folder torchreid. For each NAME it writes OUT/NAME.pth, the checkpoint, and
OUT/NAME.npz: `pictures` uint8 (batch, 3, height, width) RGB and `features` (batch, 512). All weights are random. With
--small the network keeps its shape but has hardly any channels, and weights of few different values, which pack well;
with `xz -9` that is what the fixtures are.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

SEED = 11
PICTURES = (3, 3, 256, 128)
SMALL_PICTURES = (2, 3, 64, 32)
# Means and deviations of ImageNet's red, green and blue, by which the authors' program shifts and scales its pictures.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
VARIANTS = (
    *("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "osnet_ibn_x1_0"),
    *("osnet_ain_x1_0", "osnet_ain_x0_75", "osnet_ain_x0_5", "osnet_ain_x0_25"),
)


def module_of(sources: Path, name: str) -> Any:
    """Returns the authors' module of OSNets; their package itself would ask for much that is of no use here."""
    stem = "osnet_ain" if "_ain_" in name else "osnet"
    path = sources / "torchreid" / "torchreid" / "models" / f"{stem}.py"
    spec = importlib.util.spec_from_file_location(stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(sources: Path, name: str, small: bool) -> Any:
    """Returns the network, with random weights."""
    torch.manual_seed(SEED)
    module = module_of(sources, name)
    if not small:
        return getattr(module, name)(num_classes=5, pretrained=False)
    blocks = [module.OSBlock] * 3
    if "_ain_" in name:
        inner = module.OSBlockINin
        blocks = [[inner, inner], [module.OSBlock, inner], [inner, module.OSBlock]]
    start = {"IN": "_ibn_" in name, "conv1_IN": "_ain_" in name}
    return module.OSNet(5, blocks, [2, 2, 2], [8, 64, 64, 128], feature_dim=64, **start)


def randomise(network: Any, pictures: Any, small: bool) -> None:
    """Gives every parameter a part in the answer, and keeps the maps near one in size."""
    random = torch.Generator().manual_seed(SEED)

    def uniform(tensor: Any, low: float, high: float) -> None:
        numbers = torch.rand(tensor.shape, generator=random) * (high - low) + low
        tensor.data.copy_((numbers * 8).round() / 8 if small else numbers)

    with torch.no_grad():
        for parameter in network.parameters():
            uniform(parameter, -1, 1)
            if parameter.dim() > 1:
                parameter.data *= 2.0 ** round(np.log2(3 * parameter[0].numel() ** -0.5))
        kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.InstanceNorm2d)
        for norm in (module for module in network.modules() if isinstance(module, kinds)):
            uniform(norm.weight, 0.5, 1.5)
            if not isinstance(norm, torch.nn.InstanceNorm2d):
                norm.momentum = 1.0
        network.train()
        network(pictures)
        for norm in (module for module in network.modules() if isinstance(module, kinds[:2])):
            norm.momentum = 0.1
            norm.running_var.clamp_(min=0.25)  # a smaller one would blow rounding errors up, layer by layer
    network.eval()


def main() -> None:
    """Makes the networks that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--old-format", action="store_true", help="the file format of torch before 1.6")
    parser.add_argument("--bare", action="store_true", help="save the weights alone, without the trainer's notes")
    parser.add_argument("--wrapped", action="store_true", help="as of a network that was trained on several GPUs")
    parser.add_argument("names", nargs="+", choices=VARIANTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        network = build(options.sources, name, options.small)
        shape = SMALL_PICTURES if options.small else PICTURES
        patches = (shape[0], shape[1], shape[2] // 4, shape[3] // 4)
        pixels = np.random.default_rng(SEED).integers(0, 256, patches, np.uint8).repeat(4, 2).repeat(4, 3)
        mean, deviation = (torch.tensor(numbers).reshape(3, 1, 1) for numbers in (MEAN, DEVIATION))
        pictures = (torch.from_numpy(pixels).float() / 255 - mean) / deviation
        randomise(network, pictures, options.small)
        with torch.no_grad():
            features = network(pictures).numpy()
        optimiser = torch.optim.Adam(network.parameters(), amsgrad=True)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimiser, [20, 40])
        saved: Any = torch.nn.DataParallel(network).state_dict() if options.wrapped else network.state_dict()
        if not options.bare:
            rank1 = np.arange(3, dtype=np.float32)[1] / 2  # a number of NumPy's own, as the authors' trainer saves
            saved = {
                "state_dict": saved,
                "epoch": 60,
                "rank1": rank1,
                "optimizer": optimiser.state_dict(),
                "scheduler": scheduler.state_dict(),
            }
        torch.save(saved, options.out / f"{name}.pth", _use_new_zipfile_serialization=not options.old_format)
        np.savez_compressed(options.out / f"{name}.npz", pictures=pixels, features=features)
        trained = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("classifier"))
        print(name, trained, features.shape, float(np.abs(features).max()))


if __name__ == "__main__":
    main()
