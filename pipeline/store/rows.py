"""Sightings as rows of the tables, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from sqlalchemy import Connection, Row, func, insert, select, text
from sqlalchemy.dialects.sqlite import insert as insert_or_update
from sqlalchemy.sql.schema import Table

from watchline.pipeline.store import schema
from watchline.pipeline.store.sighting import Provenance, Sighting, StoredCrop, StoredVector
from watchline.reid.embeddings import EmbeddingModel, Kind

_Values: TypeAlias = dict[str, Any]
_Said: TypeAlias = tuple[Any, ...]

_PATH_NUMBERS: Final = 5  # seconds and a box


def insert_sightings(connection: Connection, sightings: Sequence[Sighting]) -> None:
    """Writes sightings with all that belongs to them."""
    newest = text("SELECT seq FROM sqlite_sequence WHERE name = 'sighting'")  # also of those that are erased
    first = 1 + (connection.execute(newest).scalar() or 0)
    numbered = list(enumerate(sightings, first))
    provenances = _said_once(connection, schema.provenance, [_provenance(s.provenance) for s in sightings])
    models = _said_once(connection, schema.model, [_model(v.model) for s in sightings for v in s.vectors])
    _insert_tracks(connection, sightings)
    _insert(connection, schema.sighting, [_row(s, i, provenances[_provenance(s.provenance)]) for i, s in numbered])
    _insert(connection, schema.crop, [_crop_row(c, i) for i, s in numbered for c in s.crops])
    vectors = [_vector_row(v, i, models[_model(v.model)]) for i, s in numbered for v in s.vectors]
    _insert(connection, schema.vector, vectors)
    paths = [{"sighting": i, "data": s.path.astype("<f4", copy=False).tobytes()} for i, s in numbered if len(s.path)]
    _insert(connection, schema.path, paths)


def _insert(connection: Connection, table: Table, rows: Sequence[_Values]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _insert_tracks(connection: Connection, sightings: Sequence[Sighting]) -> None:
    """Makes the tracks' rows, or widens them."""
    table = schema.track
    fresh = insert_or_update(table)
    wider = {
        "started_at": func.min(table.c.started_at, fresh.excluded.started_at),
        "ended_at": func.max(table.c.ended_at, fresh.excluded.ended_at),
    }
    rows = [
        {
            "track_key": s.track_key,
            "camera": s.camera,
            "started_at": float(s.started_at),
            "ended_at": float(s.ended_at),
        }
        for s in sightings
    ]
    connection.execute(fresh.on_conflict_do_update(index_elements=[table.c.track_key], set_=wider), rows)


def _said_once(connection: Connection, table: Table, wanted: Sequence[_Said]) -> dict[_Said, int]:
    """Returns the ids of rows that are written once and referred to, and writes those that are not there yet."""
    columns = [column for column in table.columns if column.name != "id"]
    found: dict[_Said, int] = {}
    for said in dict.fromkeys(wanted):
        same = select(table.c.id).where(*(column == value for column, value in zip(columns, said, strict=True)))
        number = connection.execute(same).scalar()
        if number is None:
            row = {column.name: value for column, value in zip(columns, said, strict=True)}
            number = connection.execute(insert(table).values(row).returning(table.c.id)).scalar_one()
        found[said] = number
    return found


def _provenance(made_by: Provenance) -> _Said:
    return (
        *(made_by.source, made_by.detector, made_by.detector_sha256),
        *(made_by.tracker, made_by.config_sha256, made_by.version),
    )


def _model(model: EmbeddingModel) -> _Said:
    return model.name, model.sha256, model.kind.value, model.dimension


def _row(sighting: Sighting, number: int, provenance: int) -> _Values:
    kept = schema.CROPS * bool(sighting.crops) | schema.VECTORS * bool(sighting.vectors)
    return {
        "id": number,
        "sighting_id": sighting.sighting_id,
        "track_key": sighting.track_key,
        "camera": sighting.camera,
        "track_id": int(sighting.track_id),
        "part": int(sighting.part),
        "label": sighting.label,
        "start_pts_s": float(sighting.start_pts_s),
        "end_pts_s": float(sighting.end_pts_s),
        "started_at": float(sighting.started_at),
        "ended_at": float(sighting.ended_at),
        "clock": str(sighting.clock),
        "frames": int(sighting.frames),
        "best_score": float(sighting.best_score),
        "quality": float(sighting.quality),
        "reason": sighting.reason,
        "frame_width": int(sighting.frame_width),
        "frame_height": int(sighting.frame_height),
        "provenance": provenance,
        "kept": kept | schema.PATH * bool(len(sighting.path)),
    }


def _crop_row(crop: StoredCrop, sighting: int) -> _Values:
    x0, y0, x1, y1 = crop.xyxy
    return {
        "sighting": sighting,
        "kind": crop.kind.value,
        "x0": float(x0),
        "y0": float(y0),
        "x1": float(x1),
        "y1": float(y1),
        "quality": float(crop.quality),
        "pts_s": float(crop.pts_s),
        "captured_at": float(crop.captured_at),
        "jpeg": crop.jpeg,
    }


def _vector_row(vector: StoredVector, sighting: int, model: int) -> _Values:
    return {
        "sighting": sighting,
        "model": model,
        "spread": float(vector.spread),
        "crops": int(vector.crops),
        "quality": float(vector.quality),
        "data": vector.vector.astype("<f2", copy=False).tobytes(),
    }


def read_sighting(connection: Connection, sighting_id: str) -> Sighting | None:
    """Returns a sighting with all that is left of it; None where there is none."""
    table = schema.sighting
    row = connection.execute(select(table).where(table.c.sighting_id == sighting_id)).one_or_none()
    if row is None:
        return None
    made_by = schema.provenance
    found = connection.execute(select(made_by).where(made_by.c.id == row.provenance)).one()
    check_row(row, table)
    return Sighting(
        sighting_id=row.sighting_id,
        track_key=row.track_key,
        camera=row.camera,
        track_id=row.track_id,
        part=row.part,
        label=row.label,
        start_pts_s=row.start_pts_s,
        end_pts_s=row.end_pts_s,
        started_at=row.started_at,
        ended_at=row.ended_at,
        clock=row.clock,
        frames=row.frames,
        best_score=row.best_score,
        quality=row.quality,
        reason=row.reason,
        crops=_crops(connection, row.id),
        vectors=_vectors(connection, row.id),
        path=_path(connection, row.id),
        frame_width=row.frame_width,
        frame_height=row.frame_height,
        provenance=provenance_of(found),
    )


def check_row(row: Row[Any], table: Table) -> None:
    """Checks that the values of a table's columns in a row are what the columns are for: SQLite takes any.

    Raises:
        TypeError: one is something else.
    """
    for column in table.columns:
        value = getattr(row, column.name)
        if not isinstance(value, column.type.python_type):
            raise TypeError(f"{table.name}.{column.name} is {type(value).__name__}")


def provenance_of(row: Row[Any]) -> Provenance:
    """Returns what made a sighting, from a row that has its columns."""
    check_row(row, schema.provenance)
    return Provenance(row.source, row.detector, row.detector_sha256, row.tracker, row.config_sha256, row.version)


def model_of(row: Row[Any]) -> EmbeddingModel:
    """Returns a model, from a row that has its columns."""
    return EmbeddingModel(row.name, row.sha256, Kind(row.kind), row.dimension)


def _crops(connection: Connection, sighting: int) -> tuple[StoredCrop, ...]:
    table = schema.crop
    rows = connection.execute(select(table).where(table.c.sighting == sighting).order_by(table.c.id)).all()
    for row in rows:
        check_row(row, table)
    return tuple(
        StoredCrop(Kind(row.kind), row.jpeg, (row.x0, row.y0, row.x1, row.y1), row.quality, row.pts_s, row.captured_at)
        for row in rows
    )


def _vectors(connection: Connection, sighting: int) -> tuple[StoredVector, ...]:
    table, models = schema.vector, schema.model
    joined = select(table, models.c.name, models.c.sha256, models.c.kind, models.c.dimension).join(models)
    rows = connection.execute(joined.where(table.c.sighting == sighting).order_by(table.c.key)).all()
    for row in rows:
        check_row(row, table)
    return tuple(
        StoredVector(
            model_of(row), np.frombuffer(row.data, "<f2").astype(np.float16), row.spread, row.crops, row.quality
        )
        for row in rows
    )


def _path(connection: Connection, sighting: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    data = connection.execute(select(schema.path.c.data).where(schema.path.c.sighting == sighting)).scalar()
    return np.frombuffer(data or b"", "<f4").astype(np.float32).reshape(-1, _PATH_NUMBERS)
