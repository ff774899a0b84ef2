"""The peer's side of the road benchmark; run by the peers' own Python: CLIP MODEL CLASSES THREADS SECONDS FILE.

CLASSES: numbers with commas between them, "" for all. THREADS: PyTorch's; 0 leaves what ultralytics sets. SECONDS: of
work after the first frame, 0 for the whole clip. FILE gets a line of JSON a frame, with what was found and tracked; one
line with times is printed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

LEAST_SCORE = 0.25  # of what counts as found; the tracker is given fainter ones, too


def main() -> None:
    import torch
    from ultralytics import YOLO

    clip, model, classes, threads, seconds, file = sys.argv[1:]
    network = YOLO(model)
    found: list[list[Any]] = []
    # Registered before the tracker's own, which puts tracks in the place of what was found.
    network.add_callback(
        "on_predict_postprocess_end", lambda predictor: found.extend([r.boxes.data] for r in predictor.results)
    )
    chosen = [int(number) for number in classes.split(",")] if classes else None
    started, cpu_before_s = time.perf_counter(), time.process_time()
    for i, result in enumerate(
        network.track(source=clip, stream=True, tracker="bytetrack.yaml", imgsz=640, classes=chosen, verbose=False)
    ):
        if i == 0:
            if int(threads):  # only now: as it chooses its device, ultralytics sets a number of its own
                torch.set_num_threads(int(threads))
            warm_s, cpu_warm_s = time.perf_counter(), time.process_time()
        found[i].append(result.boxes.data if result.boxes.is_track else result.boxes.data[:0])
        if 0 < float(seconds) < time.perf_counter() - warm_s:
            break
    ended_s, cpu_ended_s = time.perf_counter(), time.process_time()
    del found[i + 1 :]
    with Path(file).open("w") as lines:
        for boxes, tracks in found:
            sure = [row for row in boxes.tolist() if row[4] >= LEAST_SCORE]
            print(json.dumps({"boxes": sure, "tracks": tracks.tolist()}), file=lines)
    said = {
        "frames": len(found),
        "wall_s": ended_s - started,
        "cpu_s": cpu_ended_s - cpu_before_s,
        "warm_frames": len(found) - 1,
        "warm_wall_s": ended_s - warm_s,
        "warm_cpu_s": cpu_ended_s - cpu_warm_s,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
