"""The workers of one model: batches in, detections out, and what happens when the detector fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from watchline.detectors.detections import Detections
from watchline.detectors.detector import Detector
from watchline.detectors.engine import EngineInfo
from watchline.detectors.restarts import Restarts
from watchline.pipeline.live.collector import Collector
from watchline.pipeline.live.lane import Turn
from watchline.pipeline.live.status import Loss, PoolState, PoolStatus
from watchline.pipeline.live.tally import BATCH_BOUNDS, STAGE_BOUNDS_S, Tally
from watchline.streams.errors import ModelError, WatchlineError

_log = logging.getLogger(__name__)

_TELL_AGAIN_S: Final = 60.0


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
        now_s = time.monotonic()
        self._advanced_s = [now_s] * opened.workers
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
            waiting=waiting,
            batches=batches,
            stages=stages,
            advanced_s=time.monotonic() - min(self._advanced_s),
        )

    def _work(self, number: int) -> None:
        while True:
            self._advanced_s[number] = time.monotonic()
            if not self._may_work():
                return
            turns = self._collector.next()
            self._advanced_s[number] = time.monotonic()
            if turns is None:
                return
            if turns:
                self._look(turns)

    def _may_work(self) -> bool:
        """Waits while the detector is opened anew; returns whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._state is not PoolState.RESTARTING, 1.0)
            return not self._closed

    def _look(self, turns: list[Turn]) -> None:
        """Settles each frame of a batch, whatever happens."""
        opened = self._ready()
        begun_s = time.monotonic()
        results = self._detect(opened, turns)
        detected_s = time.monotonic()
        for turn, result in zip(turns, results, strict=True):
            turn.settle(result)
        with self._tallying:
            self._batches.add(len(turns))
            self._stages["wait"].add(begun_s - turns[0].begun_s)
            self._stages["detect"].add(detected_s - begun_s)
            self._stages["track"].add((time.monotonic() - detected_s) / len(turns))

    def _detect(self, opened: Opened | None, turns: list[Turn]) -> list[Detections | Loss]:
        """Returns what was found in each frame, or why nothing was."""
        if opened is None:
            return [Loss.DETECTOR] * len(turns)
        try:
            found = list(opened.detector.detect([turn.frame for turn in turns]))
            self._worked()
            return found  # type: ignore[return-value]  # a list of one kind is one of either
        except ModelError as error:
            self._failed(opened, error)
        except Exception as error:  # noqa: BLE001  # of one frame, perhaps: the others are looked at alone
            if len(turns) > 1:
                return [result for turn in turns for result in self._detect(opened, [turn])]
            self._odd(turns[0], error)
        except BaseException as error:  # noqa: BLE001  # something ends threads: this one goes on
            self._failed(opened, ModelError(f"its worker was ended by {type(error).__name__}"))
        return [Loss.DETECTOR] * len(turns)

    def _worked(self) -> None:
        """Takes note that the detector works again, after it was down."""
        if self._restarts.is_down:
            with self._changed:
                self._restarts.works()

    def _ready(self) -> Opened | None:
        """Returns the detector, opened anew where it is time; None while it is down."""
        with self._changed:
            if self._state is not PoolState.DOWN:
                return self._opened
            if self._restarts.wait_s():
                return None
            self._state = PoolState.RESTARTING
        self._open_anew()
        return self._opened

    def _failed(self, failed: Opened, error: ModelError) -> None:
        """Opens the detector anew, unless another worker has, or gives it up for a while."""
        with self._changed:
            if failed is not self._opened or self._closed:
                return
            self._deaths += 1
            self._earlier_fallbacks += len(failed.info().fallbacks)
            self._opened = None
            self._note(error)
            reopens = self._state is PoolState.RESTARTING
        failed.close()
        if reopens:
            self._open_anew()

    def _open_anew(self) -> None:
        """Opens the detector, several times if need be; leaves it down where that is of no use."""
        while self._state is PoolState.RESTARTING:
            try:
                opened = self._reopen()
            except WatchlineError as error:
                with self._changed:
                    self._deaths += 1
                    self._note(error)
                continue
            with self._changed:
                kept = not self._closed
                if kept:
                    self._opened, self._state, self._sentence = opened, PoolState.RUNNING, ""
                    _log.warning('model "%s": runs again on %s', self._network.model, opened.info().provider)
                self._changed.notify_all()
            if not kept:
                opened.close()
            return

    def _note(self, error: WatchlineError) -> None:
        """Decides, under the lock, whether the detector is opened anew now or later; says so in the log."""
        self._restarts.died()
        again = not self._restarts.is_down
        self._state = PoolState.RESTARTING if again else PoolState.DOWN
        next_step = "it is opened anew" if again else f"down, next try in {self._restarts.wait_s():.0f} s"
        self._sentence = f'model "{self._network.model}": {error}; {next_step}'
        _log.error("%s", self._sentence)
        self._changed.notify_all()

    def _odd(self, turn: Turn, error: Exception) -> None:
        """Logs that a frame could not be looked at, at most one a minute: the detector itself goes on."""
        if (now_s := time.monotonic()) - self._odd_told_s >= _TELL_AGAIN_S:
            self._odd_told_s = now_s
            name = turn.frame.camera
            _log.error('camera "%s": a frame could not be looked at (%s: %s)', name, type(error).__name__, error)
