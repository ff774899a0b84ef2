"""Which sightings a selection means, and lists of tracks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, exists, func, select, tuple_

from watchline.pipeline.store import schema
from watchline.pipeline.store.rows import check_row, provenance_of
from watchline.pipeline.store.seam import Selection, Summary
from watchline.reid.embeddings import Kind

_table: Final = schema.sighting


def conditions(selection: Selection) -> list[ColumnElement[bool]]:
    """Returns what a selection asks of a row of `sighting`."""
    found: list[ColumnElement[bool]] = []
    if selection.cameras:
        found.append(_among(_table.c.camera, selection.cameras))
    if selection.since is not None:
        found.append(_table.c.ended_at >= selection.since)
    if selection.until is not None:
        found.append(_table.c.started_at < selection.until)
    if selection.ids:
        found.append(_among(_table.c.sighting_id, selection.ids))
    if selection.track is not None:
        camera, track_id = selection.track
        found += [_table.c.camera == camera, _table.c.track_id == track_id]
    if selection.source:
        made_by = schema.provenance
        found.append(_table.c.provenance.in_(select(made_by.c.id).where(made_by.c.source == selection.source)))
    return found


def _among(column: ColumnElement[Any], values: Sequence[int] | Sequence[str]) -> ColumnElement[bool]:
    """Returns that a column has one of some values, however many: SQLite takes some thousand parameters only."""
    return column.in_(select(func.json_each(json.dumps(list(values))).table_valued("value").c.value))


def count(connection: Connection, selection: Selection) -> int:
    """Returns how many sightings are meant."""
    return connection.execute(select(func.count()).select_from(_table).where(*conditions(selection))).scalar_one()


def find(connection: Connection, selection: Selection, most: int, before: tuple[float, str] | None) -> list[Summary]:
    """Returns tracks of which at least one part is meant, whole, newest first."""
    track = schema.track
    chosen = select(track.c.track_key)
    if selection.cameras:
        chosen = chosen.where(_among(track.c.camera, selection.cameras))
    if selection.since is not None:
        chosen = chosen.where(track.c.ended_at >= selection.since)
    if selection.until is not None:
        chosen = chosen.where(track.c.started_at < selection.until)
    asked = conditions(selection)
    if asked:
        chosen = chosen.where(exists().where(_table.c.track_key == track.c.track_key, *asked))
    if before is not None:
        chosen = chosen.where(tuple_(track.c.started_at, track.c.track_key) < before)
    newest = chosen.order_by(track.c.started_at.desc(), track.c.track_key.desc()).limit(most)
    keys = list(connection.execute(newest).scalars())
    return _summaries(connection, keys)


def _summaries(connection: Connection, keys: Sequence[str]) -> list[Summary]:
    made_by = schema.provenance
    said = [column for column in made_by.columns if column.name != "id"]
    joined = (
        select(_table, *said).join(made_by).where(_among(_table.c.track_key, keys)).order_by(_table.c.part, _table.c.id)
    )
    parts: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(joined):
        check_row(row, _table)
        parts[row.track_key].append(row)
    rows = [row.id for found in parts.values() for row in found]
    crops = _crops(connection, rows)
    kinds = _kinds(connection, rows)
    return [_summary(parts[key], crops, kinds) for key in keys]


def _crops(connection: Connection, sightings: Sequence[int]) -> dict[int, int]:
    column = schema.crop.c.sighting
    kept = _among(column, sightings), func.length(schema.crop.c.jpeg) > 0  # the retention empties them
    rows = connection.execute(select(column, func.count()).where(*kept).group_by(column))
    return {row[0]: row[1] for row in rows}


def _kinds(connection: Connection, sightings: Sequence[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    column = schema.vector.c.sighting
    for row in connection.execute(
        select(column, schema.model.c.kind).join(schema.model).where(_among(column, sightings))
    ):
        found[row[0]].add(row[1])
    return found


def _summary(parts: Sequence[Row[Any]], crops: dict[int, int], kinds: dict[int, set[str]]) -> Summary:
    first = parts[0]
    every = set().union(*(kinds.get(part.id, set()) for part in parts))
    return Summary(
        ids=tuple(part.sighting_id for part in parts),
        track_key=first.track_key,
        camera=first.camera,
        track_id=first.track_id,
        label=first.label,
        start_pts_s=min(part.start_pts_s for part in parts),
        end_pts_s=max(part.end_pts_s for part in parts),
        started_at=min(part.started_at for part in parts),
        ended_at=max(part.ended_at for part in parts),
        clock=first.clock,
        frames=sum(part.frames for part in parts),
        best_score=max(part.best_score for part in parts),
        quality=max(part.quality for part in parts),
        reason=first.reason if all(part.reason for part in parts) else "",
        crops=sum(crops.get(part.id, 0) for part in parts),
        vectors=tuple(kind for kind in Kind if kind.value in every),
        provenance=provenance_of(first),
    )
