"""Whether the store of sightings that a daemon leaves behind is whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

_NONE: Final = (
    ("parts of tracks are stored twice", "SELECT 1 FROM sighting GROUP BY track_key, part HAVING count(*) > 1"),
    ("tracks lack a part", "SELECT 1 FROM sighting GROUP BY track_key HAVING max(part) - min(part) + 1 != count(*)"),
    ("tracks of one camera share a key", "SELECT 1 FROM sighting GROUP BY track_key HAVING min(camera) != max(camera)"),
    ("sightings end before they begin", "SELECT 1 FROM sighting WHERE ended_at < started_at OR frames < 1"),
    ("pictures are empty", "SELECT 1 FROM crop WHERE length(jpeg) = 0"),
)


def check_store(path: Path, told: int) -> list[str]:
    """Returns what is wrong with a store that nobody writes to any more.

    Args:
        path: its file.
        told: how many sightings were said to be stored; there may be more, of which nobody was told.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        wrong = [f"{path.name}: {line}" for (line,) in store.execute("PRAGMA integrity_check") if line != "ok"]
        wrong += [f"{path.name}: {row} refers to nothing" for row in store.execute("PRAGMA foreign_key_check")]
        (rows,) = store.execute("SELECT count(*) FROM sighting").fetchone()
        if rows < told:
            wrong.append(f"{path.name}: {told} sightings were said to be stored, {rows} are there")
        for what, query in _NONE:
            if found := len(store.execute(query).fetchall()):
                wrong.append(f"{path.name}: {found} {what}")
    return wrong
