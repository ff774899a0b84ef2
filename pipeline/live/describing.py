"""What makes vectors of people while the daemon runs: begun again when it fails, within bounds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

from watchline.detectors.restarts import Restarts
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.live.tally import STAGE_BOUNDS_S, Histogram, Tally
from watchline.reid.embeddings import TrackletEmbedding
from watchline.reid.tracklet import Tracklet
from watchline.streams.errors import ModelError, WatchlineError

_log = logging.getLogger(__name__)

_MOST_PAUSE_S: Final = 5.0
_TELL_AGAIN_S: Final = 60.0

Vectors: TypeAlias = tuple[TrackletEmbedding, ...]
Describe: TypeAlias = Callable[[Sequence[Tracklet]], list[Vectors]]
"""Makes the vectors of each tracklet, none of one without crops; raises ModelError where the network fails."""


class Undescribed(StrEnum):
    """Why a tracklet was stored without vectors."""

    NO_CROP = "no_crop"  # none of its pictures is good enough
    BEHIND = "behind"  # more came than may be described; see `Backlog`
    MODEL = "model"  # the network failed, or is down
    UNFIT = "unfit"  # no vector could be made of it, though others are made
    CLOSING = "closing"  # the end left no time for it


class Describer:
    """Makes vectors; one thread uses it, any may ask how it is.

    A network that fails is opened anew, five times within a minute; then it is down and tried each minute. Meanwhile
    nothing is described, and nobody waits for it.

    Args:
        opened: the network, first.
        reopen: opens it anew.
        restarts: how often it may fail.
        budget: most of a processor's time that it may take, in (0, 1]; see `pause_s`. Networks on processors run in the
            thread that asks; those on other devices take nothing from who tracks.
        cpu_s: processor time of the calling thread, seconds.
    """

    def __init__(
        self,
        opened: Describe,
        reopen: Callable[[], Describe],
        restarts: Restarts | None = None,
        budget: float = 1.0,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._opened: Describe | None = opened
        self._reopen = reopen
        self._restarts = restarts or Restarts()
        self._budget = budget
        self._cpu_s = cpu_s
        self._lock = threading.Lock()  # of what follows
        self.sentence = ""
        self.deaths = self.crops = 0
        self._durations = Tally(STAGE_BOUNDS_S)
        self._spent_s = 0.0
        self._told_s = -_TELL_AGAIN_S

    @property
    def state(self) -> PoolState:
        """Whether vectors are made."""
        if self._opened is not None:
            return PoolState.RUNNING
        return PoolState.DOWN if self._restarts.is_down else PoolState.RESTARTING

    def durations(self) -> Histogram:
        """Returns how long batches took, seconds."""
        with self._lock:
            return self._durations.histogram()

    def pause_s(self) -> float:
        """Returns for how long to rest after what was done since this was asked last: the budget, kept."""
        spent_s, self._spent_s = self._spent_s, 0.0
        return min(_MOST_PAUSE_S, spent_s * (1 / self._budget - 1))

    def describe(self, tracklets: Sequence[Tracklet]) -> list[Vectors | Undescribed]:
        """Returns the vectors of each tracklet, or why it has none; never raises."""
        results: list[Vectors | Undescribed] = [Undescribed.NO_CROP] * len(tracklets)
        chosen = [i for i, tracklet in enumerate(tracklets) if tracklet.crops or tracklet.faces]
        if chosen:
            for i, result in zip(chosen, self._described([tracklets[i] for i in chosen]), strict=True):
                results[i] = result
        return results

    def _described(self, tracklets: Sequence[Tracklet]) -> Sequence[Vectors | Undescribed]:
        opened = self._ready()
        if opened is None:
            return [Undescribed.MODEL] * len(tracklets)
        begun_s, cpu_s = time.monotonic(), self._cpu_s()
        try:
            try:
                found = opened(tracklets)
            finally:
                self._spent_s += self._cpu_s() - cpu_s  # what fails costs as much
        except ModelError as error:
            self._failed(error)
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
            self.crops += sum(len(tracklet.crops) + len(tracklet.faces) for tracklet in tracklets)
            self._restarts.works()
        return [vectors or Undescribed.UNFIT for vectors in found]

    def _ready(self) -> Describe | None:
        """Returns what makes vectors, opened anew if it is time to."""
        if self._opened is None and not self._restarts.wait_s():
            try:
                self._opened, self.sentence = self._reopen(), ""
                _log.warning("vectors of people are made again")
            except Exception as error:  # noqa: BLE001  # whatever it was, it is told, and tried again
                self._failed(error)
        return self._opened

    def _failed(self, error: Exception) -> None:
        self._opened = None
        self.deaths += 1
        self._restarts.died()
        what = str(error) if isinstance(error, WatchlineError) else f"{type(error).__name__}: {error}"
        wait_s = self._restarts.wait_s()
        again = f"down, next try in {wait_s:.0f} s" if wait_s else "it is opened anew"
        self.sentence = f"people are stored without vectors: {what}; {again}"
        _log.error("%s", self.sentence)
