"""Erases sightings, from the tables and from the bytes of the files, and sees to it that nothing is left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, delete, func, insert, literal, select, update

from watchline.pipeline.store import schema
from watchline.pipeline.store.database import Database
from watchline.pipeline.store.seam import Erased
from watchline.pipeline.store.search import WINDOW_BYTES, Search, Windows
from watchline.pipeline.store.searching import search_files
from watchline.streams.errors import OutputError

BATCH: Final = 100  # sightings a transaction: others may write in between, and its log stays small
_PAGE: Final = 200  # rows read at once
_STEP: Final = 64  # a window starts every so many bytes of a picture or vector
_MOST_WINDOWS: Final = 500_000  # about 100 MB of memory; of more data fewer windows are taken
_START_OF_SCAN: Final = b"\xff\xda"  # of a JPEG: what comes before is the same in many


@dataclass(slots=True)
class Sought:
    """What is erased, and how it is known again."""

    windows: Windows
    step: int
    ids: list[str] = field(default_factory=list)
    sha256: list[str] = field(default_factory=list)
    crops: int = 0
    vectors: int = 0


def erase(database: Database, conditions: Sequence[ColumnElement[bool]], now: float) -> Erased:
    """Erases what the conditions say of `sighting`, and searches the files.

    Raises:
        OutputError: a reader keeps the log, or something of it is still found.
    """
    if not database.truncate():
        raise OutputError(
            f"{database.path}: another program {_does(database)} it all the time; nothing was erased: end it first"
        )
    with database.reading() as connection:
        numbers = list(connection.execute(select(schema.sighting.c.id).where(*conditions)).scalars())
        sought = _sought(connection, numbers)
    if not numbers:
        return Erased((), 0, 0, 0)
    for batch in _batches(numbers):
        database.with_room(partial(_erase_rows, database, batch, now))
    _truncate(database)
    return _proven(database, sought)


def _erase_rows(database: Database, numbers: Sequence[int], now: float) -> None:
    with database.writing() as connection:
        delete_sightings(connection, numbers, now)


def _truncate(database: Database) -> None:
    if not database.truncate():
        raise OutputError(
            f"{database.path}: erased, but {database.path.name}-wal keeps it for as long as another program "
            f"{_does(database)} the store: end that, then run `watchline sightings purge`"
        )


def _does(database: Database) -> str:
    """Returns what another program does that keeps the log from being emptied."""
    return "writes to" if database.is_written() else "reads"


def _sought(connection: Connection, numbers: Sequence[int]) -> Sought:
    """Reads what is to be erased, once, for its windows and sums."""
    crop, vector = schema.crop, schema.vector
    total = 0
    for batch in _batches(numbers):
        for size, owner in ((func.length(crop.c.jpeg), crop), (func.length(vector.c.data), vector)):
            total += connection.execute(select(func.sum(size)).where(owner.c.sighting.in_(batch))).scalar() or 0
    step = _STEP
    while total // step > _MOST_WINDOWS:
        step *= 2
    sought = Sought(Windows(), step)
    for number in numbers:
        _seek(connection, number, sought)
    return sought


def _seek(connection: Connection, number: int, sought: Sought) -> None:
    crop, vector, sighting = schema.crop, schema.vector, schema.sighting
    digest = hashlib.sha256()
    for jpeg in connection.execute(select(crop.c.jpeg).where(crop.c.sighting == number).order_by(crop.c.id)).scalars():
        digest.update(jpeg)
        sought.windows.take(_scan_of(jpeg), sought.step)
        sought.crops += bool(jpeg)  # the retention leaves b""
    asked = select(vector.c.data).where(vector.c.sighting == number).order_by(vector.c.key)
    for data in connection.execute(asked).scalars():
        digest.update(data)
        sought.windows.take(data, sought.step)
        sought.vectors += 1
    sought.ids.append(connection.execute(select(sighting.c.sighting_id).where(sighting.c.id == number)).scalar_one())
    sought.sha256.append(digest.hexdigest())


def _scan_of(jpeg: bytes) -> bytes:
    """Returns the part of a picture that is its own; all of it where that cannot be told."""
    start = jpeg.find(_START_OF_SCAN) if jpeg.startswith(b"\xff\xd8") else -1
    return jpeg[start + 2 :] if start > 0 else jpeg


def _proven(database: Database, sought: Sought) -> Erased:
    """Searches the files; where SQLite left something in an unused corner of a page, the file is written anew."""
    windows = sought.windows.rows()
    traces, searched = search_files(windows, database.files())
    kept, shared = _kept(database, Search(windows)) if traces else (set(), ())
    if any(trace.window not in kept for trace in traces):
        database.rewrite()
        _truncate(database)
        traces, searched = search_files(windows, database.files())
    left = [trace for trace in traces if trace.window not in kept]
    if left:
        raise OutputError(
            f"{database.path}: erased, but {len(left)} pieces of it are still in {left[0].file.name}, the first at byte"
            f" {left[0].offset}: copy what you keep to a new store, and remove this file"
        )
    removed, more = _search_backups(database, windows, kept)
    return Erased(
        sightings=tuple(sought.ids),
        crops=sought.crops,
        vectors=sought.vectors,
        bytes_searched=searched + more,
        files=tuple(str(file) for file in [*database.files(), *database.backups()]),
        sha256=tuple(sought.sha256),
        fragment_bytes=sought.step + WINDOW_BYTES - 1,
        shared=shared,
        backups=removed,
    )


def _search_backups(database: Database, windows: NDArray[np.uint8], kept: set[int]) -> tuple[tuple[str, ...], int]:
    """Removes the copies that hold some of it; returns their names, and how many bytes were searched."""
    traces, searched = search_files(windows, database.backups())
    holding = sorted({trace.file for trace in traces if trace.window not in kept})
    for file in holding:
        file.unlink()
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
