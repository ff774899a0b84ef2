"""The ways to rank a gallery whose worth `watchline eval reid` tells: each but the last changes one thing.

    cosine           likeness of the vectors, scaled to length 1
    euclidean        distance of the vectors as the network gave them
    camera_centred   cosine, after the mean of the camera's gallery pictures was taken off: what a camera does to
                     all pictures (light, colour, view) says nothing of people
    multi_shot       cosine; the query is the mean of the query's picture and all pictures in the gallery of the same
                     person from the same camera, which the protocol leaves out of the ranking anyway: what one
                     camera saw of the person
    tracklets        cosine; the gallery is ranked by tracklets, each the mean of its pictures: those of one person,
                     camera, recording and track. A picture without a track is one on its own, unless its name, of
                     the Market-1501 form, tells the recording. Average precision over tracklets is not comparable
                     with that over pictures
    reranked         cosine, re-ranked by k-reciprocal neighbours (k1 = 20, k2 = 6, lambda = 0.3)
    combined         camera_centred, multi_shot and tracklets at once: what a search does

Means are of vectors of length 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.reid.evaluate import Labels, Likeness, Scores, measure
from watchline.reid.features import DISTRACTOR, JUNK, UNKNOWN, FeatureSet, market_name, unit
from watchline.reid.rerank import rerank
from watchline.streams.errors import UsageError

VARIANTS: Final = ("cosine", "euclidean", "camera_centred", "multi_shot", "tracklets", "reranked", "combined")

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Features made ready to be measured: what does not count is left out.

    Attributes:
        features: of queries and gallery.
        labels: of each row.
        query: rows that are asked for. Where the file marks none: each picture of a known person, against all others.
        gallery: rows that are ranked.
        all_ask: the file marks no queries.
        junk: pictures that were left out as junk.
        unknown: pictures that were left out because nobody said who it is.
    """

    features: FeatureSet
    labels: Labels
    query: Rows
    gallery: Rows
    all_ask: bool
    junk: int
    unknown: int

    @classmethod
    def of(cls, features: FeatureSet) -> Self:
        """Returns the trial of `features`.

        Raises:
            UsageError: there are none, or it is not said who is in the pictures, or which camera took them.
        """
        if not len(features):
            raise UsageError("holds no features; nothing can be measured")
        person = features.person_id
        if not (person > DISTRACTOR).any():
            raise UsageError("does not say who is in the pictures (person_id); nothing can be measured")
        nowhere = (person > DISTRACTOR) & (features.camera == "")
        if nowhere.any():
            raise UsageError(
                f"does not say which camera took {nowhere.sum()} of the pictures of people (camera), such as "
                f"{str(features.names[nowhere.argmax()])!r}; nothing can be measured"
            )
        kept = features.take(person >= DISTRACTOR)
        _, camera = np.unique(kept.camera, return_inverse=True)
        labels = Labels(kept.person_id, camera.astype(np.int32))
        known = kept.person_id > DISTRACTOR
        query, gallery = np.nonzero(kept.query & known)[0], np.nonzero(~kept.query)[0]
        all_ask = not kept.query.any()
        if all_ask:
            query, gallery = np.nonzero(known)[0], np.arange(len(kept))
        if not len(query) or not len(gallery):
            raise UsageError(
                f"has no {'gallery' if len(query) else 'query of a known person'}; nothing can be measured"
            )
        return cls(kept, labels, query, gallery, all_ask, int((person == JUNK).sum()), int((person <= UNKNOWN).sum()))

    def scores(self) -> Iterator[tuple[str, Scores]]:
        """Yields each variant's name and worth, in the order of VARIANTS, as they are ready.

        Raises:
            UsageError: no query has a right picture in the gallery.
        """
        vectors = self.features.unit()
        yield "cosine", self.measure(_cosine(vectors[self.query], vectors[self.gallery]))
        raw = _within_range(self.features.vectors)
        yield "euclidean", self.measure(_euclidean(raw[self.query], raw[self.gallery]))
        centred = self._centred(vectors)
        yield "camera_centred", self.measure(_cosine(centred[self.query], centred[self.gallery]))
        centred_shots, (first, centred_tracklets) = self._shots(centred), self._tracklets(centred)
        del centred
        yield "multi_shot", self.measure(_cosine(self._shots(vectors), vectors[self.gallery]))
        _, tracklets = self._tracklets(vectors)
        yield "tracklets", self.measure(_cosine(vectors[self.query], tracklets), self.labels.take(first))
        yield "reranked", self.measure(rerank(vectors, self.query, self.gallery))
        yield "combined", self.measure(_cosine(centred_shots, centred_tracklets), self.labels.take(first))

    def measure(self, likeness: Likeness, gallery: Labels | None = None) -> Scores:
        """Returns what a ranking of the gallery is worth; `gallery` are its labels where it is not of pictures."""
        ranked = self.labels.take(self.gallery) if gallery is None else gallery
        return measure(likeness, self.labels.take(self.query), ranked)

    def _centred(self, vectors: F32) -> F32:
        """Returns (N, D): the mean of its camera's gallery taken off; a camera with no gallery has that of all."""
        camera = self.labels.camera
        seen = vectors[self.gallery]
        means = np.repeat(seen.mean(axis=0, keepdims=True), int(camera.max()) + 1, axis=0)
        for number in np.unique(camera[self.gallery]):
            means[number] = seen[camera[self.gallery] == number].mean(axis=0)
        return unit(vectors - means[camera])

    def _shots(self, vectors: F32) -> F32:
        """Returns (Q, D): the mean of each query and of the gallery of the same person and camera."""
        group = groups(self.labels.person, self.labels.camera)
        total = np.zeros((int(group.max()) + 1, vectors.shape[1]), np.float32)
        for number, mean, count in means_of(group[self.gallery], vectors[self.gallery]):
            total[number] = mean * count
        shots = total[group[self.query]]
        alone = ~np.isin(self.query, self.gallery)  # one that is of the gallery too is in the sum already
        shots[alone] += vectors[self.query[alone]]
        return unit(shots)

    def _tracklets(self, vectors: F32) -> tuple[Rows, F32]:
        """Returns (T,) the row of each tracklet's first picture, and (T, D) their means."""
        rows, labels = self.gallery, self.labels.take(self.gallery)
        recording, track = tracks(self.features.take(rows))
        alone = np.where(track < 0, np.arange(len(rows)), -1)
        group = groups(labels.person, labels.camera, recording, track, alone)
        _, first = np.unique(group, return_index=True)
        means = np.stack([mean for _, mean, _ in means_of(group, vectors[rows])])
        return rows[first], unit(means)


def tracks(features: FeatureSet) -> tuple[Rows, Rows]:
    """Returns (N,) the number of each picture's recording, and (N,) its track, -1 for none.

    Cut-out pictures have no track, but names of the Market-1501 form say whom one recording shows.
    """
    recording, track = features.file.tolist(), features.track_id.copy()
    for row in np.nonzero((track < 0) & (features.person_id > DISTRACTOR))[0].tolist():
        told = market_name(PurePath(features.names[row]).name)
        if told and told[0] == features.person_id[row]:
            track[row], recording[row] = told[0], told[2]
    _, number = np.unique(recording, return_inverse=True)
    return number.astype(np.int64), track


def _cosine(query: F32, gallery: F32) -> Likeness:
    return lambda rows: query[rows] @ gallery.T


def _euclidean(query: F32, gallery: F32) -> Likeness:
    # Of the square of the distance, the part that is the same for the whole gallery is left off.
    length = np.einsum("nd,nd->n", gallery, gallery)
    return lambda rows: 2 * (query[rows] @ gallery.T) - length


def _within_range(vectors: F32) -> F32:
    """Returns `vectors` times a power of two, so that squares stay finite; no ranking and no digit changes."""
    _, exponent = np.frexp(np.abs(vectors).max())
    within: F32 = np.ldexp(vectors, -exponent)
    return within


def groups(*keys: NDArray[np.integer]) -> Rows:
    """Returns (N,) numbers, 0 to the count of groups - 1: equal where all of `keys` are."""
    _, group = np.unique(np.stack([key.astype(np.int64) for key in keys], axis=1), axis=0, return_inverse=True)
    return group.reshape(-1).astype(np.int64)


def means_of(group: Rows, vectors: F32) -> Iterator[tuple[int, F32, int]]:
    """Yields each group's number, in ascending order, the mean (D,) of its rows and how many these are."""
    order = np.argsort(group, kind="stable")
    numbers, start = np.unique(group[order], return_index=True)
    for number, rows in zip(numbers.tolist(), np.split(order, start[1:]), strict=True):
        yield number, vectors[rows].mean(axis=0), len(rows)
