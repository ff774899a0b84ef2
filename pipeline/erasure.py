"""Erasing sightings for good: exported files first, then the store, then a search for what should be gone."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

from watchline import __version__
from watchline.pipeline.export_erasure import Plan, Searched, Traces, carry_out, search
from watchline.pipeline.store.proof import proof_of, proves, write_proof
from watchline.pipeline.store.seam import Erased, Selection, SightingStore
from watchline.streams.errors import OutputError, UsageError

_NO_TRACES: Final = Traces(frozenset(), frozenset())
_NO_PLAN: Final = Plan((), 0, ())


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be erased, and from where.

    Attributes:
        asked: what was asked for.
        ids: of the sightings that this meant when it was shown: what was stored since stays.
        store: the store's file.
        folders: of exports.
        traces: of the sightings; empty where nothing but the store is searched.
        plan: exported files that are to go.
        out: file of the proof; None for none.
        said: the same as the user said it; "" for unknown.
    """

    asked: Selection
    ids: tuple[str, ...]
    store: Path
    folders: tuple[Path, ...] = ()
    traces: Traces = _NO_TRACES
    plan: Plan = _NO_PLAN
    out: Path | None = None
    said: str = ""

    def note(self) -> dict[str, object]:
        """Returns what is needed to finish it after the store's part, for JSON."""
        return {
            "asked": asdict(self.asked),
            "folders": [str(folder.absolute()) for folder in self.folders],
            "ids": sorted(self.traces.ids),
            "sha256": sorted(self.traces.sha256),
            "deleted": list(map(str, self.plan.files)),
            "out": str(self.out.absolute()) if self.out else "",
            "said": self.said,
        }

    def is_of(self, said: str, folders: tuple[Path, ...], out: Path) -> bool:
        """Tells whether this, as read from its note, is what the same command asks for."""
        asked = said, tuple(folder.absolute() for folder in folders), out.absolute()
        return (self.said, self.folders, self.out) == asked

    @classmethod
    def of_note(cls, store: Path, note: Mapping[str, Any], out: Path | None) -> Order:
        """Returns the order of which this is the note; the proof goes to `out`, where one is given.

        Raises:
            OutputError: it is no such note.
        """
        try:
            asked: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in note["asked"].items()}
            return cls(
                Selection(**asked),
                (),
                store,
                tuple(map(Path, note["folders"])),
                Traces(frozenset(note["ids"]), frozenset(note["sha256"])),
                Plan(tuple(map(Path, note["deleted"])), 0, ()),
                out or (Path(note["out"]) if note["out"] else None),
                str(note["said"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{store}: the journal of its unfinished erasure is damaged ({error}); erase the same again after you "
                f"removed {store}.erasing"
            ) from None


@dataclass(slots=True)
class Proof:
    """What was erased, and where it was looked for afterwards.

    Attributes:
        order: what was asked for.
        started_at: UTC seconds.
        erased: what the store erased, and how much of its files it searched.
        searched: the search of exports.
        took_s: how long all of it took, or its end, where it was broken off.
        failure: why it is not complete; "" where it is.
    """

    order: Order
    started_at: float
    erased: Erased = field(default_factory=lambda: Erased((), 0, 0, 0))
    searched: Searched = field(default_factory=lambda: Searched(0, 0, ()))
    took_s: float = 0.0
    failure: str = ""

    def record(self) -> dict[str, object]:
        """Returns it as its file has it: what the store proves, and what was done to exports."""
        order = self.order
        return {
            **proof_of(self.erased, order.asked, order.store.absolute(), self.started_at, __version__),
            "complete": not self.failure,
            "failure": self.failure,
            "took_s": round(self.took_s, 3),
            "exports": {
                "folders": list(map(str, order.folders)),
                "deleted": list(map(str, order.plan.files)),
                "searched_files": self.searched.files,
                "searched_bytes": self.searched.size_bytes,
                "searched_for_ids": sorted(order.traces.ids),
                "searched_for_sha256": sorted(order.traces.sha256),
                "found": [{"file": str(path), "what": what} for path, what in self.searched.found],
            },
        }


def erase(store: SightingStore, order: Order) -> Proof:
    """Erases what is ordered, says what was found afterwards, and writes that down where it is asked for.

    Exports go first: should this end before the store's part begins, the store still knows what is to be erased, and
    the same order goes on where it ended. From then on the store's journal knows of it, until its proof is written.

    Raises:
        OutputError: something cannot be erased or written; what is still found in exports is told by the proof instead.
    """
    proof, began = Proof(order, started_at=time.time()), time.monotonic()
    carry_out(order.plan)
    if not order.ids:  # the store knows it no longer, but exports may
        _prove(proof, began)
        return proof
    with store.erasing(Selection(ids=order.ids), order.note()) as proof.erased:
        _prove(proof, began)
    return proof


def finish(store: SightingStore, path: Path, out: Path | None = None) -> Proof | None:
    """Finishes the erasure that was broken off; None where there is none.

    Args:
        store: where.
        path: its file.
        out: file of the proof; where none is given, the one that was asked for.

    Raises:
        UsageError: another process is at it, or `out` lies where it would be found.
        OutputError: as `erase`.
    """
    began, left = time.monotonic(), store.unfinished()
    if left is None:
        return None
    order = Order.of_note(path, left.note, out) if left.note else Order(Selection(), (), path, out=out)
    if out is not None:
        check_outside(out, order.folders)
    proof = Proof(order, started_at=left.at)
    with store.finishing() as proof.erased:
        _prove(proof, began)
    return proof


def check_outside(out: Path, folders: Sequence[Path]) -> None:
    """Refuses a place for the proof in folders that are searched for what it names, with a UsageError."""
    if any(out.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise UsageError(f"--proof {out}: lies in --exports, where what it names is searched for; choose another place")


def _prove(proof: Proof, began: float) -> None:
    """Searches the exports, and writes the proof."""
    order = proof.order
    try:
        if order.folders:
            proof.searched = search(order.folders, order.traces)
        if proof.searched.found:
            proof.failure = still_found(proof.searched)
    except OutputError as error:
        proof.failure = str(error)
    proof.took_s = time.monotonic() - began
    ended = not proof.failure
    if order.out is not None and not proves(order.out, proof.erased.sightings, complete=ended):  # else: killed after it
        try:
            write_proof(order.out, proof.record())
        except OutputError as error:
            raise OutputError(f"{error}; `watchline erase finish --proof FILE` writes it elsewhere") from error


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
