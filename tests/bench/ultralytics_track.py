"""The peer's side of the road benchmark; run by the peers' own Python: CLIP MODEL THREADS -> one line of JSON."""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    import torch
    from ultralytics import YOLO

    clip, model, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    network = YOLO(model)
    started = time.perf_counter()
    frames = tracks = 0
    for result in network.track(source=clip, stream=True, tracker="bytetrack.yaml", imgsz=640, verbose=False):
        frames += 1
        tracks += 0 if result.boxes.id is None else len(result.boxes.id)
    print(json.dumps({"frames": frames, "boxes": tracks, "wall_s": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
