"""Schemas of the store: every released one is read, a newer one is refused, and steps never rebuild great tables."""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import create_engine, inspect

from tests.store.made import make_sighting
from watchline.pipeline.store.ballast import Ballast
from watchline.pipeline.store.database import Database
from watchline.pipeline.store.schema import metadata
from watchline.pipeline.store.seam import Keep, Selection
from watchline.pipeline.store.sqlite import SqliteStore, open_store
from watchline.pipeline.store.upgrading import MIGRATIONS, SCHEMA, backups_of
from watchline.streams.errors import OutputError

SCHEMAS: Final = Path(__file__).parent / "schemas"
REBUILT: Final = re.compile(
    r"(drop\s+table|batch_alter_table|rename\s+to|create\s+table\s+\S+\s+as)[^;]*\b(sighting|crop|vector)\b", re.I
)
STEP_2: Final = """
revision = "2"
down_revision = "1"


def upgrade(op):
    op.execute("ALTER TABLE sighting ADD COLUMN note TEXT NOT NULL DEFAULT ''")
"""


def restored(path: Path, schema: int) -> Path:
    """Makes a store as a released version left it, from its text."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((SCHEMAS / f"schema_{schema}.sql").read_text())
    path.chmod(0o600)
    return path


def test_every_released_schema_has_a_step_and_a_fixture() -> None:
    expected = [f"schema_{number}" for number in range(1, SCHEMA + 1)]
    assert sorted(file.stem for file in MIGRATIONS.glob("schema_*.py")) == expected
    assert sorted(file.stem for file in SCHEMAS.glob("schema_*.sql")) == expected


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_a_store_of_a_released_version_is_read(tmp_path: Path, schema: int) -> None:
    store = open_store(restored(tmp_path / "old.db", schema))
    (track,) = store.find(Selection(cameras=("dock",)), 10)
    assert (track.camera, track.track_id, len(track.ids), track.crops) == ("dock", 7, 2, 2)
    first = store.get(track.ids[0])
    assert first.crops[0].jpeg == bytes(range(256))
    assert [batch.vectors.shape for batch in store.vectors(first.vectors[0].model.sha256)] == [(2, 4)]
    store.add([make_sighting()])
    assert store.count(Selection()) == 3
    store.close()


def test_the_steps_make_the_tables_that_the_program_knows(tmp_path: Path) -> None:
    open_store(tmp_path / "made.db").close()
    made, wanted = create_engine(f"sqlite:///{tmp_path / 'made.db'}"), create_engine("sqlite://")
    metadata.create_all(wanted)
    here, there = inspect(made), inspect(wanted)
    assert set(here.get_table_names()) - {"alembic_version"} == set(there.get_table_names())
    for table in there.get_table_names():
        columns = [[{**c, "type": str(c["type"])} for c in each.get_columns(table)] for each in (here, there)]
        assert columns[0] == columns[1]
        assert here.get_foreign_keys(table) == there.get_foreign_keys(table)
        assert here.get_indexes(table) == there.get_indexes(table)
        assert here.get_unique_constraints(table) == there.get_unique_constraints(table)
    made.dispose()
    wanted.dispose()


@pytest.mark.parametrize("step", sorted(MIGRATIONS.glob("schema_*.py")), ids=lambda file: file.stem)
def test_no_step_rebuilds_a_great_table(step: Path) -> None:
    assert REBUILT.search(step.read_text()) is None
    assert "batch_alter_table" not in step.read_text()


def test_a_step_that_rebuilds_a_great_table_would_be_found() -> None:
    assert REBUILT.search("DROP TABLE sighting")
    assert REBUILT.search("ALTER TABLE new RENAME TO sighting")
    assert REBUILT.search("CREATE TABLE fresh AS SELECT * FROM vector")


def test_a_newer_schema_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    open_store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '99'")
        connection.commit()
    with pytest.raises(OutputError, match=rf"^{path}: its schema is 99, this watchline knows {SCHEMA}; use the newer"):
        open_store(path)


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The steps of a program that is one schema ahead."""
    folder = tmp_path / "steps"
    shutil.copytree(MIGRATIONS, folder)
    (folder / f"schema_{SCHEMA + 1}.py").write_text(STEP_2)
    return folder


def upgraded(path: Path, steps: Path) -> SqliteStore:
    database = Database(path, Ballast(path, 0))
    database.bring_up(SCHEMA + 1, steps)
    return SqliteStore(database)


def test_a_copy_is_made_before_an_upgrade(tmp_path: Path, newer: Path) -> None:
    path = restored(tmp_path / "old.db", 1)
    store = upgraded(path, newer)
    assert store.count(Selection()) == 2
    store.close()
    (copy,) = backups_of(path)
    assert copy.name == "old.db.schema-1.backup"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    before = open_store(copy, ballast_bytes=0)
    assert before.count(Selection()) == 2
    before.close()
    with pytest.raises(OutputError, match="use the newer"):
        open_store(path)


def test_a_step_that_fails_leaves_the_store_as_it_was(tmp_path: Path, newer: Path) -> None:
    path = restored(tmp_path / "old.db", 1)
    step = newer / "schema_2.py"
    step.write_text(step.read_text() + '    op.execute("nonsense")\n')
    with pytest.raises(OutputError, match=r"old\.db"):
        upgraded(path, newer)
    store = open_store(path)
    assert store.count(Selection()) == 2
    store.close()


def test_erasing_reaches_the_copy_too(tmp_path: Path, newer: Path) -> None:
    path = restored(tmp_path / "old.db", 1)
    store = upgraded(path, newer)
    fresh = make_sighting()
    store.add([fresh])
    assert store.erase(Selection(ids=(fresh.sighting_id,))).backups == ()
    (copy,) = backups_of(path)
    assert store.erase(Selection(cameras=("dock",))).backups == (str(copy),)
    assert backups_of(path) == []
    store.close()


def test_a_copy_is_kept_for_a_week_at_most_and_no_longer_than_its_data_may_be(tmp_path: Path, newer: Path) -> None:
    path = restored(tmp_path / "old.db", 1)
    store = upgraded(path, newer)
    (copy,) = backups_of(path)
    made = copy.stat().st_mtime
    assert store.purge(Keep(sightings_s=30 * 86_400.0), made + 6.9 * 86_400).backups == ()
    assert store.purge(Keep(crops_s=86_400.0), made + 86_401).backups == (str(copy),)
    store.close()


def test_two_processes_may_make_one_store_at_once(tmp_path: Path) -> None:
    script = "import pathlib, sys; from watchline.pipeline.store.sqlite import open_store\n"
    script += "sys.stdin.readline(); open_store(pathlib.Path(sys.argv[1])).close()"
    command = [sys.executable, "-c", script, str(tmp_path / "new.db")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [process.communicate("go\n", timeout=60) for process in started]
    assert [end[1] for end in ends] == ["", "", ""]
    assert [process.returncode for process in started] == [0, 0, 0]
