"""Tracks read back from a store: whole, with all their parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.pipeline.store.asking import camera_and_track, is_id, utc_text
from watchline.pipeline.store.seam import Selection, SightingStore, Summary
from watchline.pipeline.store.sighting import Sighting, StoredCrop, StoredVector
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.streams.errors import UsageError

_PAGE: Final = 500  # summaries read at once
_MOST_TOLD: Final = 5  # ids in an error
_GONE: Final = "another process erased it"


@dataclass(frozen=True, slots=True, eq=False)
class WholeTrack:
    """A track with everything that is stored of it.

    Attributes:
        summary: what its parts tell together.
        parts: in order.
    """

    summary: Summary
    parts: tuple[Sighting, ...]

    @property
    def crops(self) -> tuple[StoredCrop, ...]:
        """Pictures of all parts that are still kept, in order of time."""
        return tuple(crop for part in self.parts for crop in part.crops if crop.jpeg)

    @property
    def vectors(self) -> tuple[StoredVector, ...]:
        """Vectors of all parts."""
        return tuple(vector for part in self.parts for vector in part.vectors)

    @property
    def frame(self) -> tuple[int, int]:
        """Width and height of the frames of its last part, pixels."""
        return self.parts[-1].frame_width, self.parts[-1].frame_height

    def scale_of(self, part: Sighting) -> tuple[float, float]:
        """Returns pixels of `frame` a pixel of a part's frames, across and down."""
        width, height = self.frame
        return width / part.frame_width, height / part.frame_height

    @property
    def path(self) -> F32:
        """(M, 5) float32: seconds since the summary's `start_pts_s` and box in `frame`, of all parts."""
        moved = [np.zeros((0, 5), np.float32)]
        for part in self.parts:
            begun_s = part.start_pts_s - self.summary.start_pts_s
            moved.append((part.path * (1, *self.scale_of(part) * 2) + (begun_s, 0, 0, 0, 0)).astype(np.float32))
        return np.concatenate(moved)


def tracks_of(store: SightingStore, selection: Selection) -> Iterator[Summary]:
    """Yields all tracks of a selection, newest first, reading some hundred at a time."""
    before: tuple[float, str] | None = None
    while page := store.find(selection, _PAGE, before):
        yield from page
        before = (page[-1].started_at, page[-1].track_key)


def whole(store: SightingStore, summary: Summary) -> WholeTrack:
    """Returns a track with the parts that are still there.

    Raises:
        UsageError: it was erased meanwhile.
    """
    parts = []
    for sighting_id in summary.ids:
        try:
            parts.append(store.get(sighting_id))
        except UsageError:  # erased since the summary was read
            continue
    if not parts:
        raise UsageError(f"{summary.camera}:{summary.track_id}: {_GONE} while it was read")
    return WholeTrack(summary, tuple(parts))


def named(store: SightingStore, reference: str) -> list[Summary]:
    """Returns the tracks that ID or CAMERA:TRACK means, whole and newest first.

    Track ids begin anew with each run, so CAMERA:TRACK may mean several; an id means one.

    Raises:
        UsageError: there is none, or `reference` is neither.
    """
    if is_id(reference):
        sighting = store.get(reference.lower())
        of_track = tracks_of(store, Selection(track=(sighting.camera, sighting.track_id)))
        return [summary for summary in of_track if summary.track_key == sighting.track_key]
    found = list(tracks_of(store, Selection(track=camera_and_track(reference))))
    if not found:
        raise UsageError(f"{reference}: no such track in the store; `watchline sightings list` shows what is there")
    return found


def the_one(store: SightingStore, reference: str) -> Summary:
    """Returns the track that ID or CAMERA:TRACK means.

    Raises:
        UsageError: there is none, or there are several.
    """
    found = named(store, reference)
    if len(found) > 1:
        ids = ", ".join(f"{each.ids[0]} ({utc_text(each.started_at)})" for each in found[:_MOST_TOLD])
        more = ", ..." if len(found) > _MOST_TOLD else ""
        raise UsageError(f"{reference}: {len(found)} tracks have this id; name one by its own: {ids}{more}")
    return found[0]


def describers(store: SightingStore) -> Mapping[Kind, str]:
    """Returns the name of the model that makes vectors of each kind; where several did, how many."""
    names: dict[Kind, list[str]] = {}
    for model, _count in store.models():
        names.setdefault(model.kind, []).append(model.name)
    return {kind: found[0] if len(found) == 1 else f"{kind} ({len(found)} models)" for kind, found in names.items()}


def models_of(track: WholeTrack) -> list[EmbeddingModel]:
    """Returns the models that described a track, each once."""
    return list(dict.fromkeys(vector.model for vector in track.vectors))
