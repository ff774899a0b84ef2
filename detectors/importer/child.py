"""The process that reads foreign files: `python -m watchline.detectors.importer.child JOB`.

JOB is JSON. The answer is one line of JSON on stdout: `{"ok": ...}`, or `{"error": "the reason"}` with exit status 1.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, TypedDict

from watchline.streams.errors import ModelError

if sys.platform != "win32":
    import resource

_MAX_REASON: Final = 1000


class Job(TypedDict):
    """What the child is to do.

    `target` is "" to describe `source`, else where the ONNX goes; `size` is height and width, or empty for any, and
    `batch` how many pictures a call brings, 0 for any number; `raw` asks for a head without its last step.
    """

    source: str
    target: str
    sha256: str
    size: list[int]
    batch: int
    raw: bool
    memory_bytes: int


def main(text: str) -> int:
    """Does the job that `text` describes, prints the answer and returns the exit status."""
    job: Job = json.loads(text)
    _limit_memory(job["memory_bytes"])
    try:
        print(json.dumps({"ok": _convert(job) if job["target"] else _describe(job)}))  # noqa: T201
        return 0
    except MemoryError:
        reason = f"{Path(job['source']).name}: needs more than {job['memory_bytes']:,} bytes of memory"
    except ModelError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  # the border of the process: whatever it is becomes one line
        reason = f"{Path(job['source']).name}: {type(error).__name__}: {error}"
    print(json.dumps({"error": " ".join(reason.split())[:_MAX_REASON]}))  # noqa: T201
    return 1


def _limit_memory(limit: int) -> None:
    """Bounds the address space where the system can, so that a hostile file fails here and not the machine."""
    if sys.platform != "win32":
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
        except ValueError:  # macOS refuses; the time limit of the parent still holds
            return


def _convert(job: Job) -> str:
    """Writes the ONNX of `job` and returns the SHA-256 of what was written."""
    import hashlib

    from watchline.detectors.importer.description import hash_model, is_ir

    source, size = Path(job["source"]), (job["size"][0], job["size"][1]) if job["size"] else None
    model = (_from_ir if is_ir(source) else _from_checkpoint)(source, job, size)
    if hash_model(source) != job["sha256"]:
        raise ModelError(f"{source.name}: changed while it was read; import it again")
    Path(job["target"]).write_bytes(model)
    return hashlib.sha256(model).hexdigest()


def _from_ir(source: Path, job: Job, size: tuple[int, int] | None) -> bytes:
    from watchline.detectors.importer.ir_import import onnx_of

    if job["batch"] or job["raw"]:
        raise ModelError(f"{source.name}: an OpenVINO network keeps its batch and its head; leave these options out")
    return onnx_of(source, job["sha256"], size)


def _from_checkpoint(source: Path, job: Job, size: tuple[int, int] | None) -> bytes:
    from watchline.detectors.importer.checkpoint import Checkpoint
    from watchline.detectors.importer.network import build
    from watchline.detectors.importer.selfcheck import check

    with Checkpoint(source) as checkpoint:
        network = build(checkpoint, size, job["batch"], raw=job["raw"])
    card = replace(network.card, source_sha256=job["sha256"], source_name=source.name)
    model = network.onnx(card)
    try:
        check(model, card, network.head, network.graph.size, network.graph.batch)
    except ModelError as error:
        raise ModelError(f"{source.name}: {error}") from error
    return model


def _describe(job: Job) -> dict[str, object]:
    """Returns the description of the source, without its path."""
    from watchline.detectors.importer.description import describe_file

    size = (job["size"][0], job["size"][1]) if job["size"] else None
    fields = asdict(describe_file(Path(job["source"]), size))
    del fields["path"]
    return fields


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
