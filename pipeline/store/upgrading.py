"""Brings a store's tables to the schema of this program: steps run by Alembic, one transaction, a backup first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from watchline.pipeline.store.failures import WrongStore
from watchline.streams.errors import OutputError

SCHEMA: Final = 1  # of this program
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_BACKUP: Final = ".schema-{}.backup"


def schema_of(connection: Connection) -> int:
    """Returns the schema of a store: 0 for one without tables, -1 for tables that are not watchline's."""
    names = inspect(connection).get_table_names()
    if not names:
        return 0
    if "alembic_version" not in names:
        return -1
    found = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())
    return int(found) if found.isdecimal() else -1


def check_schema(path: Path, found: int, newest: int = SCHEMA) -> None:
    """Refuses tables that this program does not know.

    Raises:
        WrongStore: they are not a store's.
        OutputError: they are a newer program's.
    """
    if found < 0:
        raise WrongStore(f"{path}: a database, but not a store of watchline; name another file")
    if found > newest:
        raise OutputError(f"{path}: its schema is {found}, this watchline knows {newest}; use the newer watchline")


def upgrade(connection: Connection, found: int, migrations: Path = MIGRATIONS) -> None:
    """Runs the steps that are missing, within the transaction that is open."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(migrations), version_locations=[str(migrations)])
    context = MigrationContext.configure(connection)
    operations = Operations(context)  # handed over: Alembic's own `op` is one for the whole process
    for step in reversed(list(script.walk_revisions())):
        if int(step.revision) > found:
            step.module.upgrade(operations)
            context.stamp(script, step.revision)


def backup_of(path: Path, schema: int) -> Path:
    """Returns where the copy of a store goes that is made before it leaves a schema."""
    return path.with_name(path.name + _BACKUP.format(schema))


def backups_of(path: Path) -> list[Path]:
    """Returns the copies that lie beside a store, also those half made."""
    start, end = (path.name + part for part in _BACKUP.split("{}"))
    end = end[len(path.name) :]
    return sorted(
        file
        for file in path.parent.iterdir()
        if file.name.startswith(start) and file.name.removesuffix(".part").endswith(end)
    )


def back_up(path: Path, schema: int, connect: Callable[[], sqlite3.Connection]) -> Path:
    """Copies a store to a file beside it, as private as the store is; a copy of that name is replaced."""
    place = backup_of(path, schema)
    part = place.with_name(place.name + ".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with closing(connect()) as here, closing(sqlite3.connect(part)) as there:
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")  # one file, that can be moved
    part.replace(place)
    return place
