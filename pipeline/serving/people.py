"""What describes the people of a site: their bodies, and their faces where the site says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchline.pipeline.crop_faces import CropFaces
from watchline.pipeline.live.describing import Described
from watchline.reid.describe import BodyEmbedder, FaceEmbedder, describe
from watchline.reid.tracklet import Tracklet


@dataclass(frozen=True, slots=True)
class FaceParts:
    """What describes faces.

    Attributes:
        finder: finds them.
        embedder: makes vectors of them.
    """

    finder: CropFaces
    embedder: FaceEmbedder


@dataclass(frozen=True, slots=True)
class People:
    """What describes people. Safe to use from several threads at once, as its networks are.

    Attributes:
        body: makes vectors of their pictures.
        faces: describes their faces; None: nothing does.
    """

    body: BodyEmbedder
    faces: FaceParts | None = None

    def describe(self, tracklets: Sequence[Tracklet]) -> list[Described]:
        """Returns tracklets with their faces, and the vectors of each.

        Raises:
            ModelError: a model failed; says which.
        """
        face = None
        if self.faces is not None:
            face = self.faces.embedder
            tracklets = [self.faces.finder.find(tracklet) for tracklet in tracklets]
        vectors = describe(tracklets, self.body, face)
        return [Described(*each) for each in zip(tracklets, vectors, strict=True)]
