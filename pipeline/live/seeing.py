"""What was seen of people while the daemon runs: tracklets of all cameras, described and handed to the store.

    outlets ──> a collector each (under its lane's lock) ──> Backlog ──> workers: Describer, Sighting ──> store

Looking at a frame costs little and never waits. What cannot be described, or not kept, is counted by its reason.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from watchline.pipeline.live.backlog import Backlog, BacklogBounds, Fate, Seen, Waiting
from watchline.pipeline.live.describing import Described, Describer, Undescribed, Vectors
from watchline.pipeline.live.outcome import Outcome, Outlet
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.live.tally import STAGE_BOUNDS_S, Histogram, Tally
from watchline.pipeline.sightings import TrackKeys
from watchline.pipeline.store.ids import Ids
from watchline.pipeline.store.sighting import Provenance, Sighting
from watchline.reid.collector import Gathered
from watchline.reid.tracklet import Tracklet
from watchline.streams.frame import Frame
from watchline.trackers.tracks import Tracks

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 8  # tracklets described together
_TICK_S: Final = 0.5
_GATHER_S: Final = 0.5
_IDLE_S: Final = 30.0  # a camera without frames for so long has its open tracklets ended
_TELL_AGAIN_S: Final = 60.0


class Unkept(StrEnum):
    """Why a tracklet was not handed to the store."""

    QUEUE_FULL = "queue_full"  # too many waited
    UNFIT = "unfit"  # nothing could be made of it that can be stored
    CLOSED = "closed"  # it came after the end, or the end left no time


class Spared(StrEnum):
    """What was left out of tracklets to stay within bounds."""

    PICTURES = "pictures"  # too many were held at once
    TRACKS = "tracks"  # too many were followed at once


class Looks(Protocol):
    """Follows the tracks of one camera and cuts out pictures; see `reid.collector.Collector`."""

    @property
    def gathered(self) -> Gathered:
        """What it did so far."""

    def look(self, frame: Frame, tracks: Tracks) -> list[Tracklet]:
        """Takes what was seen in a frame; returns the tracklets that ended."""

    def finish(self) -> list[Tracklet]:
        """Returns those that are open, ended."""


Make: TypeAlias = Callable[[Tracklet, Vectors, str, Provenance], Sighting]
"""Makes what is stored of a tracklet, given its vectors and the key of its track."""


@dataclass(frozen=True, slots=True)
class SeeingParts:
    """What `Seeing` is put together from.

    Attributes:
        looks: gives what looks at the frames of a camera, whose class names are known.
        describer: makes vectors.
        make: makes sightings; pictures are left out there, if they are not to be kept.
        put: hands one to the store; does not wait; false where it is refused, which is counted there.
        workers: threads that describe.
    """

    looks: Callable[[str, tuple[str, ...]], Looks]
    describer: Describer
    make: Make
    put: Callable[[Sighting], bool]
    workers: int = 1


@dataclass(frozen=True, slots=True)
class SeeingStatus:
    """How things stand: tracklets of all times = handed + the sum of unkept + waiting, exactly.

    Attributes:
        tracklets: ended, by camera; those of cameras that were removed are told no more.
        ended: of all cameras of all times.
        handed: given to the store's writer, refused ones included.
        unkept: not given to it, by every reason of `Unkept`, zeros included.
        undescribed: without vectors, by every reason of `Undescribed`, zeros included.
        waiting: not yet given.
        waiting_bytes: what they hold.
        faults: frames that could not be looked at, and tracklets that could not be stored.
        spared: what was left out to stay within bounds, by every reason of `Spared`, zeros included.
        crops: pictures of which vectors were made, by the kind of what they show.
        looks: time that looking at a frame took, seconds.
        batches: time that making vectors of several took, seconds.
        state: whether vectors are made.
        sentence: why not; "" while they are.
        deaths: how often what makes them failed.
        advanced_s: how long ago a worker last ended a round, the one for which that is longest, seconds.
    """

    tracklets: dict[str, int]
    ended: int
    handed: int
    unkept: dict[str, int]
    undescribed: dict[str, int]
    waiting: int
    waiting_bytes: int
    faults: int
    spared: dict[str, int]
    crops: dict[str, int]
    looks: Histogram
    batches: Histogram
    state: PoolState
    sentence: str
    deaths: int
    advanced_s: float


class _Looking:
    """One camera, from when it is added until it is removed."""

    def __init__(self, camera: str, provenance: Provenance, ids: Ids, *, wanted: bool) -> None:
        self.camera = camera
        self.lock = threading.Lock()  # guards what follows
        self.provenance = provenance
        self.wanted = wanted
        self.removed = False
        self.collector: Looks | None = None
        self.keys = TrackKeys(ids)
        self.spared: dict[Spared, int] = {}  # by this collector
        self.looked_s = time.monotonic()

    def end(self) -> list[Seen]:
        """Ends what is open, under the lock; a track that goes on begins anew, as another."""
        collector, self.collector, self.spared = self.collector, None, {}
        return self.keyed(collector.finish()) if collector is not None else []

    def newly_spared(self, gathered: Gathered) -> dict[Spared, int]:
        """Returns what was left out since this was asked last."""
        before, self.spared = self.spared, {Spared.PICTURES: gathered.given_up, Spared.TRACKS: gathered.refused}
        return {reason: count - before.get(reason, 0) for reason, count in self.spared.items()}

    def keyed(self, tracklets: Sequence[Tracklet]) -> list[Seen]:
        """Returns tracklets with the key that the parts of a track share."""
        return [Seen(tracklet, self.keys.key(tracklet), self.provenance) for tracklet in tracklets]


class Seeing:
    """Takes what was seen in all cameras. Every method may be called from any thread.

    Args:
        parts: what it is put together from.
        bounds: how much may wait.
    """

    def __init__(self, parts: SeeingParts, bounds: BacklogBounds | None = None) -> None:
        self._parts = parts
        self._backlog = Backlog(bounds)
        self._ids = Ids()
        self._lock = threading.Lock()  # guards what follows
        self._cameras: dict[str, _Looking] = {}
        self._tracklets: dict[str, int] = {}
        self._ended = self._handed = self._faults = 0
        self._unkept = dict.fromkeys(Unkept, 0)
        self._undescribed = dict.fromkeys(Undescribed, 0)
        self._spared = dict.fromkeys(Spared, 0)
        self._looks = Tally(STAGE_BOUNDS_S)
        self._told_s = -_TELL_AGAIN_S
        self._closing = threading.Event()
        self._describe_until_s = float("inf")
        self._advanced_s = [time.monotonic()] * parts.workers  # when each worker ended a round
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"describe-{number}", daemon=True)
            for number in range(parts.workers)
        ]
        for thread in self._threads:
            thread.start()

    def outlet(self, camera: str, provenance: Provenance, *, wanted: bool = True) -> Outlet:
        """Returns what takes the outcomes of a camera, which begins or begins anew.

        Args:
            camera: its name.
            provenance: what finds and follows people there.
            wanted: whether anything is kept of it, until `change` says otherwise.
        """
        self.remove(camera)
        looking = _Looking(camera, provenance, self._ids, wanted=wanted)
        with self._lock:
            self._cameras[camera] = looking
            self._tracklets.setdefault(camera, 0)

        def take(outcome: Outcome) -> None:
            with looking.lock:
                if looking.wanted and not looking.removed:
                    self._offer(self._look(looking, outcome))

        return take

    def change(self, camera: str, provenance: Provenance, *, wanted: bool) -> None:
        """Keeps what is seen in a camera from now on, or no more, or as of another configuration."""
        with self._lock:
            looking = self._cameras.get(camera)
        if looking is not None:
            with looking.lock:
                looking.provenance = provenance
                looking.wanted = wanted
                if not wanted:
                    self._end(looking)

    def remove(self, camera: str) -> None:
        """Ends what is open in a camera that goes, or begins anew."""
        with self._lock:
            looking = self._cameras.pop(camera, None)
        if looking is not None:
            with looking.lock:
                looking.removed = True
                self._end(looking)

    def forget(self, camera: str) -> None:
        """Tells nothing more of a camera that is gone."""
        self.remove(camera)
        with self._lock:
            self._tracklets.pop(camera, None)

    def status(self) -> SeeingStatus:
        """Returns how things stand."""
        describer = self._parts.describer
        with self._lock:
            waiting, waiting_bytes = self._backlog.waiting()
            return SeeingStatus(
                tracklets=dict(self._tracklets),
                ended=self._ended,
                handed=self._handed,
                unkept={reason.value: n for reason, n in self._unkept.items()},
                undescribed={reason.value: n for reason, n in self._undescribed.items()},
                waiting=waiting,
                waiting_bytes=waiting_bytes,
                faults=self._faults,
                spared={reason.value: n for reason, n in self._spared.items()},
                crops=describer.crops(),
                looks=self._looks.histogram(),
                batches=describer.durations(),
                state=describer.state,
                sentence=describer.sentence,
                deaths=describer.deaths,
                advanced_s=time.monotonic() - min(self._advanced_s),
            )

    def close(self, timeout_s: float) -> int:
        """Ends all that is open and hands it over; returns how many tracklets could not be. Safe to call twice.

        For half of the time vectors are made as usual, what is left then is stored without.
        """
        begun_s = time.monotonic()
        with self._lock:
            cameras = list(self._cameras)
        for camera in cameras:
            self.remove(camera)
        self._describe_until_s = begun_s + timeout_s / 2
        self._closing.set()
        self._backlog.close()
        for thread in self._threads:
            thread.join(max(0.0, begun_s + timeout_s - time.monotonic()))
        with self._lock:
            self._unkept[Unkept.CLOSED] += self._backlog.clear()
            return self._unkept[Unkept.CLOSED] + self._backlog.waiting()[0]

    # In the threads that track, under the lock of a lane.

    def _look(self, looking: _Looking, outcome: Outcome) -> list[Seen]:
        begun_s = looking.looked_s = time.monotonic()
        try:
            if looking.collector is None:
                looking.collector = self._parts.looks(looking.camera, outcome.labels)
            ended = looking.keyed(looking.collector.look(outcome.frame, outcome.tracks))
        except Exception as error:  # noqa: BLE001  # who is told must not end who tells
            self._fault(looking.camera, error)
            return []
        spared = looking.newly_spared(looking.collector.gathered)
        with self._lock:
            self._looks.add(time.monotonic() - begun_s)
            for reason, count in spared.items():
                self._spared[reason] += count
        return ended

    def _end(self, looking: _Looking) -> None:
        """Ends what is open in a camera, under its lock."""
        try:
            ended = looking.end()
        except Exception as error:  # noqa: BLE001  # what is open there is lost, the others go on
            self._fault(looking.camera, error)
        else:
            self._offer(ended)

    def _offer(self, ended: list[Seen]) -> None:
        for seen in ended:
            with self._lock:  # a status is taken before or after all of it
                fate = self._backlog.put(seen)
                self._ended += 1
                if seen.tracklet.camera in self._tracklets:
                    self._tracklets[seen.tracklet.camera] += 1
                if fate is Fate.DROPPED:
                    self._unkept[Unkept.CLOSED if self._closing.is_set() else Unkept.QUEUE_FULL] += 1
                elif fate is not Fate.WHOLE:
                    self._undescribed[Undescribed.BEHIND] += 1

    def _fault(self, camera: str, error: Exception) -> None:
        """Counts what went wrong; logs it at most once a minute."""
        with self._lock:
            self._faults += 1
            now_s = time.monotonic()
            if now_s - self._told_s < _TELL_AGAIN_S:
                return
            self._told_s = now_s
        _log.error('camera "%s": no sighting could be made (%s: %s)', camera, type(error).__name__, error)

    # The workers. They store tracklets in any order: key and part tell which belong together.

    def _run(self, number: int) -> None:
        while True:
            last = self._closing.is_set()
            waiting = self._backlog.take(_AT_ONCE, _TICK_S, _GATHER_S)
            self._store(waiting)
            self._backlog.rest(self._parts.describer.pause_s())
            self._end_idle()
            self._advanced_s[number] = time.monotonic()
            if last and not waiting:
                return

    def _store(self, waiting: Sequence[Waiting]) -> None:
        chosen = [each for each in waiting if each.describe]
        if time.monotonic() < self._describe_until_s:
            found = self._parts.describer.describe([each.seen.tracklet for each in chosen])
        else:
            found = [Undescribed.CLOSING] * len(chosen)
        results = iter(found)
        for each in waiting:
            bare = Described(each.seen.tracklet, ())
            result = next(results) if each.describe else bare
            if isinstance(result, Undescribed):
                with self._lock:
                    self._undescribed[result] += 1
                result = bare
            self._hand_over(each.seen, result)

    def _hand_over(self, seen: Seen, described: Described) -> None:
        try:
            sighting = self._parts.make(described.tracklet, described.vectors, seen.track_key, seen.provenance)
            with self._lock:  # whoever asks sees it here or there, never twice
                self._parts.put(sighting)
                self._backlog.settle()
                self._handed += 1
        except Exception as error:  # noqa: BLE001  # one of them must not end all; it is counted and told
            with self._lock:
                self._backlog.settle()
                self._unkept[Unkept.UNFIT] += 1
            self._fault(seen.tracklet.camera, error)

    def _end_idle(self) -> None:
        """Ends what is open in cameras that give no frames any more: it would wait for as long as they do."""
        before_s = time.monotonic() - _IDLE_S
        with self._lock:
            idle = [one for one in self._cameras.values() if one.looked_s < before_s and one.collector is not None]
        for looking in idle:
            with looking.lock:
                self._end(looking)
