"""SwappingEngine: one engine serves while a better one is built, and gives way to it between two calls."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, EngineInfo, Fallback
from watchline.detectors.fallback import FallbackEngine
from watchline.streams.errors import ModelError, OutputError

_MOST_SIZES: Final = 4  # of the input for which a better engine is looked for; a camera has one
Size: TypeAlias = tuple[int, int]


class Workshop(Protocol):
    """Where better engines come from."""

    @property
    def name(self) -> str:
        """What a person calls them: "TensorRT"."""

    @property
    def device(self) -> str:
        """The device as the user names it."""

    def find(self, size: Size) -> Engine | None:
        """Returns the engine for pictures of `size` (height, width) that was built before; None where none was.

        Raises:
            ModelError: there is one, and it does not start; or the last build failed.
        """

    def build(self, size: Size) -> Engine:
        """Returns an engine that it builds; takes minutes.

        Raises:
            ModelError: it could not be built, or does not start.
            OutputError: it could not be kept.
        """


@dataclass(slots=True)
class _Better:
    """How it stands with the better engine for one size; `engine` is set once it may be used."""

    engine: Engine | None = None
    note: str = ""
    fallbacks: list[Fallback] = field(default_factory=list)


class SwappingEngine:
    """Runs a good engine at once, and a better one for the same network from when it is ready.

    The better one is made for one size of the input; for another size it is looked for, and built, anew. While it is
    built and where that fails, or where it fails in flight, `base` runs. No call waits for a build, none is lost.

    Args:
        base: serves from the start.
        base_device: its device as the user names it, where it is no `FallbackEngine`, which knows.
        workshop: gives better engines.
        may_build: else only what was built before is used.
    """

    def __init__(self, base: Engine, base_device: str, workshop: Workshop, *, may_build: bool) -> None:
        self._base, self._base_device, self._workshop, self._may_build = base, base_device, workshop, may_build
        self._better: dict[Size, _Better] = {}
        self._lock = threading.Lock()
        self._builds = threading.Lock()  # one build at a time: two on one GPU time each other wrong
        self._calls = 0
        if base.fixed_size:
            self._look(base.fixed_size, self._place(base.fixed_size))

    @property
    def info(self) -> EngineInfo:
        """What really runs now: the better engine, once there is one."""
        with self._lock:
            states = list(self._better.values())
        running = next((state.engine for state in states if state.engine), self._base)
        base, info = self._base.info, running.info
        notes = [*(state.note for state in states if state.note), base.note]
        fallbacks = (*base.fallbacks, *(fallback for state in states for fallback in state.fallbacks))
        return replace(info, note="; ".join(filter(None, notes)), fallbacks=fallbacks)

    @property
    def card(self) -> ModelCard:
        """What the network is and how it wants to be fed."""
        return self._base.card

    @property
    def fixed_size(self) -> Size | None:
        """Height and width that the input must have; None where any multiple of the stride will do."""
        return self._base.fixed_size

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns what the better engine answers where there is one, else what `base` does.

        Raises:
            ModelError: `base` failed.
        """
        size = (batch.shape[2], batch.shape[3])
        with self._lock:
            self._calls += 1
            state = self._better.get(size)
        if state is None:
            state = self._place(size)
            if state is not None:
                self._look(size, state)
        engine = state.engine if state else None
        if state is None or engine is None:
            return self._base.run(batch)
        try:
            return engine.run(batch)
        except ModelError as error:
            with self._lock:
                failed_first, state.engine = state.engine is engine, None
            if failed_first:  # or else another thread has told it by now
                self._give_up(state, size, f"failed while running: {error}", str(error))
            return self._base.run(batch)

    def _place(self, size: Size) -> _Better | None:
        """Returns a new place for what is known of `size`; None where another thread made it, or there are enough."""
        with self._lock:
            if size in self._better or len(self._better) >= _MOST_SIZES:
                return None
            self._better[size] = state = _Better()
            return state

    def _look(self, size: Size, state: _Better | None) -> None:
        """Takes what was built before for `size`, or begins to build it."""
        if state is None:
            return
        try:
            engine = self._workshop.find(size)
        except ModelError as error:
            self._give_up(state, size, f"does not run: {error}", str(error))
            return
        if engine is not None:
            state.engine = engine
        elif self._may_build:
            state.note = f"{self._words(size)} building: {self._base.info.provider} serves"
            # A daemon: the end of the program does not wait for it, and ends the build.
            threading.Thread(target=self._build, args=(size, state), name="watchline-build", daemon=True).start()

    def _build(self, size: Size, state: _Better) -> None:
        try:
            with self._builds:
                engine = self._workshop.build(size)
        except (ModelError, OutputError, OSError) as error:  # of the system: no more files or processes
            self._give_up(state, size, f"could not be built: {error}", str(error))
        else:
            with self._lock:
                state.engine, state.note = engine, ""  # all is well: nothing that a user should be warned of
                first = self._calls + 1
            logging.getLogger("watchline.detectors").info("%s since call %d", self._words(size), first)

    def _give_up(self, state: _Better, size: Size, what: str, reason: str) -> None:
        with self._lock:
            state.engine = None
            state.note = f"{self._words(size)} {what}; {self._base.info.provider} runs instead"
            taken = self._base.device if isinstance(self._base, FallbackEngine) else self._base_device
            state.fallbacks.append(Fallback(self._workshop.device, taken, reason))
        logging.getLogger("watchline.detectors").warning("%s", state.note)

    def _words(self, size: Size) -> str:
        return f"{self._workshop.name} engine for {size[0]}x{size[1]}"
