"""One tracker of a comparison, whoever made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np

from tests.bench.tracker_scenes import Frame, Row, Scene, mot_lines

BYTE_TRACK: Final = "ByteTrack"
OC_SORT: Final = "OC-SORT"
FAMILIES: Final = (BYTE_TRACK, OC_SORT)

Update = Callable[..., Any]
Inputs = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Side:
    """One tracker.

    Attributes:
        name: as shown; together with the family it is unique.
        family: one of `FAMILIES`.
        language: that the work is done in.
        make: returns the update of a fresh tracker.
        feed: returns frames as arguments of that update: made beforehand, never timed.
        read: returns ids and boxes of an update's answer.
        package: as PyPI knows it; empty: ours.
        twin: name of the side that must give the same answers; empty: none.
    """

    name: str
    family: str
    language: str
    make: Callable[[], Update]
    feed: Callable[[tuple[Frame, ...]], Inputs]
    read: Callable[[Any], Row]
    package: str = ""
    twin: str = ""

    @property
    def ours(self) -> bool:
        """Is it watchline's?"""
        return not self.package

    @property
    def label(self) -> str:
        """Name and, of a peer, version."""
        return self.name if self.ours else f"{self.name} {version(self.package)}"

    def missing(self) -> str:
        """Returns why it cannot run here; empty: it can."""
        try:
            if self.package:
                version(self.package)
            self.make()
        except PackageNotFoundError:
            return f"{self.package} is not installed in this venv"
        except Exception as error:  # noqa: BLE001 - whatever a foreign package throws is the reason to print
            return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        return ""

    def follow(self, frames: tuple[Frame, ...]) -> list[Row]:
        """Returns the tracks of a fresh tracker, by frame."""
        update = self.make()
        return [self.read(update(*arguments)) for arguments in self.feed(frames)]

    def tracks(self, scene: Scene) -> str:
        """Returns the tracks of a fresh tracker as a text in MOTChallenge form."""
        return "".join(mot_lines(frame, row) for frame, row in enumerate(self.follow(scene.frames), 1))


def as_they_are(frames: tuple[Frame, ...]) -> Inputs:
    """Returns frames as two arguments: boxes and scores."""
    return list(frames)


def row(ids: Any, boxes: Any) -> Row:
    """Returns ids and boxes as arrays of their types, for none of them too."""
    return np.asarray(ids, np.int64).reshape(-1), np.asarray(boxes, np.float64).reshape(-1, 4)
