"""IsolatedEngine: runs an engine in a process of its own, whose end is no end of this one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import EngineInfo
from watchline.detectors.isolated_process import DEADLY, Cause, EngineProcess, GoneError, IsolationBounds
from watchline.detectors.isolated_wire import EngineJob, Opened
from watchline.detectors.opening import default_engines, devices_of
from watchline.detectors.restarts import Restarts
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.shared_pictures import shareable

State: TypeAlias = Literal["running", "restarting", "down"]

_log = logging.getLogger("watchline.detectors")
_CLOSE_S: Final = 3.0  # far more than the end of a process takes
_OPENER: Final = "watchline.detectors.opening:open_engine"


def can_isolate() -> bool:
    """Returns whether this system can run an engine in a process of its own; Linux can."""
    return shareable()


class IsolatedEngine:
    """An engine, as `open_engine` opens it, in a process of its own: a crash, a hang or an end there ends nothing here.

    Its results are the same to the last bit. Calls that are under way as the process dies fail; the next one starts it
    again, unless it dies too often. `close` ends the process; so does the end of this one, whatever that is.

    Args:
        path: see `open_engine`.
        device: see `open_engine`.
        family: see `open_engine`.
        workers: most calls at once; more wait for their turn.
        engines: see `open_engine`.
        name: what the list of processes and errors call it; by default the file's name.
        bounds: how long and how large it may become.
        restarts: how often it is started again; this engine's own. Of none at all, who calls it opens another.
        opener: what opens the engine there, as "module:function"; is called as `open_engine` is.

    Raises:
        ModelError: as of `open_engine`; or the process ended as it opened the network.
        UsageError: as of `open_engine`; or this system cannot share memory between processes.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        family: str = "",
        workers: int = 1,
        engines: Path | None = None,
        *,
        name: str = "",
        bounds: IsolationBounds | None = None,
        restarts: Restarts | None = None,
        opener: str = _OPENER,
    ) -> None:
        if not can_isolate():
            raise UsageError("engines in processes of their own need Linux; run this one without (isolate: false)")
        devices_of(device)
        self._job = EngineJob(
            path, device, family, max(1, workers), engines or default_engines(), name or path.name, opener
        )
        self._bounds = bounds or IsolationBounds()
        self._restarts = restarts or Restarts()
        self._changed = threading.Condition()  # of all that follows
        self._process: EngineProcess | None = EngineProcess(self._job, self._bounds)
        self._mourned: EngineProcess | None = None
        self._deaths: dict[Cause, int] = dict.fromkeys(DEADLY, 0)
        self._last_words = ""
        self._closed = False
        self._has_begun = False
        # The kernel ends a process together with the thread that started it: this one, which lives longer.
        self._thread = threading.Thread(target=self._look_after, name="watchline-isolated", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise ModelError(f"{path}: no thread can be started for its process ({error})") from error
        self._opened, self._info = self._open_first(self._process)
        self._has_begun = True

    @property
    def info(self) -> EngineInfo:
        """What really runs there, as last heard."""
        process = self._process
        self._info = (process.info if process is not None else None) or self._info
        return self._info

    @property
    def card(self) -> ModelCard:
        """What the network is and how it wants to be fed."""
        return self._opened.card

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width that the input must have; None where any multiple of the stride will do."""
        return self._opened.fixed_size

    @property
    def state(self) -> State:
        """Whether calls are answered: "running"; "restarting" since it died; or "down", as it died too often."""
        with self._changed:
            if self._restarts.is_down:
                return "down"
            process = self._process
            well = process is not None and process.opened is not None and process.end is None
            return "running" if well else "restarting"

    @property
    def deaths(self) -> int:
        """How often its process ended, for whatever reason."""
        return sum(self._deaths.values())

    @property
    def deaths_by_cause(self) -> Mapping[Cause, int]:
        """The same for each cause, zeros included; see `End.cause`."""
        with self._changed:
            return dict(self._deaths)

    @property
    def sentence(self) -> str:
        """Why it does not run, and what comes next; "" where it runs."""
        if self.state == "running":
            return ""
        with self._changed:
            return self._words()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None while there is none."""
        process = self._process
        return process.pid if process is not None else None

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns what the engine there answers, in memory that is used again once nobody holds it.

        Raises:
            ModelError: the engine failed; or its process ended, or died too often to be started again now.
        """
        process = self._living()
        try:
            process.wait_open()
            outputs = process.call(batch)
        except GoneError:
            raise ModelError(self._mourn(process)) from None
        if self._restarts.is_down:
            with self._changed:
                self._restarts.works()
        return outputs

    def close(self) -> None:
        """Ends the process, within two seconds; calls under way fail. Safe to call twice."""
        with self._changed:
            self._closed = True
            process = self._process
            self._changed.notify_all()
        if process is not None:
            process.close()
        self._thread.join(_CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_first(self, process: EngineProcess) -> tuple[Opened, EngineInfo]:
        try:
            opened = process.wait_open()
            assert process.info is not None  # it comes with what was opened
            return opened, process.info
        except GoneError:
            self.close()
            end = process.end
            assert end is not None  # for it is gone
            raise end.error or ModelError(f"{self._job.path}: {end.text}") from None
        except BaseException:
            self.close()
            raise

    def _living(self) -> EngineProcess:
        """Returns the process, one that is about to start where there was none.

        Raises:
            ModelError: it may not be started now.
        """
        with self._changed:
            while True:
                if self._closed:
                    raise ModelError(f"{self._job.name}: its engine is closed")
                process = self._process
                if process is None:
                    if self._restarts.wait_s() > 0:
                        raise ModelError(self._words())
                    self._process = process = EngineProcess(self._job, self._bounds, self._opened)
                    self._changed.notify_all()
                    return process
                if process.end is None:
                    return process
                self._changed.wait()  # until the last one is buried

    def _mourn(self, process: EngineProcess) -> str:
        """Takes note that a process has died, once; returns that, and what comes next."""
        with self._changed:
            end = process.end
            assert end is not None  # for it is gone
            if end.cause == "closed" or not self._has_begun:
                return f"{self._job.name}: its engine was closed"
            if self._mourned is process:
                return self._words()
            self._mourned = process
            self._deaths[end.cause] += 1
            self._restarts.died()
            self._last_words = end.text
            self._info = process.info or self._info
            words = self._words()
        _log.warning("%s", words)
        return words

    def _words(self) -> str:
        """Returns why it last died, and what comes next, where that is this engine's affair."""
        if not self._restarts.most:
            return self._last_words
        if not self._restarts.is_down:
            return f"{self._last_words}; it is started again"
        often = f"more than {self._restarts.most} deaths in {self._restarts.within_s:.0f} s"
        return f"{self._last_words}; {often}: it is down, next try in {self._restarts.wait_s():.0f} s"

    def _look_after(self) -> None:
        """Starts each process that is wanted, and sees it to its end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._process is not None)
                process = self._process
            if process is not None:
                process.live()
                self._mourn(process)
            with self._changed:
                self._process = None
                self._changed.notify_all()
                if self._closed:
                    return
