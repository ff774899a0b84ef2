"""The workers of one model: batches in, detections out, and what happens when the detector fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from watchline.detectors.detections import Detections
from watchline.detectors.detector import Detector
from watchline.detectors.engine import EngineInfo
from watchline.detectors.restarts import Restarts
from watchline.pipeline.live.collector import Collector
from watchline.pipeline.live.lane import Turn
from watchline.pipeline.live.status import Loss, PoolState, PoolStatus
from watchline.pipeline.live.suspects import Suspects
from watchline.pipeline.live.tally import BATCH_BOUNDS, STAGE_BOUNDS_S, Tally
from watchline.streams.errors import ModelError, WatchlineError

_log = logging.getLogger(__name__)

_TELL_AGAIN_S: Final = 60.0
_OPEN_WITHIN_S: Final = 600.0  # a detector may be built as it is opened


@dataclass(frozen=True, slots=True)
class Opened:
    """A detector that is ready to work.

    Attributes:
        detector: finds objects.
        info: says what really runs now.
        close: gives back what it holds; what it is asked meanwhile fails.
        workers: batches that may be under way at once.
        batch: most frames a batch, on the device that runs now.
    """

    detector: Detector
    info: Callable[[], EngineInfo]
    close: Callable[[], None]
    workers: int = 1
    batch: Callable[[], int] = lambda: 1


@dataclass(frozen=True, slots=True)
class Network:
    """What a model is: how the site names it, catalog name or file, and that file's SHA-256."""

    model: str
    network: str
    sha256: str


class Pool:
    """Threads that look at frames of many cameras through one detector.

    A detector that fails is opened anew, its frames are lost and counted. One that fails too often is down for a
    while: frames go on to be taken and counted as lost, so that cameras stay alive and show it.

    Args:
        network: what the model is.
        opened: its detector, first.
        reopen: opens it anew.
        collector: gives the batches.
        restarts: how often it may fail.
    """

    def __init__(
        self,
        network: Network,
        opened: Opened,
        reopen: Callable[[], Opened],
        collector: Collector,
        restarts: Restarts,
    ) -> None:
        self._network = network
        self._reopen = reopen
        self._collector = collector
        self._restarts = restarts
        self._changed = threading.Condition()
        self._opened: Opened | None = opened
        self._info = opened.info()
        self._state = PoolState.RUNNING
        self._sentence = ""
        self._deaths = self._earlier_fallbacks = 0
        self._odd_told_s = -_TELL_AGAIN_S
        self._tallying = threading.Lock()
        self._batches = Tally(BATCH_BOUNDS)
        self._stages = {name: Tally(STAGE_BOUNDS_S) for name in ("wait", "detect", "track")}
        self._closed = False
        self._restarting_s = 0.0
        self._suspects = Suspects()
        self._begun_s: list[float | None] = [None] * opened.workers  # when each worker began its batch
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"detect-{network.model}-{number}", daemon=True)
            for number in range(opened.workers)
        ]

    def start(self) -> None:
        """Begins to work."""
        for thread in self._threads:
            thread.start()

    @property
    def batch(self) -> int:
        """Most frames a batch, now."""
        opened = self._opened
        return opened.batch() if opened is not None else 1

    def close(self, drain_s: float) -> bool:
        """Ends the workers, each after its batch; returns whether all ended within `drain_s`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._collector.close()
        until_s = time.monotonic() + drain_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until_s - time.monotonic()))
        ended = not any(thread.is_alive() for thread in self._threads)
        with self._changed:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
        return ended

    def status(self, waiting: int) -> PoolStatus:
        """Returns how things stand; `waiting` frames wait for a worker."""
        with self._changed:
            info = self._info = self._opened.info() if self._opened is not None else self._info
            state, sentence, deaths = self._state, self._sentence, self._deaths
            fallbacks = self._earlier_fallbacks + (len(info.fallbacks) if self._opened is not None else 0)
        with self._tallying:
            batches, stages = self._batches.histogram(), {name: t.histogram() for name, t in self._stages.items()}
        return PoolStatus(
            model=self._network.model,
            network=self._network.network,
            sha256=self._network.sha256,
            device=info.device,
            provider=info.provider,
            runtime=info.runtime,
            state=state,
            sentence=sentence,
            workers=len(self._threads),
            deaths=deaths,
            fallbacks=fallbacks,
            fallen_back=bool(info.fallbacks),
            waiting=waiting,
            batches=batches,
            stages=stages,
            advanced_s=self.advanced_s,
        )

    @property
    def advanced_s(self) -> float:
        """For how long the worker that is longest at its batch has been at it; that none gathers, where all wait."""
        now_s = time.monotonic()
        if self._state is PoolState.RESTARTING:
            return max(0.0, now_s - self._restarting_s - _OPEN_WITHIN_S)
        busy = [now_s - begun_s for begun_s in self._begun_s if begun_s is not None]
        return max(busy) if busy else now_s - self._collector.passed_s

    def _work(self, number: int) -> None:
        while self._may_work():
            turns = self._collector.next()
            if turns is None:
                return
            if turns:
                self._begun_s[number] = time.monotonic()
                self._look(turns)
                self._begun_s[number] = None

    def _may_work(self) -> bool:
        """Waits while the detector is opened anew; returns whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._state is not PoolState.RESTARTING)
            return not self._closed

    def _look(self, turns: list[Turn]) -> None:
        """Settles each frame of a batch, whatever happens."""
        opened, reopens = self._ready()
        begun_s = time.monotonic()
        results: list[Detections | Loss] = [Loss.DETECTOR] * len(turns)
        try:
            if opened is not None:
                reopens = self._detect(opened, turns, results)
        finally:
            detected_s = time.monotonic()
            for turn, result in zip(turns, results, strict=True):
                turn.settle(result)
        with self._tallying:
            self._batches.add(len(turns))
            self._stages["wait"].add(begun_s - turns[0].begun_s)
            self._stages["detect"].add(detected_s - begun_s)
            self._stages["track"].add((time.monotonic() - detected_s) / len(turns))
        if reopens:  # only now: nobody waits for these frames any more
            turns.clear()
            self._open_anew()

    def _detect(self, opened: Opened, turns: list[Turn], results: list[Detections | Loss]) -> bool:
        """Fills in what was found in each frame that could be looked at; returns whether to open the detector anew."""
        chosen = [i for i, turn in enumerate(turns) if not self._suspects.is_out(turn.frame.camera)]
        cameras = [turns[i].frame.camera for i in chosen]
        if not chosen:
            return False
        try:
            found = opened.detector.detect([turns[i].frame for i in chosen])
            for i, detections in zip(chosen, found, strict=True):
                results[i] = detections
            self._worked(opened, cameras)
        except ModelError as error:
            return self._failed(opened, error, blamed=self._suspects.failed(cameras))
        except Exception as error:  # noqa: BLE001  # of one frame, perhaps: the others are looked at alone
            if len(chosen) > 1:
                reopens = [self._detect_one(opened, turns, results, i) for i in chosen]
                return any(reopens)
            self._odd(cameras[0], error)
        except BaseException as error:  # noqa: BLE001  # something ends threads: this one goes on
            return self._failed(opened, ModelError(f"its worker was ended by {type(error).__name__}"))
        return False

    def _detect_one(self, opened: Opened, turns: list[Turn], results: list[Detections | Loss], i: int) -> bool:
        alone = results[i : i + 1]
        reopens = self._detect(opened, [turns[i]], alone)
        results[i] = alone[0]
        return reopens

    def _odd(self, camera: str, error: Exception) -> None:
        """Logs that a frame could not be looked at, at most one a minute: the detector itself goes on."""
        if (now_s := time.monotonic()) - self._odd_told_s >= _TELL_AGAIN_S:
            self._odd_told_s = now_s
            _log.error('camera "%s": a frame could not be looked at (%s: %s)', camera, type(error).__name__, error)

    def _worked(self, opened: Opened, cameras: Sequence[str]) -> None:
        """Takes note that the detector works on frames of these cameras; again, perhaps, after it was down."""
        self._suspects.worked(cameras)
        if self._restarts.is_down:
            with self._changed:
                if opened is self._opened:
                    self._restarts.works()

    def _ready(self) -> tuple[Opened | None, bool]:
        """Returns the detector, None while there is none; and whether it is time to open it anew."""
        with self._changed:
            if self._state is not PoolState.DOWN or self._restarts.wait_s() or self._closed:
                return self._opened, False
            self._enter(PoolState.RESTARTING)
            return None, True

    def _failed(self, failed: Opened, error: Exception, *, blamed: bool = False) -> bool:
        """Lets go of a detector that failed; returns whether the caller is to open it anew: no other worker has.

        Args:
            failed: the detector.
            error: what it said.
            blamed: a camera is left out for it.
        """
        with self._changed:
            if failed is not self._opened or self._closed:
                return False
            self._earlier_fallbacks += len(failed.info().fallbacks)
            self._opened = None
            self._note(error, blamed=blamed)
            reopens = self._state is PoolState.RESTARTING
        failed.close()
        return reopens

    def _open_anew(self) -> None:
        """Opens the detector, several times if need be; leaves it down where that is of no use."""
        while self._state is PoolState.RESTARTING and not self._closed:
            try:
                opened = self._reopen()
            except Exception as error:  # noqa: BLE001  # whatever it was, the model is told to be down by it
                with self._changed:
                    self._note(error)
                continue
            with self._changed:
                kept = not self._closed
                if kept:
                    self._opened, self._sentence = opened, ""
                    self._enter(PoolState.RUNNING)
                    _log.warning('model "%s": runs again on %s', self._network.model, opened.info().provider)
            if not kept:
                opened.close()

    def _note(self, error: Exception, *, blamed: bool = False) -> None:
        """Counts a failure and decides, under the lock, whether the detector is opened anew now or later."""
        self._deaths += 1
        if blamed:  # the camera is left out: what it did before must not count against the detector
            self._restarts.forgive()
        else:
            self._restarts.died()
        again = not self._restarts.is_down
        what = str(error) if isinstance(error, WatchlineError) else f"{type(error).__name__}: {error}"
        next_step = "it is opened anew" if again else f"down, next try in {self._restarts.wait_s():.0f} s"
        self._sentence = f'model "{self._network.model}": {what}; {next_step}'
        _log.error("%s", self._sentence)
        self._enter(PoolState.RESTARTING if again else PoolState.DOWN)

    def _enter(self, state: PoolState) -> None:
        self._state, self._restarting_s = state, time.monotonic()
        self._changed.notify_all()
