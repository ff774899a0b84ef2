"""The process that builds a TensorRT engine: `python -m watchline.detectors.tensorrt_build JOB`.

Building takes minutes and gigabytes, and may crash: here it does so alone. The answer is one line of JSON on stdout:
`{"ok": seconds}`, or `{"error": "the reason"}` with exit status 1.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from watchline.detectors.card import ModelCard
from watchline.detectors.engine import GREY
from watchline.detectors.engine_cache import EngineKey
from watchline.detectors.gpu import why_not
from watchline.detectors.tensorrt import NETWORK, input_name, open_built
from watchline.streams.errors import ModelError

_NICENESS = 10  # cameras go first


def main(text: str) -> int:
    """Does the job that `text` describes, prints the answer and returns the exit status."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    started = time.monotonic()
    try:
        job = json.loads(text)
        key = EngineKey(**{**job["key"], "batch": tuple(job["key"]["batch"])})
        build(key, Path(job["folder"]), ModelCard.from_metadata(job["card"]))
    except ModelError as error:
        print(json.dumps({"error": str(error)}))  # noqa: T201
        return 1
    except Exception as error:  # noqa: BLE001  # the border of the process: whatever it is becomes one line
        print(json.dumps({"error": " ".join(f"{type(error).__name__}: {error}".split())[:1000]}))  # noqa: T201
        return 1
    print(json.dumps({"ok": round(time.monotonic() - started, 1)}))  # noqa: T201
    return 0


def build(key: EngineKey, folder: Path, card: ModelCard) -> None:
    """Has ONNX Runtime build the engine for `key` into `folder`, which holds the network, and tries it.

    Raises:
        ModelError: TensorRT does not start or refuses the network; or the engine gives no numbers, as half precision
            does where a network's own are too large for it.
    """
    reason = why_not("tensorrt")
    if reason:
        raise ModelError(reason)
    engine = open_built(folder, key, card, input_name(folder / NETWORK))
    for count in dict.fromkeys(key.batch):
        outputs = engine.run(np.full((count, 3, key.height, key.width), GREY, np.float32))
        if not all(np.isfinite(output).all() for output in outputs):
            raise ModelError(f"the engine gives no finite numbers in {key.precision}; use --device tensorrt-f32")
    if len(list(folder.iterdir())) < 2:
        raise ModelError("ONNX Runtime built no engine: TensorRT knows no layer of this network")


def _end_with_parent() -> None:
    """Ends this process when the one that started it has gone.

    Not before a library that holds the interpreter's lock gives it back.
    """
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
