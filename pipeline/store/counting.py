"""What a store's file holds, counted: for people who look after it, and before something is erased."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnClause, ColumnElement, Connection, func, select

from watchline.pipeline.store import schema
from watchline.pipeline.store.connecting import engine_of
from watchline.pipeline.store.failures import read
from watchline.pipeline.store.seam import Keep, Selection
from watchline.pipeline.store.selecting import conditions
from watchline.pipeline.store.upgrading import schema_of

_COMPANIONS = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Weight:
    """How much there is.

    Attributes:
        tracks: of which at least one sighting counts.
        sightings: stored parts of tracks.
        crops: pictures.
        crop_bytes: of them all.
        vectors: embeddings.
        vector_bytes: of them all.
        paths: sightings whose boxes over time are kept.
        path_bytes: of them all.
        started_at: when the first began, UTC seconds; 0 for none.
        ended_at: when the last ended.
    """

    tracks: int
    sightings: int
    crops: int
    crop_bytes: int
    vectors: int
    vector_bytes: int
    paths: int
    path_bytes: int
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class CameraWeight:
    """What one camera has; as in `Weight`."""

    camera: str
    tracks: int
    sightings: int
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a store.

    Attributes:
        schema: version of its tables.
        files: bytes of the store's file and of each that lies with it, by name.
        whole: all that it holds.
        cameras: by name.
    """

    schema: int
    files: dict[str, int]
    whole: Weight
    cameras: tuple[CameraWeight, ...]


def facts_of(path: Path) -> Facts:
    """Returns what a store holds.

    Raises:
        OutputError: it cannot be read.
    """
    with _reading(path) as connection:
        return Facts(schema_of(connection), store_files(path), _weight(connection, []), _cameras(connection))


def cameras_of(path: Path) -> list[str]:
    """Returns the names of the cameras of which there is a sighting."""
    with _reading(path) as connection:
        return sorted(connection.execute(select(schema.track.c.camera).distinct()).scalars())


def extent_of(path: Path) -> tuple[int, float, float]:
    """Returns how many tracks there are, when the first began and when the last ended; quick however many there are."""
    table = schema.track
    with _reading(path) as connection:
        asked = select(func.count(), func.min(table.c.started_at), func.max(table.c.ended_at))
        tracks, start, end = connection.execute(asked.select_from(table)).one()
    return tracks, start or 0.0, end or 0.0


def weighed(path: Path, selection: Selection) -> Weight:
    """Returns how much a selection means."""
    with _reading(path) as connection:
        return _weight(connection, conditions(selection))


def ids_of(path: Path, selection: Selection) -> tuple[str, ...]:
    """Returns the ids of the sightings that are meant just now."""
    named = select(schema.sighting.c.sighting_id).where(*conditions(selection)).order_by(schema.sighting.c.id)
    with _reading(path) as connection:
        return tuple(connection.execute(named).scalars())


def overdue(path: Path, keep: Keep, now: float) -> Weight:
    """Returns what is older than it may get: what a purge would erase.

    Its sightings are those that go altogether; its other figures count what goes with them, too.
    """
    ended = schema.sighting.c.ended_at
    ages = (keep.crops_s, keep.vectors_s, keep.paths_s)
    with _reading(path) as connection:
        each = [_weight(connection, _before(ended, _shorter(age, keep.sightings_s), now)) for age in ages]
        gone = _weight(connection, _before(ended, keep.sightings_s, now))
    crops, vectors, paths = each
    return Weight(
        tracks=gone.tracks,
        sightings=gone.sightings,
        crops=crops.crops,
        crop_bytes=crops.crop_bytes,
        vectors=vectors.vectors,
        vector_bytes=vectors.vector_bytes,
        paths=paths.paths,
        path_bytes=paths.path_bytes,
        started_at=gone.started_at,
        ended_at=gone.ended_at,
    )


def store_files(path: Path) -> dict[str, int]:
    """Returns the bytes of the store's file and of those that lie with it, by name."""
    found: dict[str, int] = {}
    path = Path(os.path.realpath(path))
    for file in (path, *(path.with_name(path.name + end) for end in _COMPANIONS)):
        with suppress(OSError):
            found[file.name] = file.stat().st_size
    return found


@contextmanager
def _reading(path: Path) -> Iterator[Connection]:
    path = path.absolute()
    engine = engine_of(path)
    try:
        with read(path), engine.connect() as connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


def _shorter(age_s: float | None, other_s: float | None) -> float | None:
    """Returns the shorter of two times to keep; None is for ever."""
    return min((each for each in (age_s, other_s) if each is not None), default=None)


def _before(
    ended: ColumnClause[float] | ColumnElement[float], age_s: float | None, now: float
) -> list[ColumnElement[bool]]:
    return [ended < (now - age_s if age_s is not None else float("-inf"))]


def _weight(connection: Connection, asked: list[ColumnElement[bool]]) -> Weight:
    table = schema.sighting
    tracks, sightings, start, end = connection.execute(
        select(
            func.count(table.c.track_key.distinct()),
            func.count(),
            func.min(table.c.started_at),
            func.max(table.c.ended_at),
        ).where(*asked)
    ).one()
    sizes = []
    for kind, data in (
        (schema.crop, schema.crop.c.jpeg),
        (schema.vector, schema.vector.c.data),
        (schema.path, schema.path.c.data),
    ):
        among = select(func.count(), func.coalesce(func.sum(func.length(data)), 0)).select_from(kind)
        if asked:
            among = among.join(table, table.c.id == kind.c.sighting).where(*asked)
        sizes.append(connection.execute(among.where(func.length(data) > 0)).one())
    (crops, crop_bytes), (vectors, vector_bytes), (paths, path_bytes) = sizes
    return Weight(
        tracks, sightings, crops, crop_bytes, vectors, vector_bytes, paths, path_bytes, start or 0.0, end or 0.0
    )


def _cameras(connection: Connection) -> tuple[CameraWeight, ...]:
    table = schema.sighting
    counted = select(
        table.c.camera,
        func.count(table.c.track_key.distinct()),
        func.count(),
        func.min(table.c.started_at),
        func.max(table.c.ended_at),
    )
    return tuple(CameraWeight(*row) for row in connection.execute(counted.group_by(table.c.camera)))
