"""The process that reads checkpoints: `python -m watchline.detectors.importer.child JOB BOUNDS`."""

from __future__ import annotations

import hashlib  # before memory is bounded: where its library cannot be mapped, each hash that lacks is logged at length
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypedDict

from watchline.detectors.confined import answer
from watchline.detectors.runtime import reason_of
from watchline.streams.errors import ModelError


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


def main(text: str, bounds: str) -> int:
    """Does the job that `text` describes, prints the answer and returns the exit status."""
    job: Job = json.loads(text)
    return answer(bounds, Path(job["source"]), lambda: _convert(job) if job["target"] else _describe(job))


def _convert(job: Job) -> str:
    """Writes the ONNX of `job` and returns the SHA-256 of what was written."""
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
    except MemoryError:
        raise
    except Exception as error:  # ONNX's and ONNX Runtime's errors share no base class
        reason = str(error) if isinstance(error, ModelError) else f"self-check: {reason_of(error)}"
        raise ModelError(f"{source.name}: {reason}") from error
    return model


def _describe(job: Job) -> dict[str, object]:
    """Returns the description of the source, without its path."""
    from watchline.detectors.importer.description import describe_file

    size = (job["size"][0], job["size"][1]) if job["size"] else None
    fields = asdict(describe_file(Path(job["source"]), size))
    del fields["path"]
    return fields


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
