"""The seam to everything that gives frames: one method, `read`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from watchline.streams.frame import Frame


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What an input says of itself before its first frame is read.

    Attributes:
        kind: "video" or "images".
        width: pixels, as announced.
        height: pixels, as announced.
        fps: average frame rate, frames per second; what the tracker and the annotated video assume.
        frames: announced number of frames; None where the container does not say.
        duration_s: announced duration; None where the container does not say.
        codec: decoder name, or the kinds of image ("jpg, png").
    """

    kind: str
    width: int
    height: int
    fps: float
    frames: int | None
    duration_s: float | None
    codec: str


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What reading has shown so far.

    Attributes:
        decoded: frames given out.
        damaged: packets or pictures that could not be decoded.
        missing: announced frames that never came; 0 where nothing was announced. Final once `read` gave None.
        damage: sentences for a person, at most 20; empty means whole.
    """

    decoded: int
    damaged: int
    missing: int
    damage: tuple[str, ...]


class Source(Protocol):
    """Frames of one camera, in order. Used by one thread at a time."""

    @property
    def camera(self) -> str:
        """The name that its frames carry."""

    @property
    def info(self) -> SourceInfo:
        """What the input says of itself."""

    def read(self) -> Frame | None:
        """Returns the next frame, or None at the end.

        Damage in the middle is skipped, counted and reported, not raised.
        """

    def report(self) -> SourceReport:
        """Returns what reading has shown so far; after the end, the verdict."""

    def close(self) -> None:
        """Releases the input. Safe to call twice."""
