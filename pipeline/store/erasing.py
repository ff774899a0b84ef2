"""Erases sightings, from the tables and from the bytes of the files, and sees to it that nothing is left."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, delete, func, insert, literal, select, update

from watchline.pipeline.store import schema
from watchline.pipeline.store.claims import claimed
from watchline.pipeline.store.database import Database
from watchline.pipeline.store.failures import told
from watchline.pipeline.store.notes import note, noted
from watchline.pipeline.store.seam import Erased, Selection
from watchline.pipeline.store.search import WINDOW_BYTES, Prints, Search
from watchline.pipeline.store.searching import search_files
from watchline.pipeline.store.selecting import conditions as conditions_of
from watchline.pipeline.store.unfinished import Sought, begin, end, journal_of, unfinished
from watchline.streams.errors import OutputError, UsageError

BATCH: Final = 100  # sightings a transaction: others may write in between, and its log stays small
_PAGE: Final = 200  # rows read at once
_STEP: Final = 64  # a window starts every so many bytes of a picture or vector
_MOST_WINDOWS: Final = 500_000  # 6 MB of prints; of more data fewer windows are taken
_MARK: Final = "erasure"  # name in `meta`: the mark of the one that was begun last
_START_OF_SCAN: Final = b"\xff\xda"  # of a JPEG: what comes before is the same in many


@contextmanager
def erasing(
    database: Database, conditions: Sequence[ColumnElement[bool]], now: float, memo: Mapping[str, Any]
) -> Iterator[Erased]:
    """Erases what the conditions say of `sighting`, and searches the files.

    Where it is killed, or its context ends with an error, it is unfinished: see `finishing`. One that nobody awaits an
    answer of, as it has no note, is finished first.

    Raises:
        UsageError: another process erases, or an erasure is unfinished.
        OutputError: a reader keeps the log, or something of it is still found.
    """
    with _alone(database):
        if (left := unfinished(database.path)) is not None:
            if left.note:
                raise UsageError(f"{database.path}: an erasure was broken off; {_finish(database)} first")
            _check_is_of(database, left)
            _erased(database, left)
            end(database.path)
        if not database.truncate():
            raise OutputError(
                f"{database.path}: another program {_does(database)} it all the time; nothing was erased from it: "
                "end it first"
            )
        with database.reading() as connection:
            numbers = list(connection.execute(select(schema.sighting.c.id).where(*conditions)).scalars())
            sought = _sought(connection, numbers, now, memo)
        if not numbers:
            yield Erased((), 0, 0, 0)
            return
        database.with_room(partial(_mark, database, sought.mark))
        database.with_room(partial(begin, database.path, sought))
        yield _erased(database, sought)
        end(database.path)


@contextmanager
def finishing(database: Database) -> Iterator[Erased]:
    """Brings an unfinished erasure to its end, as `erasing` would have done."""
    with _alone(database):
        sought = unfinished(database.path)
        if sought is None:
            raise UsageError(f"{database.path}: no erasure is unfinished")
        _check_is_of(database, sought)
        yield _erased(database, sought)
        end(database.path)


def _alone(database: Database) -> AbstractContextManager[None]:
    return claimed(database.path, "erase", "another program erases from it just now; wait for its end")


def _mark(database: Database, mark: str) -> None:
    with database.writing() as connection:
        note(connection, _MARK, mark)


def _check_is_of(database: Database, sought: Sought) -> None:
    """Refuses to prove of a store what was begun in another one that lay in its place; a copy of it may be finished."""
    with database.reading() as connection:
        begun_here = noted(connection, _MARK) == sought.mark
    if not begun_here and not _left(database, sought):
        raise OutputError(
            f"{journal_of(database.path)}: the journal of an erasure that was begun in another store, which lay here "
            "before; move it beside that one, and finish it there"
        )


def _left(database: Database, sought: Sought) -> list[int]:
    """Returns what is still there."""
    with database.reading() as connection:
        asked = select(schema.sighting.c.id).where(*conditions_of(Selection(ids=sought.ids)))
        return list(connection.execute(asked).scalars())


def _erased(database: Database, sought: Sought) -> Erased:
    """Erases what is still there, and searches the files for it."""
    numbers = _left(database, sought)
    for batch in _batches(numbers):
        database.with_room(partial(_erase_rows, database, batch, sought.at))
    _truncate(database)
    return _proven(database, sought)


def _erase_rows(database: Database, numbers: Sequence[int], now: float) -> None:
    with database.writing() as connection:
        delete_sightings(connection, numbers, now)


def _truncate(database: Database) -> None:
    if not database.truncate():
        raise OutputError(
            f"{database.path}: erased, but {database.path.name}-wal keeps it for as long as another program "
            f"{_does(database)} the store: end that, then run {_finish(database)}"
        )


def _finish(database: Database) -> str:
    return f"`watchline erase finish --store {database.path}`"


def _does(database: Database) -> str:
    """Returns what another program does that keeps the log from being emptied."""
    return "writes to" if database.is_written() else "reads"


def _sought(connection: Connection, numbers: Sequence[int], now: float, memo: Mapping[str, Any]) -> Sought:
    """Reads what is to be erased, once, for its prints and sums."""
    crop, vector, sighting = schema.crop, schema.vector, schema.sighting
    total = 0
    for batch in _batches(numbers):
        for size, owner in ((func.length(crop.c.jpeg), crop), (func.length(vector.c.data), vector)):
            total += connection.execute(select(func.sum(size)).where(owner.c.sighting.in_(batch))).scalar() or 0
    step = _STEP
    while total // step > _MOST_WINDOWS:
        step *= 2
    prints, ids, sums = Prints(), [], []
    crops = vectors = 0
    for number in numbers:
        asked = select(crop.c.jpeg).where(crop.c.sighting == number).order_by(crop.c.id)
        pictures = list(connection.execute(asked).scalars())
        of_it = select(vector.c.data).where(vector.c.sighting == number).order_by(vector.c.key)
        described = list(connection.execute(of_it).scalars())
        for data in (*map(_scan_of, pictures), *described):
            prints.take(data, step)
        crops += sum(map(bool, pictures))  # the retention leaves b""
        vectors += len(described)
        sums.append(hashlib.sha256(b"".join((*pictures, *described))).hexdigest())
        named = select(sighting.c.sighting_id).where(sighting.c.id == number)
        ids.append(connection.execute(named).scalar_one())
    return Sought(secrets.token_hex(8), now, tuple(ids), tuple(sums), crops, vectors, step, prints.rows(), memo)


def _scan_of(jpeg: bytes) -> bytes:
    """Returns the part of a picture that is its own; all of it where that cannot be told."""
    start = jpeg.find(_START_OF_SCAN) if jpeg.startswith(b"\xff\xd8") else -1
    return jpeg[start + 2 :] if start > 0 else jpeg


def _proven(database: Database, sought: Sought) -> Erased:
    """Searches the files; where SQLite left something in an unused corner of a page, the file is written anew."""
    traces, searched = search_files(sought.prints, database.files())
    kept, shared = _kept(database, Search(sought.prints)) if traces else (set(), ())
    if any(trace.window not in kept for trace in traces):
        database.rewrite()
        _truncate(database)
        traces, searched = search_files(sought.prints, database.files())
    left = [trace for trace in traces if trace.window not in kept]
    if left:
        raise OutputError(
            f"{database.path}: erased, but {len(left)} pieces of it are still in {left[0].file.name}, the first at byte"
            f" {left[0].offset}: copy what you keep to a new store, and remove this file"
        )
    removed, more = _search_backups(database, sought.prints, kept)
    return Erased(
        sightings=sought.ids,
        crops=sought.crops,
        vectors=sought.vectors,
        bytes_searched=searched + more,
        files=tuple(str(file) for file in [*database.files(), *database.backups()]),
        sha256=sought.sha256,
        fragment_bytes=sought.step + WINDOW_BYTES - 1,
        shared=shared,
        backups=removed,
    )


def _search_backups(database: Database, prints: NDArray[np.uint8], kept: set[int]) -> tuple[tuple[str, ...], int]:
    """Removes the copies that hold some of it; returns their names, and how many bytes were searched."""
    traces, searched = search_files(prints, database.backups())
    holding = sorted({trace.file for trace in traces if trace.window not in kept})
    for file in holding:
        with told(file):
            file.unlink(missing_ok=True)  # the retention may have been quicker
    return tuple(map(str, holding)), searched


def _kept(database: Database, search: Search) -> tuple[set[int], tuple[str, ...]]:
    """Returns the windows that sightings have which are kept: the same picture twice; and those sightings."""
    found: set[int] = set()
    owners: set[int] = set()
    for owner, data in _every_blob(database):
        windows = search.in_data(data)
        if windows:
            found |= windows
            owners.add(owner)
    ids: list[str] = []
    with database.reading() as connection:
        for batch in _batches(sorted(owners)):
            column = schema.sighting.c.sighting_id
            ids += connection.execute(select(column).where(schema.sighting.c.id.in_(batch))).scalars()
    return found, tuple(sorted(ids))


def _every_blob(database: Database) -> Iterator[tuple[int, bytes]]:
    crop, vector = schema.crop, schema.vector
    for key, owner, data in (
        (crop.c.id, crop.c.sighting, crop.c.jpeg),
        (vector.c.key, vector.c.sighting, vector.c.data),
    ):
        last = -1
        while True:
            with database.reading() as connection:
                page = select(key, owner, data).where(key > last).order_by(key).limit(_PAGE)
                rows = connection.execute(page).all()
            if not rows:
                break
            last = rows[-1][0]
            for _, number, blob in rows:
                yield number, blob


def delete_sightings(connection: Connection, numbers: Sequence[int], now: float) -> None:
    """Deletes sightings with all that belongs to them, and what is referred to no more."""
    sighting, track = schema.sighting, schema.track
    keys = list(connection.execute(select(sighting.c.track_key).where(sighting.c.id.in_(numbers)).distinct()).scalars())
    delete_vectors(connection, numbers, now)
    for table in (schema.crop, schema.path):
        connection.execute(delete(table).where(table.c.sighting.in_(numbers)))
    connection.execute(delete(sighting).where(sighting.c.id.in_(numbers)))
    own = sighting.c.track_key == track.c.track_key
    connection.execute(delete(track).where(track.c.track_key.in_(keys), ~select(sighting.c.id).where(own).exists()))
    narrower = {
        "started_at": select(func.min(sighting.c.started_at)).where(own).scalar_subquery(),
        "ended_at": select(func.max(sighting.c.ended_at)).where(own).scalar_subquery(),
    }
    connection.execute(update(track).where(track.c.track_key.in_(keys)).values(narrower))
    made_by, model = schema.provenance, schema.model
    used = select(sighting.c.id).where(sighting.c.provenance == made_by.c.id)
    connection.execute(delete(made_by).where(~used.exists()))
    used = select(schema.vector.c.key).where(schema.vector.c.model == model.c.id)
    connection.execute(delete(model).where(~used.exists()))


def delete_vectors(connection: Connection, numbers: Sequence[int], now: float) -> None:
    """Deletes the vectors of sightings, and notes their keys for the indexes."""
    vector, removed = schema.vector, schema.removed
    gone = select(vector.c.key, literal(now)).where(vector.c.sighting.in_(numbers))
    connection.execute(insert(removed).from_select(["key", "at"], gone))
    connection.execute(delete(vector).where(vector.c.sighting.in_(numbers)))


def _batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), BATCH):
        yield numbers[start : start + BATCH]
