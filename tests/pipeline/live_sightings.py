"""What is said of sightings at a site where all is well, and people who were never there."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from tests.pipeline.live_statuses import tally
from watchline.pipeline.live.describing import Described, Undescribed, Vectors
from watchline.pipeline.live.seeing import SeeingStatus, Spared, Unkept
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.live.tally import STAGE_BOUNDS_S
from watchline.pipeline.metrics.facts import StoreFacts
from watchline.pipeline.store.sighting import Provenance, Sighting, StoredVector
from watchline.reid.collector import Gathered
from watchline.reid.embeddings import EmbeddingModel, Kind, TrackletEmbedding
from watchline.reid.tracklet import Crop, Tracklet
from watchline.streams.frame import ClockSource, Frame
from watchline.trackers.tracks import Tracks

MODEL = EmbeddingModel("scripted", "0" * 64, Kind.BODY, 4)
MADE_BY = Provenance("live", "people", "1" * 64, "bytetrack default", "2" * 64, "0.1.0")


def seeing(*cameras: str) -> SeeingStatus:
    """Twenty tracklets of each camera, all stored; times are tallied as they pass."""
    now = int(time.monotonic())
    return SeeingStatus(
        dict.fromkeys(cameras, 20), 20 * len(cameras), 20 * len(cameras), dict.fromkeys((str(r) for r in Unkept), 0),
        dict.fromkeys((str(r) for r in Undescribed), 0), 0, 0, 0, dict.fromkeys((str(r) for r in Spared), 0),
        {"body": 100 * len(cameras), "face": 0},
        tally(STAGE_BOUNDS_S, 0.0005, 50 * now), tally(STAGE_BOUNDS_S, 0.02, now), PoolState.RUNNING, "", 0, 0.1,
    )  # fmt: skip


def store() -> StoreFacts:
    """A store that takes all."""
    purged = dict.fromkeys(("sightings", "crops", "vectors"), 0)
    return StoreFacts(40, {"disk": 0, "queue_full": 0}, 1, 1 << 20, False, "", purged)


def make_tracklet(
    camera: str = "cam", track_id: int = 1, part: int = 0, crops: int = 2, *, is_last: bool = True
) -> Tracklet:
    """Half a second of a person, with grey pictures of 100 x 50 pixels."""
    rgb = np.full((100, 50, 3), 90, np.uint8)
    box = np.array([10, 10, 60, 110], np.float32)
    pictures = tuple(Crop(rgb, box, np.empty((0, 2), np.float32), 0.9, 0.8, i / 10, 1e9 + i / 10) for i in range(crops))
    path = np.array([[0, 10, 10, 60, 110], [0.5, 12, 10, 62, 110]], np.float32)
    return Tracklet(
        camera=camera, track_id=track_id, part=part, label="person", start_pts_s=0.0, end_pts_s=0.5, started_at=1e9,
        ended_at=1e9 + 0.5, clock=ClockSource.ARRIVAL, frames=3, best_score=0.9, crops=pictures,
        faces=(), is_last=is_last, reason="" if crops else "too small", path=path,
        frame_width=640, frame_height=360,
    )  # fmt: skip


class ScriptedLooks:
    """Every frame ends a tracklet of each track in it; `finish` ends one more, of track 99."""

    def __init__(self, camera: str, labels: tuple[str, ...], *, lasts: bool = True) -> None:
        self.camera, self.labels, self.lasts = camera, labels, lasts
        self.frames = 0
        self.gathered = Gathered()

    def look(self, frame: Frame, tracks: Tracks) -> list[Tracklet]:
        part, self.frames = self.frames, self.frames + 1
        self.gathered.given_up += 1
        return [
            make_tracklet(frame.camera, track_id, part, is_last=self.lasts) for track_id in tracks.track_id.tolist()
        ]

    def finish(self) -> list[Tracklet]:
        return [make_tracklet(self.camera, 99)]


def vectors_of(tracklets: Sequence[Tracklet]) -> list[Described]:
    """A vector that says nothing, for each."""
    vector = np.full(4, 0.5, np.float32)
    return [Described(each, (TrackletEmbedding(MODEL, vector, 0.0, len(each.crops)),)) for each in tracklets]


def make_sighting(tracklet: Tracklet, vectors: Vectors, track_key: str, provenance: Provenance) -> Sighting:
    """What is stored of a tracklet, without pictures."""
    stored = tuple(StoredVector(v.model, v.vector.astype(np.float16), v.spread, v.crops, 0.8) for v in vectors)
    return Sighting(
        f"{tracklet.track_id:032x}", track_key, tracklet.camera, tracklet.track_id, tracklet.part, tracklet.label,
        tracklet.start_pts_s, tracklet.end_pts_s, tracklet.started_at, tracklet.ended_at, str(tracklet.clock),
        tracklet.frames, tracklet.best_score, 0.8, tracklet.reason, (), stored, tracklet.path,
        tracklet.frame_width, tracklet.frame_height, provenance,
    )  # fmt: skip
