"""The retention: erases what is older than it may get, kind by kind, and the oldest where there is too much."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select, update

from watchline.pipeline.store import schema
from watchline.pipeline.store.database import Database
from watchline.pipeline.store.erasing import BATCH, delete_sightings, delete_vectors
from watchline.pipeline.store.failures import told
from watchline.pipeline.store.notes import note, noted
from watchline.pipeline.store.seam import Erased, Keep

REMOVED_S: Final = 7 * 86_400.0  # how long the keys of removed vectors are told
BACKUP_S: Final = 7 * 86_400.0  # longest time that a copy from before an upgrade is kept
_FULL: Final = 0.95  # of the room: beyond, some is made
_ROOMY: Final = 0.9  # of it that is used afterwards
_PARTS: Final = 20  # of all sightings, so few at once that a small store keeps its newest
_TRUNCATE_S: Final = 0.5  # a reader may keep the log until the next time: new sightings must not wait for that
STALE: Final = "removed_until"  # name in `meta`: the newest mark that was dropped
_CLOCK: Final = "clock"  # name in `meta`: the latest time that was believed here

_table: Final = schema.sighting


def purge(database: Database, keep: Keep, now: float) -> Erased:
    """Erases what is older than it may get; the log is emptied where nobody holds it, and no search is made."""
    crops = vectors = 0
    if keep.crops_s is not None:
        crops += _purge_kind(database, schema.CROPS, now - keep.crops_s, _empty_crops)
    if keep.vectors_s is not None:
        drop = _vectors_until(now)
        vectors += _purge_kind(database, schema.VECTORS, now - keep.vectors_s, drop)
    if keep.paths_s is not None:
        _purge_kind(database, schema.PATH, now - keep.paths_s, _drop_paths)
    ids: tuple[str, ...] = ()
    if keep.sightings_s is not None:
        ids, more, gone = _purge_sightings(database, now - keep.sightings_s, now)
        crops, vectors = crops + more, vectors + gone
    _drop_old_marks(database, now - REMOVED_S)
    backups = _drop_backups(database, keep, now)
    return Erased(ids, crops, vectors, 0, backups=backups, in_log=not database.truncate(_TRUNCATE_S))


def trim(database: Database, most_bytes: int, now: float) -> Erased:
    """Erases the sightings that were stored first, until there is room for new ones; no search is made."""
    ids: list[str] = []
    crops = vectors = 0
    if _used_bytes(database) > _FULL * most_bytes:
        with database.reading() as connection:
            many = connection.execute(select(func.count()).select_from(_table)).scalar_one()
        oldest = select(_table.c.id, _table.c.sighting_id).order_by(_table.c.id)  # whatever the clocks said
        batch = oldest.limit(min(BATCH, max(1, many // _PARTS)))
        while _used_bytes(database) > _ROOMY * most_bytes:
            found, pictures, gone = database.with_room(partial(_erase_found, database, batch, now))
            if not found:
                break
            ids.extend(found)
            crops, vectors = crops + pictures, vectors + gone
        database.truncate(_TRUNCATE_S)
    return Erased(tuple(ids), crops, vectors, 0)


def reached(database: Database) -> float | None:
    """Returns the latest time that was believed here; where none was noted, when the newest sighting ended."""
    with database.reading() as connection:
        believed = _noted_time(connection)
        return connection.execute(select(func.max(_table.c.ended_at))).scalar() if believed is None else believed


def reach(database: Database, at: float, *, surely: bool) -> None:
    """Notes the time that is believed; an earlier one than before only where it is sure."""

    def work() -> None:
        with database.writing() as connection:
            before = _noted_time(connection)
            if surely or before is None or at > before:
                note(connection, _CLOCK, repr(at))

    database.with_room(work)


def _noted_time(connection: Connection) -> float | None:
    at = noted(connection, _CLOCK)
    return None if at is None else float(at)


def _used_bytes(database: Database) -> int:
    """Returns what is used of the file; the rest of it is used before it grows."""
    with database.reading() as connection:
        pages, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int(pages - free) * int(size)


def _purge_kind(database: Database, bit: int, until: float, drop: Callable[[Connection, Sequence[int]], int]) -> int:
    """Drops one kind of data of sightings that ended before `until`; returns of how many pieces."""

    def work(since: float) -> tuple[int, int, float]:
        with database.writing() as connection:
            old = select(_table.c.id, _table.c.ended_at).where(
                _table.c.ended_at >= since, _table.c.ended_at < until, _table.c.kept.op("&")(bit) != 0
            )
            rows = connection.execute(old.order_by(_table.c.ended_at).limit(BATCH)).all()
            numbers = [row.id for row in rows]
            pieces = drop(connection, numbers) if numbers else 0
            rest = _table.c.kept.op("&")(~bit)
            connection.execute(update(_table).where(_table.c.id.in_(numbers)).values(kept=rest))
            return len(rows), pieces, rows[-1].ended_at if rows else until

    total, many, since = 0, BATCH, -math.inf
    while many == BATCH:
        many, pieces, since = database.with_room(partial(work, since))  # not again through those that have it no more
        total += pieces
    return total


def _empty_crops(connection: Connection, numbers: Sequence[int]) -> int:
    crop = schema.crop
    full = crop.c.sighting.in_(numbers), func.length(crop.c.jpeg) > 0
    return connection.execute(update(crop).where(*full).values(jpeg=b"")).rowcount


def _vectors_until(now: float) -> Callable[[Connection, Sequence[int]], int]:
    def drop(connection: Connection, numbers: Sequence[int]) -> int:
        many = _count(connection, schema.vector.c.sighting, numbers)
        delete_vectors(connection, numbers, now)
        return many

    return drop


def _count(
    connection: Connection, column: ColumnElement[int], numbers: Sequence[int], *more: ColumnElement[bool]
) -> int:
    return connection.execute(select(func.count()).where(column.in_(numbers), *more)).scalar_one()


def _drop_paths(connection: Connection, numbers: Sequence[int]) -> int:
    return connection.execute(delete(schema.path).where(schema.path.c.sighting.in_(numbers))).rowcount


def _purge_sightings(database: Database, until: float, now: float) -> tuple[tuple[str, ...], int, int]:
    old = select(_table.c.id, _table.c.sighting_id).where(_table.c.ended_at < until).limit(BATCH)
    ids: list[str] = []
    crops = vectors = 0
    while True:
        found, pictures, many = database.with_room(partial(_erase_found, database, old, now))
        ids.extend(found)
        crops, vectors = crops + pictures, vectors + many
        if len(found) < BATCH:
            return tuple(ids), crops, vectors


def _erase_found(database: Database, wanted: Select[tuple[int, str]], now: float) -> tuple[list[str], int, int]:
    """Erases sightings; returns their ids, and how many pictures and vectors they had."""
    with database.writing() as connection:
        rows = connection.execute(wanted).all()
        numbers = [row.id for row in rows]
        crops = _count(connection, schema.crop.c.sighting, numbers, func.length(schema.crop.c.jpeg) > 0)
        vectors = _count(connection, schema.vector.c.sighting, numbers)
        delete_sightings(connection, numbers, now)
        return [row.sighting_id for row in rows], crops, vectors


def _drop_old_marks(database: Database, until: float) -> None:
    """Forgets which vectors were removed long ago, and notes up to where."""
    removed = schema.removed
    with database.writing() as connection:
        newest = connection.execute(select(func.max(removed.c.mark)).where(removed.c.at < until)).scalar()
        if newest is None:
            return
        connection.execute(delete(removed).where(removed.c.mark <= newest))
        note(connection, STALE, str(newest))


def _drop_backups(database: Database, keep: Keep, now: float) -> tuple[str, ...]:
    """Removes copies that are older than a week, or than the data in them may get."""
    times = (keep.crops_s, keep.vectors_s, keep.paths_s, keep.sightings_s)
    longest = min([BACKUP_S, *(time for time in times if time is not None)])
    gone = []
    for file in database.backups():
        with told(file), suppress(FileNotFoundError):  # an erasure was quicker
            if file.stat().st_mtime < now - longest:
                file.unlink()
                gone.append(str(file))
    return tuple(gone)
