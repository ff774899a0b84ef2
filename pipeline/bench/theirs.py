"""The original's side of a benchmark: `PYTHON theirs.py JOB` in a venv that has PyTorch and ultralytics.

It must not import watchline, which that venv lacks; what both sides share is loaded from the file beside this one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_SCORE, _MOST = 0.25, 300  # those of our detector


class Ultralytics:
    """`predict` on pictures in memory."""

    def __init__(self, job: dict[str, Any]) -> None:
        import numpy as np
        import torch
        from ultralytics import YOLO

        self._torch, self._batch, self._cuda = torch, job["batch"], job["device"] == "cuda"
        stored = np.load(job["frames"], mmap_mode="r")
        self._stored = stored
        # Blue first, as its own reader gives them.
        self._held = [np.ascontiguousarray(stored[i][..., ::-1]) for i in job["held"]]
        self._model = YOLO(job["checkpoint"])
        height, width = job["size"]
        self._how = {
            "imgsz": [height, width],
            "rect": False,
            "conf": _LEAST_SCORE,
            "iou": job["iou"],
            "max_det": _MOST,
            "device": "cuda:0" if self._cuda else "cpu",
            "verbose": False,
            "save": False,
        }
        self._predict(self._held[:1])
        torch.set_num_threads(job["threads"])  # only now: as it chooses its device, it sets a number of its own

    def facts(self) -> dict[str, object]:
        """Returns what really runs."""
        names = ("ultralytics", "torch", "numpy")
        return {
            "runtime": f"torch {self._torch.__version__}",
            "device": str(self._model.predictor.device),
            "provider": "PyTorch",
            "threads": self._torch.get_num_threads(),
            "versions": {name: metadata.version(name) for name in names} | {"python": sys.version.split()[0]},
            "task": str(self._model.task),
            "labels": [str(self._model.names[i]) for i in sorted(self._model.names)],
        }

    def calls(self, part: str, turn: int) -> list[Callable[[], int]]:
        """Returns one call, of PyTorch's own threads."""
        frames = [self._held[(turn + i) % len(self._held)] for i in range(self._batch)]
        if part == "detector":
            return [lambda: len(self._predict(frames))]
        pictures = self._model.predictor.preprocess(frames)

        def infer() -> int:
            with self._torch.inference_mode():
                self._model.predictor.inference(pictures)
            if self._cuda:
                self._torch.cuda.synchronize()
            return len(frames)

        return [infer]

    def find(self) -> list[list[list[float]]]:
        """Returns what is found in each frame: rows of x1, y1, x2, y2 in pixels, score and class."""
        found = []
        for picture in self._stored:
            (result,) = self._predict([picture[..., ::-1].copy()])
            found.append(result.boxes.data.cpu().numpy()[:, :6].astype(float).tolist())
        return found

    def _predict(self, frames: list[Any]) -> list[Any]:
        results: list[Any] = self._model.predict(frames, **self._how)
        return results


def _turns() -> Any:
    spec = importlib.util.spec_from_file_location("watchline_turns", Path(__file__).with_name("turns.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Serves until there are no more requests; returns the exit status."""
    folder = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if entry != folder]  # its files would hide packages of their name
    os.environ.update({"YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false", "YOLO_AUTOINSTALL": "false"})
    turns = _turns()
    job = json.loads(sys.argv[1])
    status: int = turns.serve(turns.claim_stdout(), lambda: Ultralytics(job))
    return status


if __name__ == "__main__":
    sys.exit(main())
