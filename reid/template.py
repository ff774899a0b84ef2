"""Template: what is known of the person that is looked for: several pictures, and where each came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Self

import numpy as np

from watchline.detectors.boxes import F32, expect
from watchline.reid.centring import CameraMeans, centred
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.features import unit
from watchline.reid.index import of_unit_length
from watchline.streams.errors import UsageError

LIFETIME_S: Final[Mapping[Kind, float]] = MappingProxyType({Kind.BODY: 24 * 3600.0, Kind.FACE: math.inf})
"""How long a picture serves, seconds: clothes are changed, a face stays until the case ends."""

MOST_SHOTS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture, or tracklet, of the person.

    Attributes:
        key: by which it is removed again; no other shot of the template has it.
        model: what made the vector, and of which kind it is.
        vector: (D,) float32 of length 1.
        camera: that took it; "" for a photo of no camera of the site.
        source: the photo or sighting that it is from.
        added_by: who added it.
        added_at: when, UTC seconds.
        taken_at: when the person looked like this, UTC seconds: its lifetime begins here.
        quality: how good it is, in [0, 1]; NaN where not known.

    Raises:
        ValueError: a wrong dtype or shape, a vector that is not of length 1, a time that is none.
    """

    key: str
    model: EmbeddingModel
    vector: F32
    camera: str
    source: str
    added_by: str
    added_at: float
    taken_at: float
    quality: float

    def __post_init__(self) -> None:
        expect("vector", self.vector, np.float32, (self.model.dimension,))
        if not of_unit_length(self.vector[None]).all():
            raise ValueError(f"vector of shot {self.key!r}: want finite numbers, and the length 1")
        if not (math.isfinite(self.added_at) and math.isfinite(self.taken_at)):
            raise ValueError(f"shot {self.key!r}: want times, got {self.added_at} and {self.taken_at}")


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The shots of one person by one model. It never changes: adding and removing make another one.

    Attributes:
        model: what made the vectors of all shots; body and face are two templates.
        shots: in the order in which they were added.
        lifetime_s: how long a shot serves.
    """

    model: EmbeddingModel
    shots: tuple[Shot, ...]
    lifetime_s: float

    @classmethod
    def of(cls, *shots: Shot, lifetime_s: Mapping[Kind, float] = LIFETIME_S) -> Self:
        """Returns the template of `shots`.

        Raises:
            UsageError: there are none, more than MOST_SHOTS, they are of several models, or two have one key.
        """
        if not shots:
            raise UsageError("a template needs a picture: add one")
        template = cls(shots[0].model, (), lifetime_s[shots[0].model.kind])
        for shot in shots:
            template = template.adding(shot)
        return template

    def __len__(self) -> int:
        return len(self.shots)

    def adding(self, shot: Shot) -> Self:
        """Returns the template with one shot more.

        Raises:
            UsageError: it is of another kind or model, its key is there already, or there is no room.
        """
        if (shot.model.kind, shot.model.sha256) != (self.model.kind, self.model.sha256):
            raise UsageError(
                f"{shot.source}: described by {shot.model.name} ({shot.model.kind}), the template by "
                f"{self.model.name} ({self.model.kind}); these do not compare: describe it by the same model"
            )
        if any(shot.key == each.key for each in self.shots):
            raise UsageError(f"{shot.source}: the template has a picture {shot.key!r} already; remove that one first")
        if len(self.shots) >= MOST_SHOTS:
            raise UsageError(f"{shot.source}: the template has {MOST_SHOTS} pictures already; remove one first")
        return replace(self, shots=(*self.shots, shot))

    def removing(self, key: str) -> Self:
        """Returns the template without the shot `key`: as if it had never been added.

        Raises:
            UsageError: there is none of that key.
        """
        kept = tuple(each for each in self.shots if each.key != key)
        if len(kept) == len(self.shots):
            held = ", ".join(each.key for each in self.shots) or "none"
            raise UsageError(f"the template has no picture {key!r}; those that it has: {held}")
        return replace(self, shots=kept)

    def at(self, now: float) -> Self:
        """Returns the template of what still serves at `now`, UTC seconds; it may have no shots left."""
        return replace(self, shots=tuple(each for each in self.shots if self.expires_at(each) > now))

    def expires_at(self, shot: Shot) -> float:
        """Returns when a shot ceases to serve, UTC seconds; infinity for never."""
        return shot.taken_at + self.lifetime_s

    def vector(self, means: CameraMeans | None = None) -> F32:
        """Returns (D,) float32 of length 1: the mean of the shots, each centred first where there are `means`.

        Raises:
            UsageError: it has no shots.
        """
        if not self.shots:
            raise UsageError("the template has no picture left: all were removed or are too old; add one")
        vectors = np.stack([each.vector for each in self.shots])
        if means is not None:
            vectors = centred(vectors, [each.camera for each in self.shots], means)
        mean: F32 = unit(vectors.mean(axis=0, keepdims=True))[0]
        return mean
