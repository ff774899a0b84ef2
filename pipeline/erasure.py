"""Erasing sightings for good: exported files first, then the store, then a search for what should be gone."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from watchline.pipeline.export_erasure import Plan, Searched, Traces, carry_out, search
from watchline.pipeline.store.proof import proof_of
from watchline.pipeline.store.seam import Erased, Selection, SightingStore
from watchline.streams.errors import OutputError, UsageError


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be erased, and from where.

    Attributes:
        selection: of sightings.
        store: the store's file.
        folders: of exports.
        traces: of the sightings; empty where nothing but the store is searched.
        plan: exported files that are to go.
    """

    selection: Selection
    store: Path
    folders: tuple[Path, ...]
    traces: Traces
    plan: Plan


@dataclass(slots=True)
class Proof:
    """What was erased, and where it was looked for afterwards.

    Attributes:
        order: what was asked for.
        erased: what the store erased, and how much of its files it searched.
        deleted: exported files that went.
        searched: the search of exports.
        started_at: UTC seconds.
        took_s: how long all of it took.
        failure: why it is not complete; "" where it is.
    """

    order: Order
    started_at: float
    erased: Erased = field(default_factory=lambda: Erased((), 0, 0, 0))
    deleted: tuple[Path, ...] = ()
    searched: Searched = field(default_factory=lambda: Searched(0, 0, ()))
    took_s: float = 0.0
    failure: str = ""

    def record(self, version: str) -> dict[str, object]:
        """Returns it as its file has it: what the store proves, and what was done to exports."""
        return {
            **proof_of(self.erased, self.order.selection, self.order.store.absolute(), self.started_at, version),
            "complete": not self.failure,
            "failure": self.failure,
            "took_s": round(self.took_s, 3),
            "exports": {
                "folders": list(map(str, self.order.folders)),
                "deleted": list(map(str, self.deleted)),
                "searched_files": self.searched.files,
                "searched_bytes": self.searched.size_bytes,
                "searched_for_ids": sorted(self.order.traces.ids),
                "searched_for_sha256": sorted(self.order.traces.sha256),
                "found": [{"file": str(path), "what": what} for path, what in self.searched.found],
            },
        }


def erase(store: SightingStore, order: Order) -> Proof:
    """Erases what is ordered, and says what was found afterwards; never raises for what is still found.

    Exports go first: should this end early, the store still knows what is to be erased, and the same order goes on
    where it ended.
    """
    proof = Proof(order, started_at=time.time())
    began = time.monotonic()
    failures = []
    try:
        carry_out(order.plan)
        proof.deleted = order.plan.files
        proof.erased = store.erase(order.selection)
    except OutputError as error:
        failures.append(str(error))
    try:
        if order.folders:
            proof.searched = search(order.folders, order.traces)
    except OutputError as error:
        failures.append(str(error))
    if proof.searched.found:
        failures.append(still_found(proof.searched))
    proof.failure = "; ".join(failures)
    proof.took_s = time.monotonic() - began
    return proof


def still_found(searched: Searched) -> str:
    """Returns the line about files that hold what should be gone."""
    number = len(searched.found)
    return f"{number} file{'s' * (number != 1)} still hold{'s' * (number == 1)} some of what was erased"


def traces_in(proof: Path) -> Traces:
    """Returns what an erasure looked for in exports, from its proof.

    Raises:
        UsageError: the file is no proof.
    """
    try:
        said = json.loads(proof.read_bytes())["exports"]
        return Traces(frozenset(map(str, said["searched_for_ids"])), frozenset(map(str, said["searched_for_sha256"])))
    except OSError as error:
        raise UsageError(f"{proof}: cannot be read: {error.strerror}; name a file that --proof wrote") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"{proof}: not a proof of `watchline erase`; name a file that --proof wrote") from None


@contextmanager
def finishing(tell: Callable[[], None]) -> Iterator[None]:
    """Lets what runs come to its end when the first Ctrl-C comes, which calls `tell`; the second one interrupts.

    Outside the main thread, where signals do not come, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def once(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        tell()

    ignored = before is signal.SIG_IGN or before is None
    if not ignored:
        signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        if not ignored:
            signal.signal(signal.SIGINT, before)
