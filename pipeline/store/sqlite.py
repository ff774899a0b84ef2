"""Sightings in one file: SQLite, safe against kills, a loss of power, a full disk and a second process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import func, select

from watchline.pipeline.store import erasing, purging, schema, selecting
from watchline.pipeline.store.ballast import BALLAST_BYTES, Ballast
from watchline.pipeline.store.claims import claimed
from watchline.pipeline.store.connecting import BUSY_S, check_file
from watchline.pipeline.store.database import Database
from watchline.pipeline.store.failures import UNFIT, StaleMark
from watchline.pipeline.store.notes import noted
from watchline.pipeline.store.rows import insert_sightings, model_of, read_sighting
from watchline.pipeline.store.seam import Erased, Keep, Selection, Summary, Unfinished, VectorBatch
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.unfinished import unfinished
from watchline.reid.embeddings import EmbeddingModel
from watchline.streams.errors import UsageError
from watchline.trackers.tracks import I64

_BALLAST_EVERY_S: Final = 60.0


def open_store(
    path: Path, *, create: bool = True, ballast_bytes: int = BALLAST_BYTES, busy_s: float = BUSY_S
) -> SqliteStore:
    """Opens a store, makes it where there is none, and brings it to the schema of this program.

    Before an older store is changed, a copy of it is laid beside it: see `upgrading.backup_of`.

    Args:
        path: its file.
        create: whether one is made where there is none.
        ballast_bytes: room that is kept back once it is written to, so that erasing works on a full disk.
        busy_s: longest wait for another process, seconds.

    Raises:
        UsageError: there is none and none is to be made, or it is a folder.
        WrongStore: not a store, or no leave to write.
        OutputError: a damaged one, one of a newer watchline, or one that cannot be used for another reason.
    """
    path = Path(os.path.realpath(path))  # SQLite lays its log beside the file that a link leads to
    check_file(path, create=create)
    database = Database(path, Ballast(path, ballast_bytes), busy_s)
    try:
        database.bring_up()
    except BaseException:
        database.close()
        raise
    return SqliteStore(database)


class SqliteStore:
    """A `SightingStore` in a file of SQLite's; see `open_store`.

    Attributes:
        path: the file.

    Args:
        database: the file, open; the store's own.
        clock: UTC seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.path = database.path
        self._database = database
        self._clock = clock
        self._next_ballast = 0.0

    def add(self, sightings: Sequence[Sighting]) -> None:
        """See `SightingStore`.

        Raises:
            StoreFull: there is no room; none was kept.
            UsageError: one is stored already, or has values that cannot be; none was kept.
        """
        if not sightings:
            return
        try:
            with self._database.writing() as connection:
                insert_sightings(connection, sightings)
        except (*UNFIT, OverflowError, TypeError, ValueError) as error:
            raise UsageError(f"{self.path}: {_refused(error, sightings)}") from error
        self._keep_ballast()

    def get(self, sighting_id: str) -> Sighting:
        """See `SightingStore`."""
        with self._database.reading() as connection:
            found = read_sighting(connection, sighting_id)
        if found is None:
            raise UsageError(f"{self.path}: no sighting {sighting_id!r}; `watchline sightings list` names them")
        return found

    def find(self, selection: Selection, most: int, before: tuple[float, str] | None = None) -> list[Summary]:
        """See `SightingStore`; a track of which one part is selected is told whole."""
        with self._database.reading() as connection:
            return selecting.find(connection, selection, most, before)

    def count(self, selection: Selection) -> int:
        """See `SightingStore`."""
        with self._database.reading() as connection:
            return selecting.count(connection, selection)

    def models(self) -> list[tuple[EmbeddingModel, int]]:
        """See `SightingStore`."""
        model, vector = schema.model, schema.vector
        many = select(func.count()).select_from(vector).where(vector.c.model == model.c.id).scalar_subquery()
        with self._database.reading() as connection:
            rows = connection.execute(select(model, many.label("many")).order_by(model.c.id)).all()
        found: dict[str, tuple[EmbeddingModel, int]] = {}  # a file under two names is one model
        for row in rows:
            first, before = found.get(row.sha256, (model_of(row), 0))
            found[row.sha256] = first, before + row.many
        return [(first, many) for first, many in found.values() if many]

    def vectors(self, sha256: str, after: int = -1, most: int = 10_000) -> Iterator[VectorBatch]:
        """See `SightingStore`; no lock is held between two batches."""
        vector, sighting, model = schema.vector, schema.sighting, schema.model
        of_model = select(model.c.id).where(model.c.sha256 == sha256)
        columns = (vector.c.key, vector.c.data, sighting.c.camera, sighting.c.started_at, sighting.c.ended_at)
        wanted = select(*columns, sighting.c.sighting_id).join(sighting).where(vector.c.model.in_(of_model))
        while True:
            with self._database.reading() as connection:
                page = wanted.where(vector.c.key > after).order_by(vector.c.key).limit(most)
                rows = connection.execute(page).all()
                batch = _batch(rows) if rows else None
            if batch is None:
                return
            yield batch
            after = rows[-1].key

    def erase(self, selection: Selection) -> Erased:
        """See `SightingStore`; copies from before an upgrade that hold some of it are removed."""
        with self.erasing(selection, {}) as erased:
            return erased

    def erasing(self, selection: Selection, note: Mapping[str, Any]) -> AbstractContextManager[Erased]:
        """See `SightingStore`."""
        asked = selecting.conditions(selection)
        if not asked:
            raise UsageError(f"{self.path}: erase what? name sightings, a camera, a track, a source or a time")
        return erasing.erasing(self._database, asked, self._clock(), note)

    def unfinished(self) -> Unfinished | None:
        """See `SightingStore`."""
        left = unfinished(self.path)
        return None if left is None else Unfinished(left.at, len(left.ids), left.note)

    def finishing(self) -> AbstractContextManager[Erased]:
        """See `SightingStore`."""
        return erasing.finishing(self._database)

    def claim(self, source: str) -> AbstractContextManager[None]:
        """See `SightingStore`."""
        refusal = f"another run fills it from {source} just now; wait for its end, or choose another --store"
        return claimed(self.path, f"run {source}", refusal)

    def purge(self, keep: Keep, now: float) -> Erased:
        """See `SightingStore`; copies from before an upgrade that are as old are removed too."""
        return purging.purge(self._database, keep, now)

    def trim(self, most_bytes: int) -> Erased:
        """See `SightingStore`; what is erased is used again before the file grows, which never gets smaller."""
        return purging.trim(self._database, most_bytes, self._clock())

    def reached(self) -> float | None:
        """See `SightingStore`."""
        return purging.reached(self._database)

    def reach(self, at: float, *, surely: bool) -> None:
        """See `SightingStore`."""
        purging.reach(self._database, at, surely=surely)

    def removed(self, after: int = -1) -> tuple[I64, int]:
        """See `SightingStore`."""
        table = schema.removed
        with self._database.reading() as connection:
            dropped = int(noted(connection, purging.STALE) or -1)
            if 0 <= after < dropped:
                raise StaleMark(f"{self.path}: it tells removed vectors for a week only; build the index anew")
            rows = connection.execute(
                select(table.c.mark, table.c.key).where(table.c.mark > after).order_by(table.c.mark)
            )
            found = np.array([tuple(row) for row in rows], np.int64).reshape(-1, 2)
        return found[:, 1].copy(), int(found[-1, 0]) if len(found) else max(after, dropped, 0)

    def close(self) -> None:
        """See `SightingStore`."""
        self._database.close()

    def _keep_ballast(self) -> None:
        """Takes the ballast where it is missing and there is room, now and then."""
        if not self._database.ballast.is_there and time.monotonic() >= self._next_ballast:
            self._database.ballast.take()
            self._next_ballast = time.monotonic() + _BALLAST_EVERY_S


def _batch(rows: Sequence[Any]) -> VectorBatch:
    names = sorted({row.camera for row in rows})
    place = {name: index for index, name in enumerate(names)}
    data = np.frombuffer(b"".join(row.data for row in rows), "<f2").astype(np.float16)
    return VectorBatch(
        key=np.array([row.key for row in rows], np.int64),
        vectors=data.reshape(len(rows), -1),
        camera=np.array([place[row.camera] for row in rows], np.int32),
        started_at=np.array([row.started_at for row in rows], np.float64),
        ended_at=np.array([row.ended_at for row in rows], np.float64),
        cameras=tuple(names),
        sighting_ids=tuple(row.sighting_id for row in rows),
    )


def _refused(error: Exception, sightings: Sequence[Sighting]) -> str:
    which = sightings[0].sighting_id if len(sightings) == 1 else f"one of {len(sightings)} sightings"
    said = str(getattr(error, "orig", error))
    if "sighting.sighting_id" in said:
        return f"{which} is stored already; an id is used once"
    return f"{which} cannot be stored: {said}"
