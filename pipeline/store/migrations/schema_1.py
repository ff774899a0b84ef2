"""The first schema: see `pipeline.store.schema` for what the tables are for."""

from __future__ import annotations

from typing import Final

from alembic.operations import Operations

revision: Final = "1"
down_revision: Final = None

STATEMENTS: Final = (
    """
    CREATE TABLE meta (
      name TEXT NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE model (
      id INTEGER NOT NULL,
      name TEXT NOT NULL,
      sha256 TEXT NOT NULL,
      kind TEXT NOT NULL,
      dimension INTEGER NOT NULL,
      PRIMARY KEY (id),
      UNIQUE (sha256, name, kind, dimension)
    )
    """,
    """
    CREATE TABLE provenance (
      id INTEGER NOT NULL,
      source TEXT NOT NULL,
      detector TEXT NOT NULL,
      detector_sha256 TEXT NOT NULL,
      tracker TEXT NOT NULL,
      config_sha256 TEXT NOT NULL,
      version TEXT NOT NULL,
      PRIMARY KEY (id),
      UNIQUE (source, detector, detector_sha256, tracker, config_sha256, version)
    )
    """,
    """
    CREATE TABLE track (
      track_key TEXT NOT NULL,
      camera TEXT NOT NULL,
      started_at FLOAT NOT NULL,
      ended_at FLOAT NOT NULL,
      PRIMARY KEY (track_key)
    )
    """,
    "CREATE INDEX track_camera ON track (camera, started_at, track_key)",
    "CREATE INDEX track_newest ON track (started_at, track_key)",
    """
    CREATE TABLE sighting (
      id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
      sighting_id TEXT NOT NULL,
      track_key TEXT NOT NULL,
      camera TEXT NOT NULL,
      track_id INTEGER NOT NULL,
      part INTEGER NOT NULL,
      label TEXT NOT NULL,
      start_pts_s FLOAT NOT NULL,
      end_pts_s FLOAT NOT NULL,
      started_at FLOAT NOT NULL,
      ended_at FLOAT NOT NULL,
      clock TEXT NOT NULL,
      frames INTEGER NOT NULL,
      best_score FLOAT NOT NULL,
      quality FLOAT NOT NULL,
      reason TEXT NOT NULL,
      frame_width INTEGER NOT NULL,
      frame_height INTEGER NOT NULL,
      provenance INTEGER NOT NULL,
      kept INTEGER NOT NULL,
      UNIQUE (sighting_id),
      FOREIGN KEY(track_key) REFERENCES track (track_key),
      FOREIGN KEY(provenance) REFERENCES provenance (id)
    )
    """,
    "CREATE INDEX sighting_camera ON sighting (camera, started_at)",
    "CREATE INDEX sighting_ended ON sighting (ended_at, kept)",
    "CREATE INDEX sighting_provenance ON sighting (provenance)",
    "CREATE INDEX sighting_track ON sighting (track_key, part)",
    """
    CREATE TABLE crop (
      id INTEGER NOT NULL,
      sighting INTEGER NOT NULL,
      kind TEXT NOT NULL,
      x0 FLOAT NOT NULL,
      y0 FLOAT NOT NULL,
      x1 FLOAT NOT NULL,
      y1 FLOAT NOT NULL,
      quality FLOAT NOT NULL,
      pts_s FLOAT NOT NULL,
      captured_at FLOAT NOT NULL,
      jpeg BLOB NOT NULL,
      PRIMARY KEY (id),
      FOREIGN KEY(sighting) REFERENCES sighting (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX crop_sighting ON crop (sighting)",
    """
    CREATE TABLE vector (
      "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
      sighting INTEGER NOT NULL,
      model INTEGER NOT NULL,
      spread FLOAT NOT NULL,
      crops INTEGER NOT NULL,
      quality FLOAT NOT NULL,
      data BLOB NOT NULL,
      FOREIGN KEY(sighting) REFERENCES sighting (id) ON DELETE CASCADE,
      FOREIGN KEY(model) REFERENCES model (id)
    )
    """,
    "CREATE INDEX vector_model ON vector (model)",
    "CREATE INDEX vector_sighting ON vector (sighting)",
    """
    CREATE TABLE path (
      sighting INTEGER NOT NULL,
      data BLOB NOT NULL,
      PRIMARY KEY (sighting),
      FOREIGN KEY(sighting) REFERENCES sighting (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE removed (
      mark INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
      "key" INTEGER NOT NULL,
      at FLOAT NOT NULL
    )
    """,
)


def upgrade(op: Operations) -> None:
    """Makes the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
