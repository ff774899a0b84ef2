"""The JSON that the HTTP interface answers with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from watchline.pipeline.live.status import GraphStatus, LaneStatus, PoolStatus
from watchline.pipeline.metrics.facts import SightingFacts
from watchline.pipeline.web.health import standstill
from watchline.streams.redact import redact


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(_Answer):
    """Why there is no other answer."""

    detail: str = Field(description="One sentence.")


class Alive(_Answer):
    """The daemon answers."""

    alive: bool
    detail: str = Field(description="What is wrong with it; empty while nothing is.")


class Standstill(_Answer):
    """A camera of which no frame is processed."""

    id: str
    why: str = Field(description="One sentence.")


class Readiness(_Answer):
    """Whether each camera advanced lately."""

    ready: bool
    cameras: int = Field(description="How many the site has.")
    waiting: list[Standstill] = Field(description="The cameras that did not advance.")


class Camera(_Answer):
    """One camera as it is now. Times are seconds; ages are taken by a clock that nobody sets."""

    id: str
    state: Literal["connecting", "live", "frozen", "offline", "stopped"]
    reason: str | None = Field(description="Why it gives no picture, in one word.")
    sentence: str = Field(description="The same for a person.")
    since_s: float = Field(description="For how long it has been in this state.")
    retry_s: float = Field(description="Until it is tried again.")
    advancing: bool = Field(description="Frames of it are processed.")
    why: str = Field(description="Why they are not; empty while they are.")
    picture: bool = Field(description="It makes sense to ask for its picture.")
    model: str = Field(description="What looks at its frames.")
    weight: float = Field(description="Its share where not all frames can be analysed; 1 is usual.")
    backend: str = Field(description="What decodes it.")
    codec: str
    width: int
    height: int
    fps: float = Field(description="Frames decoded a second, lately.")
    analysed_fps: float = Field(description="Frames detected and tracked a second, lately.")
    age_s: float | None = Field(description="How old the newest processed frame is now.")
    latency_s: float | None = Field(description="How old it was when it had been tracked.")
    last_frame_at: float | None = Field(description="When it was captured, UTC, since 1970.")
    received: int
    processed: int
    dropped: dict[str, int] = Field(description="Frames not processed, by reason.")
    in_flight: int
    undecodable: int = Field(description="Packets of which no picture could be made.")
    reconnects: dict[str, int] = Field(description="Connections and tries that failed, by reason.")
    detections: int
    tracks: int
    active_tracks: int


class Detector(_Answer):
    """The workers of one model."""

    model: str
    state: Literal["running", "restarting", "down"]
    sentence: str = Field(description="Why they are not running; empty while they are.")
    device: str
    workers: int
    waiting: int = Field(description="Frames that wait for a worker.")
    deaths: int
    fallbacks: int


class Sightings(_Answer):
    """What is kept of people seen, since the start."""

    state: Literal["running", "restarting", "down"] = Field(description="Whether vectors of them are made.")
    failing: bool = Field(description="They cannot be written now.")
    sentence: str = Field(description="What is wrong; empty while nothing is.")
    tracklets: int = Field(description="Parts of tracks that ended.")
    waiting: int = Field(description="Those that are not written yet.")
    stored: int
    refused: dict[str, int] = Field(description="Those that were not kept, by reason.")
    undescribed: dict[str, int] = Field(description="Those stored without vectors, by reason.")
    size_bytes: int = Field(description="Of the files of the store.")


class Cameras(_Answer):
    """The whole site."""

    site: str
    version: str
    cameras: list[Camera]
    detectors: list[Detector]
    sightings: Sightings | None = Field(description="Null where the site keeps none.")


def camera(lane: LaneStatus, status: GraphStatus, patience_s: float) -> Camera:
    """Returns what is told of one camera; see `standstill` for the arguments."""
    ingest, why = lane.ingest, standstill(lane, status, patience_s)
    info = ingest.info
    return Camera(
        id=lane.camera,
        state=ingest.state.value,
        reason=ingest.reason,
        sentence=redact(ingest.sentence),
        since_s=_rounded(ingest.since_s),
        retry_s=_rounded(ingest.retry_s),
        advancing=not why,
        why=why,
        picture=not why,
        model=lane.model,
        weight=lane.weight,
        backend=ingest.backend,
        codec=info.codec if info else "",
        width=info.width if info else 0,
        height=info.height if info else 0,
        fps=_rounded(ingest.fps),
        analysed_fps=_rounded(lane.analysed_fps),
        age_s=None if lane.age_s is None else _rounded(lane.age_s + lane.idle_s),
        latency_s=None if lane.age_s is None else _rounded(lane.age_s),
        last_frame_at=lane.last_frame_at,
        received=lane.received,
        processed=lane.processed,
        dropped=dict(lane.dropped),
        in_flight=lane.in_flight,
        undecodable=ingest.counts.undecodable,
        reconnects={str(reason): count for reason, count in ingest.reconnects.items()},
        detections=lane.detections,
        tracks=lane.tracks,
        active_tracks=lane.active_tracks,
    )


def detector(pool: PoolStatus) -> Detector:
    """Returns what is told of the workers of one model."""
    return Detector(
        model=pool.model,
        state=pool.state.value,
        sentence=redact(pool.sentence),
        device=pool.device,
        workers=pool.workers,
        waiting=pool.waiting,
        deaths=pool.deaths,
        fallbacks=pool.fallbacks,
    )


def sightings(facts: SightingFacts) -> Sightings:
    """Returns what is told of sightings."""
    seeing, store = facts.seeing, facts.store
    return Sightings(
        state=seeing.state.value,
        failing=store.failing,
        sentence=redact("; ".join(part for part in (store.sentence, store.clock_sentence, seeing.sentence) if part)),
        tracklets=seeing.ended,
        waiting=seeing.waiting + store.waiting,
        stored=store.stored,
        refused=facts.refused(),
        undescribed=dict(seeing.undescribed),
        size_bytes=store.size_bytes,
    )


def readiness(status: GraphStatus, patience_s: float, absent: Mapping[str, str] = MappingProxyType({})) -> Readiness:
    """Returns which cameras did not advance lately, those that are not read at all (`absent`) among them."""
    told = [(lane.camera, standstill(lane, status, patience_s)) for lane in status.lanes.values()]
    waiting = [Standstill(id=name, why=why) for name, why in (*told, *absent.items()) if why]
    return Readiness(ready=not waiting, cameras=len(status.lanes.keys() | absent.keys()), waiting=waiting)


def _rounded(seconds: float) -> float:
    return round(seconds, 3)
