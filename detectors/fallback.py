"""FallbackEngine: one device after the other, until one runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, EngineInfo, Fallback
from watchline.streams.errors import ModelError, UsageError

Opener: TypeAlias = Callable[[], Engine]


class FallbackEngine:
    """Several engines for one network: the first that starts runs, until it fails; then the next takes over, for good.

    Each change is in `info.fallbacks`, in its note, and logged once as a warning of "watchline.detectors".

    Args:
        openers: name of a device, and what starts its engine, in the order to try them.

    Raises:
        ModelError: none started; says what the last one said.
        UsageError: likewise.
    """

    def __init__(self, openers: Sequence[tuple[str, Opener]]) -> None:
        self._left = list(openers)
        self._failed: list[str] = []
        self._fallbacks: list[Fallback] = []
        self._lock = threading.Lock()
        self._device, self._engine = self._next()
        self._card = self._engine.card

    @property
    def info(self) -> EngineInfo:
        """What really runs now; the note says what failed before."""
        info = self._engine.info
        note = "; ".join([*self._failed, info.note] if info.note else self._failed)
        return replace(info, note=note, fallbacks=(*self._fallbacks, *info.fallbacks))

    @property
    def device(self) -> str:
        """The device that runs now, as the user names it."""
        return self._device

    @property
    def card(self) -> ModelCard:
        """What the network is and how it wants to be fed."""
        return self._card

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width that the input must have; None where any multiple of the stride will do."""
        return self._engine.fixed_size

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns what the engine that runs now answers; if it fails, what the next one does.

        Raises:
            ModelError: the last one failed, too.
        """
        engine = self._engine
        try:
            return engine.run(batch)
        except ModelError as error:
            with self._lock:
                if self._engine is engine:  # or else another thread has changed it by now
                    if not self._left:
                        raise
                    words = f"{engine.info.provider} failed while running: {error}"
                    self._failed.append(words)
                    self._device, self._engine = self._next((self._device, str(error), words))
        return self.run(batch)

    def _next(self, *gone: tuple[str, str, str]) -> tuple[str, Engine]:
        """Returns the next device that starts, and its engine.

        Args:
            gone: the one that gives way, if any: its name, why, and the same in words.
        """
        failed = list(gone)
        while True:
            name, start = self._left.pop(0)
            try:
                engine = start()
            except (ModelError, UsageError) as error:
                if not self._left:
                    raise
                failed.append((name, str(error), f"{name} did not start: {error}"))
                self._failed.append(failed[-1][2])
                continue
            for left, reason, words in failed:
                self._fallbacks.append(Fallback(left, name, reason))
                logging.getLogger("watchline.detectors").warning("%s; %s runs instead", words, name)
            return name, engine
