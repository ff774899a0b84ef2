"""The tables of a store. What makes them lies in `migrations`; a test holds the two against each other.

track      one row a track: from its first to its last stored moment, what lists are sorted by
sighting   one row a stored part of a track, with its provenance
crop, vector, path    what belongs to a sighting, each kind with a time of its own to be kept
removed    keys of vectors that are gone, so that indexes elsewhere let go of them too; no content
model, provenance, meta    said once, referred to
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

metadata: Final = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _real(name: str) -> Column[float]:
    return Column(name, Float, nullable=False)


def _integer(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _of_sighting() -> Column[int]:
    return Column("sighting", ForeignKey("sighting.id", ondelete="CASCADE"), nullable=False)


meta: Final = Table("meta", metadata, Column("name", Text, primary_key=True), _text("value"))

model: Final = Table(
    "model",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("name"),
    _text("sha256"),
    _text("kind"),
    _integer("dimension"),
    UniqueConstraint("sha256", "name", "kind", "dimension"),
)

provenance: Final = Table(
    "provenance",
    metadata,
    Column("id", Integer, primary_key=True),
    *(_text(name) for name in ("source", "detector", "detector_sha256", "tracker", "config_sha256", "version")),
    UniqueConstraint("source", "detector", "detector_sha256", "tracker", "config_sha256", "version"),
)

track: Final = Table(
    "track",
    metadata,
    Column("track_key", Text, primary_key=True),
    _text("camera"),
    _real("started_at"),
    _real("ended_at"),
    Index("track_newest", "started_at", "track_key"),
    Index("track_camera", "camera", "started_at", "track_key"),
)

sighting: Final = Table(
    "sighting",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sighting_id", Text, nullable=False, unique=True),
    Column("track_key", ForeignKey("track.track_key"), nullable=False),
    _text("camera"),
    _integer("track_id"),
    _integer("part"),
    _text("label"),
    *(_real(name) for name in ("start_pts_s", "end_pts_s", "started_at", "ended_at")),
    _text("clock"),
    _integer("frames"),
    _real("best_score"),
    _real("quality"),
    _text("reason"),
    _integer("frame_width"),
    _integer("frame_height"),
    Column("provenance", ForeignKey("provenance.id"), nullable=False),
    _integer("kept"),
    Index("sighting_track", "track_key", "part"),
    Index("sighting_camera", "camera", "started_at"),
    Index("sighting_ended", "ended_at", "kept"),
    Index("sighting_provenance", "provenance"),
    sqlite_autoincrement=True,  # a number is never used again: who erases by it must not meet another
)

crop: Final = Table(
    "crop",
    metadata,
    Column("id", Integer, primary_key=True),
    _of_sighting(),
    _text("kind"),
    *(_real(name) for name in ("x0", "y0", "x1", "y1", "quality", "pts_s", "captured_at")),
    Column("jpeg", LargeBinary, nullable=False),
    Index("crop_sighting", "sighting"),
)

vector: Final = Table(
    "vector",
    metadata,
    Column("key", Integer, primary_key=True),
    _of_sighting(),
    Column("model", ForeignKey("model.id"), nullable=False),
    _real("spread"),
    _integer("crops"),
    _real("quality"),
    Column("data", LargeBinary, nullable=False),
    Index("vector_sighting", "sighting"),
    Index("vector_model", "model"),
    sqlite_autoincrement=True,  # a key is never used again
)

path: Final = Table(
    "path",
    metadata,
    Column("sighting", ForeignKey("sighting.id", ondelete="CASCADE"), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

removed: Final = Table(
    "removed",
    metadata,
    Column("mark", Integer, primary_key=True),
    _integer("key"),
    _real("at"),
    sqlite_autoincrement=True,
)

# What of a sighting is still there: bits of `sighting.kept`.
CROPS: Final = 1
VECTORS: Final = 2
PATH: Final = 4
