"""The process that decodes photos: `python -m watchline.pipeline.cases.photo_child JOB BOUNDS`, the photo on stdin.

What comes back are bare pixels: whatever a file may hide, no decoder of the main process ever sees it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final, TypedDict

from watchline.detectors.confined import WithBytes, answer
from watchline.streams.errors import StreamError

NAME: Final = "photo"


class Job(TypedDict):
    """What the process is to do: read `bytes` from stdin, and decode them. It is told no name: others can list it."""

    bytes: int


def main(text: str, bounds: str) -> int:
    """Does the job that `text` describes, prints the answer and returns the exit status."""
    job: Job = json.loads(text)
    return answer(bounds, Path(NAME), lambda: _decode(job))


def _decode(job: Job) -> WithBytes:
    """Returns height and width, and the pixels, uint8 RGB, row by row."""
    from watchline.pipeline.cropping import decode

    try:
        rgb = decode(sys.stdin.buffer.read(job["bytes"]))
    except ValueError as error:
        raise StreamError(f"{NAME}: {error}") from error
    return WithBytes(rgb.shape[:2], rgb.data)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
