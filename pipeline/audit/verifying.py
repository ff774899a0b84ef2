"""Is an audit log as it was written? What was changed, moved or removed is named by its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watchline.pipeline.audit.head import MOST_AHEAD, START, Mark
from watchline.pipeline.audit.reading import Snapshot, snapshot
from watchline.pipeline.audit.record import Action, Record, parse
from watchline.pipeline.signing import PublicKey

_MOST_TOLD: Final = 100
_MOST_FILES: Final = 10_000


@dataclass(slots=True)
class Verified:
    """What a look at a whole audit log showed.

    Attributes:
        records: how many there are.
        end: the newest one that was read.
        first_at: time of the first record; "" where there is none.
        last_at: of the newest.
        backwards: records that were written after the clock had gone back.
        problems: what is wrong, a line each, at most 100; none where all is as it was written.
        untold: problems beyond these.
        notes: what is no fault of the log, but should be known.
    """

    records: int = 0
    end: Mark = START
    first_at: str = ""
    last_at: str = ""
    backwards: int = 0
    problems: list[str] = field(default_factory=list)
    untold: int = 0
    notes: list[str] = field(default_factory=list)


def verify(store: Path, noted: Sequence[Mark] = (), key: PublicKey | None = None) -> Verified:
    """Reads the whole log of a store, in constant memory, and compares it with its head mark.

    Args:
        store: its file.
        noted: heads that somebody noted down elsewhere, at any time.
        key: the site's; without it, anybody's signature of the head mark will do.

    Raises:
        UsageError: there is no log.
        OutputError: it cannot be read.
    """
    found = snapshot(store)
    walk = _Walk(found, noted)
    for line in found.lines():
        walk.take(line)
    walk.finish()
    done = walk.done
    if found.head is not None:
        done.notes.append(f"head mark: record {found.head.mark.number}, signed by key {found.head.fingerprint}")
        if key is None:
            done.notes.append("whose key that is was not checked: give --key with the site's public key")
        elif found.head.fingerprint != key.fingerprint:
            walk.tell(f"the head mark was signed by another key, not by {key.fingerprint}")
        elif not key.verifies(found.head.signature, found.head.signed):
            walk.tell("the head mark was changed: its signature does not fit it")
    _note_torn(found, walk)
    return done


class _Walk:
    """A walk along the log."""

    def __init__(self, found: Snapshot, noted: Sequence[Mark]) -> None:
        self.done = Verified()
        self._found = found
        self._marks = [(mark, "the head that was noted") for mark in noted]
        if found.head is not None:
            self._marks.append((found.head.mark, "the head mark"))
        self._last: Record | None = None  # the one of the highest number
        self._unread = 0  # lines since then that are no record
        self._gaps: list[tuple[int, int]] = []  # numbers passed over, told at the end
        self.mended: set[str] = set()

    def tell(self, text: str) -> None:
        """Notes something wrong."""
        if len(self.done.problems) < _MOST_TOLD:
            self.done.problems.append(text)
        else:
            self.done.untold += 1

    def take(self, line: bytes) -> None:
        """Looks at the next line."""
        if not line.endswith(b"\n"):
            self.done.notes.append(
                f"after record {self._number}: {len(line)} bytes of a torn line; a writer was killed, and what it was "
                "about to record was not done. The next record sets them aside"
            )
            return
        record = parse(line[:-1])
        self.done.records += record is not None
        if record is None or record.digest() != record.sha256:  # then its number says nothing either
            self._unread += 1
            what = "its SHA-256 is not that of what it says" if record else "what stands in its place is no record"
            self.tell(f"record {self._number + self._unread}: changed: {what}")
            return
        self._place(record)

    @property
    def _number(self) -> int:
        return self._last.number if self._last else 0

    def _place(self, record: Record) -> None:
        """Compares a record with the one before it."""
        expected = self._number + 1
        if record.number < expected:
            self._fill(record.number)
            return
        missing = record.number - expected
        if missing > self._unread:
            self._gaps.append((expected + self._unread, record.number - 1))
            del self._gaps[_MOST_TOLD:]
        elif not missing and not self._unread:
            prior = self._last.sha256 if self._last else START.sha256
            if record.prior != prior:
                which = self._number or record.number
                self.tell(f"record {which}: changed: it is not the one that record {record.number} names before itself")
        self._check_marks(record)
        if record.back_s > 0:
            self.done.backwards += 1
        if record.action == Action.MEND and len(self.mended) < _MOST_FILES:
            self.mended.add(str(record.details.get("file")))
        self.done.first_at = self.done.first_at or record.at
        self._last, self._unread = record, 0

    def _fill(self, number: int) -> None:
        """Tells of a record that stands after a later one, and takes it out of those that are missing."""
        for place, (first, last) in enumerate(self._gaps):
            if first <= number <= last:
                parts = [(first, number - 1), (number + 1, last)]
                self._gaps[place : place + 1] = [part for part in parts if part[0] <= part[1]]
                self.tell(f"record {number}: moved: it stands after record {self._number}")
                return
        self.tell(f"record {number}: stands a second time after record {self._number}")

    def _check_marks(self, record: Record) -> None:
        for mark, name in self._marks:
            if mark.number == record.number and mark.sha256 != record.sha256:
                self.tell(f"record {record.number}: is not the one of {name}: the log was written anew up to there")

    def finish(self) -> None:
        """Tells what was never seen."""
        for first, last in self._gaps:
            self.tell(f"{_numbers(first, last)}: removed")
        for mark, name in self._marks:
            if mark.number > self._number:
                self.tell(f"{_numbers(self._number + 1, mark.number)}: removed from the end: {name} knows of them")
        if self._found.head is None:
            self.tell(self._found.head_problem or "the head mark is gone: records may be missing at the end")
        elif (first := self._found.head.mark.number + 1) <= self._number:
            unsigned = f"{_numbers(first, self._number)}: newer than the head mark, so nobody signed this"
            if self._number - first >= MOST_AHEAD:
                self.tell(unsigned)
            else:
                self.done.notes.append(f"{unsigned}: a writer was killed just then, or somebody added it")
        if self._last is not None:
            self.done.end, self.done.last_at = Mark(self._last.number, self._last.sha256), self._last.at


def _numbers(first: int, last: int) -> str:
    return f"record {first}" if first == last else f"records {first} to {last}"


def _note_torn(found: Snapshot, walk: _Walk) -> None:
    """Notes torn ends that lie beside the log, and whether the log knows of them."""
    for path in sorted(found.path.parent.glob(f"{found.path.name}-torn-*"))[:_MOST_TOLD]:
        known = "" if path.name in walk.mended else ", of which the log does not know"
        walk.done.notes.append(f"a torn end lies aside: {path.name}{known}")
