"""The original's side of the embedding benchmark; run by the peers' own Python: CLIP DETECTIONS WEIGHTS SOURCES.

WEIGHTS is an npz of the network's weights by their names, SOURCES the folder that holds torchreid's repository as
torchreid. The network is the authors' code. Pictures are scaled by OpenCV instead of Pillow, which the authors'
program uses and which takes longer: so both sides see the same pixels, and only the work is compared.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.bench.embedding_side import Picture, Vectors, people_of, serve
from tests.parity.upstream_osnet import DEVIATION, MEAN, module_of

NETWORK = "osnet_x0_25"
SIZE = (128, 256)  # width and height


def main() -> None:
    """Serves turns."""
    clip, detections, weights, sources = sys.argv[1:]
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    network = getattr(module_of(Path(sources), NETWORK), NETWORK)(num_classes=1, pretrained=False)
    state = {name: torch.from_numpy(array).float() for name, array in np.load(weights).items()}
    missing, unknown = network.load_state_dict(state, strict=False)
    unused = ("classifier.weight", "classifier.bias", "num_batches_tracked")
    assert not unknown, unknown
    assert all(name.endswith(unused) for name in missing), missing
    network.eval()
    mean, deviation = (torch.tensor(numbers).reshape(3, 1, 1) for numbers in (MEAN, DEVIATION))

    def embed(pictures: list[Picture]) -> Vectors:
        with torch.no_grad():
            scaled = [cv2.resize(picture, SIZE, interpolation=cv2.INTER_LINEAR) for picture in pictures]
            batch = torch.stack([torch.from_numpy(p).permute(2, 0, 1).float().div(255) for p in scaled])
            vectors = torch.nn.functional.normalize(network((batch - mean) / deviation))
            return np.asarray(vectors.numpy(), np.float32)

    def frames() -> Iterator[Picture]:
        capture = cv2.VideoCapture(clip)
        while (read := capture.read())[0]:
            yield np.asarray(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), np.uint8)

    serve(frames, embed, people_of(Path(detections)))


if __name__ == "__main__":
    main()
