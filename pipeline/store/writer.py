"""A thread that writes sightings, so that whoever saw them need not wait for the disk."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from watchline.pipeline.store.failures import StoreFull
from watchline.pipeline.store.sighting import Sighting
from watchline.streams.errors import OutputError

FULL: Final = "full"  # the disk is
ERROR: Final = "error"  # the store can't be written for another reason
QUEUE_FULL: Final = "queue_full"  # more comes than the disk takes
CLOSED: Final = "closed"

_END_S: Final = 1.0  # for the thread to end by itself, beyond what it may take to write
_ROW_BYTES: Final = 1024  # what a sighting takes without pictures, vectors and path


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """How sightings are gathered and written.

    Attributes:
        queue: most sightings that wait.
        queue_bytes: most bytes of theirs.
        commit_s: longest time that one waits for others to be written with it, seconds.
        commit_rows: as many are written without waiting for more.
        commit_most: most that are written as one.
        commit_bytes: most bytes that are written as one.
        retry_s: between two tries while the store can't be written, seconds.
    """

    queue: int = 10_000
    queue_bytes: int = 128 * 1024 * 1024
    commit_s: float = 0.1
    commit_rows: int = 100
    commit_most: int = 500
    commit_bytes: int = 16 * 1024 * 1024
    retry_s: float = 1.0


@dataclass(frozen=True, slots=True)
class WriterStatus:
    """What a writer did so far: accepted = stored + lost + queued.

    Attributes:
        accepted: sightings that it took.
        stored: that are on the disk: they survive a kill and a loss of power.
        lost: taken, but not stored: with an id that is stored already, or left over at the end.
        refused: not taken, by reason: "full", "error", "queue_full", "closed".
        queued: that wait.
        queued_bytes: of those.
        trouble: why nothing can be stored just now: "full", "error"; "" where it can.
        last_error: the last that went wrong, in words; "" for nothing.
        since: when the trouble began, UTC seconds; 0.0 for none.
    """

    accepted: int
    stored: int
    lost: int
    refused: Mapping[str, int]
    queued: int
    queued_bytes: int
    trouble: str
    last_error: str
    since: float


class Adds(Protocol):
    """What of a `SightingStore` a writer needs; see there."""

    def add(self, sightings: Sequence[Sighting]) -> None:
        """Keeps all or none."""


class StoreWriter:
    """Writes sightings to a store, many in one commit. Safe to call from several threads.

    While the disk is full, or the store fails otherwise, what was accepted waits and is tried again every second; once
    the queue is full too, new sightings are refused and counted.

    Args:
        store: stays the caller's to close, after the writer.
        settings: see there.
    """

    def __init__(self, store: Adds, settings: WriterSettings = WriterSettings()) -> None:
        self._store = store
        self._settings = settings
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Sighting, int]] = deque()
        self._bytes = 0
        self._accepted = self._stored = self._lost = 0
        self._refused: Counter[str] = Counter()
        self._trouble = self._last_error = ""
        self._since = 0.0
        self._closing = False
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="sightings", daemon=True)
        self._thread.start()

    def put(self, sighting: Sighting, wait_s: float = 0.0) -> bool:
        """Takes a sighting to be written soon.

        Args:
            sighting: must not change any more.
            wait_s: longest time to wait for room in the queue, seconds; 0 to never wait, as live cameras must.

        Returns:
            False where it was refused, which is counted.
        """
        size = size_of(sighting)
        with self._changed:
            if wait_s > 0:
                self._changed.wait_for(lambda: self._closing or self._has_room(size), wait_s)
            if self._closing or not self._has_room(size):
                self._refused[CLOSED if self._closing else self._trouble or QUEUE_FULL] += 1
                return False
            self._waiting.append((sighting, size))
            self._bytes += size
            self._accepted += 1
            if len(self._waiting) in {1, self._settings.commit_rows}:
                self._changed.notify_all()
            return True

    def flush(self, timeout_s: float) -> bool:
        """Waits until all that was accepted is stored or lost; False where that takes longer than `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def status(self) -> WriterStatus:
        """Returns the figures so far."""
        with self._changed:
            return WriterStatus(
                accepted=self._accepted,
                stored=self._stored,
                lost=self._lost,
                refused=MappingProxyType(dict(self._refused)),
                queued=len(self._waiting),
                queued_bytes=self._bytes,
                trouble=self._trouble,
                last_error=self._last_error,
                since=self._since,
            )

    def close(self, timeout_s: float) -> WriterStatus:
        """Writes what waits, for at most about `timeout_s`, and ends; what is left counts as lost. Idempotent."""
        with self._changed:
            if not self._closing:
                self._closing = True
                self._deadline = time.monotonic() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s + _END_S)
        with self._changed:
            if not self._thread.is_alive():
                self._lost += len(self._waiting)
                self._drop(len(self._waiting))
        return self.status()

    def _has_room(self, size: int) -> bool:
        """Tells whether one more fits; one that is greater than the whole queue fits where nothing waits."""
        fits = not self._waiting or self._bytes + size <= self._settings.queue_bytes
        return fits and len(self._waiting) < self._settings.queue

    def _run(self) -> None:
        while batch := self._next():
            stored, lost, trouble, error = self._write(batch)
            with self._changed:
                self._stored += stored
                self._lost += lost
                self._drop(stored + lost)
                self._note(trouble, error)
                self._changed.notify_all()
                if trouble:
                    self._pause()

    def _pause(self) -> None:
        """Waits before the next try; the end, when it comes, is worth a try at once."""
        closing, left_s = self._closing, self._deadline - time.monotonic()
        self._changed.wait_for(lambda: self._closing != closing, max(0.0, min(self._settings.retry_s, left_s)))

    def _next(self) -> list[Sighting]:
        """Waits for sightings and returns the oldest; they stay in the queue until they are stored. Empty: the end."""
        settings = self._settings
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._closing:
                self._changed.wait_for(
                    lambda: self._closing or len(self._waiting) >= settings.commit_rows, settings.commit_s
                )
            if self._closing and time.monotonic() >= self._deadline:
                return []
            batch: list[Sighting] = []
            total = 0
            for sighting, size in self._waiting:
                total += size
                if batch and (len(batch) >= settings.commit_most or total > settings.commit_bytes):
                    break
                batch.append(sighting)
            return batch

    def _write(self, batch: list[Sighting]) -> tuple[int, int, str, str]:
        """Returns how many of the oldest are stored and lost, and what is wrong, as a reason and in words."""
        try:
            self._store.add(batch)
        except StoreFull as error:
            return 0, 0, FULL, str(error)
        except OutputError as error:
            return 0, 0, ERROR, str(error)
        except Exception as error:  # noqa: BLE001 - one sighting that cannot be stored must not end the thread
            return self._one_by_one(batch) if len(batch) > 1 else (0, 1, "", str(error) or type(error).__name__)
        return len(batch), 0, "", ""

    def _one_by_one(self, batch: list[Sighting]) -> tuple[int, int, str, str]:
        """Writes a batch in which one is wrong."""
        stored, lost, said = 0, 0, ""
        for sighting in batch:
            more, less, trouble, error = self._write([sighting])
            stored, lost, said = stored + more, lost + less, error or said
            if trouble:
                return stored, lost, trouble, error
        return stored, lost, "", said

    def _drop(self, many: int) -> None:
        for _ in range(many):
            self._bytes -= self._waiting.popleft()[1]

    def _note(self, trouble: str, error: str) -> None:
        if trouble and not self._trouble:
            self._since = time.time()
        elif not trouble:
            self._since = 0.0
        self._trouble = trouble
        self._last_error = error or self._last_error


def size_of(sighting: Sighting) -> int:
    """Returns about how many bytes a sighting takes."""
    pictures = sum(len(crop.jpeg) for crop in sighting.crops)
    vectors = sum(vector.vector.nbytes for vector in sighting.vectors)
    return _ROW_BYTES + pictures + vectors + sighting.path.nbytes
