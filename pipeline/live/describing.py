"""What makes vectors of people while the daemon runs: begun again when it fails, within bounds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from watchline.detectors.restarts import Restarts
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.live.tally import STAGE_BOUNDS_S, Histogram, Tally
from watchline.reid.embeddings import Kind, TrackletEmbedding
from watchline.reid.tracklet import Tracklet
from watchline.streams.errors import ModelError, WatchlineError

_log = logging.getLogger(__name__)

_MOST_PAUSE_S: Final = 5.0
_TELL_AGAIN_S: Final = 60.0

Vectors: TypeAlias = tuple[TrackletEmbedding, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """A tracklet that was described.

    Attributes:
        tracklet: it, with the faces that were found on its pictures.
        vectors: of its body and its face; none where there is no picture.
    """

    tracklet: Tracklet
    vectors: Vectors


Describe: TypeAlias = Callable[[Sequence[Tracklet]], list[Described]]
"""Describes each tracklet; raises ModelError where a network fails. Called from several threads at once."""


class Undescribed(StrEnum):
    """Why a tracklet was stored without vectors."""

    NO_CROP = "no_crop"  # none of its pictures is good enough
    BEHIND = "behind"  # more came than may be described; see `Backlog`
    MODEL = "model"  # the network failed, or is down
    UNFIT = "unfit"  # no vector could be made of it, though others are made
    CLOSING = "closing"  # the end left no time for it


class Describer:
    """Makes vectors, for several threads at once; any may ask how it is.

    A network that fails is opened anew, five times within a minute; then it is down and tried each minute. Meanwhile
    nothing is described, and nobody waits for it.

    Args:
        opened: the network, first.
        reopen: opens it anew.
        restarts: how often it may fail.
        budget: processors whose time it may take, more than 0, `workers` at most; see `pause_s`. Networks on processors
            run in the thread that asks; those on other devices take nothing from who tracks.
        workers: threads that use it; each has the same part of the budget.
        cpu_s: processor time of the calling thread, seconds.
    """

    def __init__(
        self,
        opened: Describe,
        reopen: Callable[[], Describe],
        restarts: Restarts | None = None,
        budget: float = 1.0,
        workers: int = 1,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._opened: Describe | None = opened
        self._reopen = reopen
        self._restarts = restarts or Restarts()
        self._rest = workers / budget - 1  # for each second that was spent
        self._cpu_s = cpu_s
        self._own = threading.local()  # what a thread spent
        self._opening = threading.Lock()  # one opens it anew, the others wait for that
        self._lock = threading.Lock()  # of what follows, and of `_opened` and `_restarts`
        self.sentence = ""
        self.deaths = 0
        self._crops = dict.fromkeys(Kind, 0)
        self._durations = Tally(STAGE_BOUNDS_S)
        self._told_s = -_TELL_AGAIN_S

    @property
    def state(self) -> PoolState:
        """Whether vectors are made."""
        if self._opened is not None:
            return PoolState.RUNNING
        return PoolState.DOWN if self._restarts.is_down else PoolState.RESTARTING

    def crops(self) -> dict[str, int]:
        """Returns of how many pictures vectors were made, by what they show."""
        with self._lock:
            return {kind.value: count for kind, count in self._crops.items()}

    def durations(self) -> Histogram:
        """Returns how long batches took, seconds."""
        with self._lock:
            return self._durations.histogram()

    def pause_s(self) -> float:
        """Returns for how long to rest after what the thread did since it asked last: the budget, kept."""
        spent_s, self._own.spent_s = self._spent_s(), 0.0
        return min(_MOST_PAUSE_S, spent_s * self._rest)

    def describe(self, tracklets: Sequence[Tracklet]) -> list[Described | Undescribed]:
        """Returns each tracklet with its vectors, or why it has none; never raises."""
        results: list[Described | Undescribed] = [Undescribed.NO_CROP] * len(tracklets)
        chosen = [i for i, tracklet in enumerate(tracklets) if tracklet.crops]
        if chosen:
            for i, result in zip(chosen, self._described([tracklets[i] for i in chosen]), strict=True):
                results[i] = result
        return results

    def _described(self, tracklets: Sequence[Tracklet]) -> Sequence[Described | Undescribed]:
        opened = self._ready()
        if opened is None:
            return [Undescribed.MODEL] * len(tracklets)
        begun_s, cpu_s = time.monotonic(), self._cpu_s()
        try:
            try:
                found = opened(tracklets)
            finally:
                self._own.spent_s = self._spent_s() + self._cpu_s() - cpu_s  # what fails costs as much
        except ModelError as error:
            self._failed(opened, error)
            return [Undescribed.MODEL] * len(tracklets)
        except Exception as error:  # noqa: BLE001  # of one picture, perhaps: the others are described alone
            if len(tracklets) > 1:
                return [self._described([tracklet])[0] for tracklet in tracklets]
            only = tracklets[0]
            told = f"{type(error).__name__}: {error}"
            if begun_s - self._told_s >= _TELL_AGAIN_S:
                self._told_s = begun_s
                _log.error('camera "%s": track %d could not be described (%s)', only.camera, only.track_id, told)
            return [Undescribed.UNFIT]
        with self._lock:
            self._durations.add(time.monotonic() - begun_s)
            for vector in (vector for each in found for vector in each.vectors):
                self._crops[vector.model.kind] += vector.crops
            if self._opened is opened:
                self._restarts.works()
        return [each if each.vectors else Undescribed.UNFIT for each in found]

    def _spent_s(self) -> float:
        return getattr(self._own, "spent_s", 0.0)

    def _ready(self) -> Describe | None:
        """Returns what makes vectors, opened anew if it is time to."""
        with self._opening:
            if self._opened is None and not self._restarts.wait_s():
                try:
                    opened = self._reopen()
                except Exception as error:  # noqa: BLE001  # whatever it was, it is told, and tried again
                    self._failed(None, error)
                else:
                    with self._lock:
                        self._opened, self.sentence = opened, ""
                    _log.warning("vectors of people are made again")
            return self._opened

    def _failed(self, opened: Describe | None, error: Exception) -> None:
        """Gives up `opened`, which failed; None: it could not be opened."""
        with self._lock:
            if self._opened is not opened:
                return  # another thread said so
            self._opened = None
            self.deaths += 1
            self._restarts.died()
            wait_s = self._restarts.wait_s()
            what = str(error) if isinstance(error, WatchlineError) else f"{type(error).__name__}: {error}"
            again = f"down, next try in {wait_s:.0f} s" if wait_s else "it is opened anew"
            # Here, lest it comes after another thread has opened the network anew, and stays.
            self.sentence = sentence = f"people are stored without vectors: {what}; {again}"
        _log.error("%s", sentence)
