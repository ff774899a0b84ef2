"""Our side of the embedding benchmark: CLIP DETECTIONS MODEL CACHE."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.embedding_side import BATCH, Picture, people_of, serve
from watchline.detectors.fetch import fetch
from watchline.pipeline.embedding import open_embedder
from watchline.streams.opening import open_source


def main() -> None:
    """Serves turns."""
    import cv2

    cv2.setNumThreads(1)
    clip, detections, model, cache = sys.argv[1:]
    embedder = open_embedder(model, Path(cache), lambda entry: fetch(entry, Path(cache)), "cpu")

    def frames() -> Iterator[Picture]:
        source = open_source(clip)
        try:
            while frame := source.read():
                yield frame.rgb()
        finally:
            source.close()

    assert BATCH == 8
    serve(frames, embedder.embed, people_of(Path(detections)))


if __name__ == "__main__":
    main()
