"""The file of a store: transactions, one writer at a time, and the room that it keeps back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection

from watchline.pipeline.store.ballast import Ballast
from watchline.pipeline.store.connecting import BUSY_S, connect, engine_of, has_writer, truncate_wal, writing
from watchline.pipeline.store.failures import StoreFull, read, told
from watchline.pipeline.store.upgrading import MIGRATIONS, SCHEMA, back_up, backups_of, check_schema, schema_of, upgrade

_T = TypeVar("_T")

_REWRITE_IN_MEMORY: Final = 256 * 1024 * 1024


class Database:
    """A store's file, open. Safe to use from several threads.

    Attributes:
        path: the file.
        ballast: beside it.

    Args:
        busy_s: longest wait for another process, seconds.
    """

    def __init__(self, path: Path, ballast: Ballast, busy_s: float = BUSY_S) -> None:
        self.path = path
        self.ballast = ballast
        self._busy_s = busy_s
        self._engine = engine_of(path, busy_s)
        self._alone = threading.Lock()  # among the threads of this process; SQLite itself waits by asking again

    def bring_up(self, newest: int = SCHEMA, migrations: Path = MIGRATIONS) -> None:
        """Makes the tables, or brings them to the newest schema, after a copy was laid beside the file.

        Raises:
            OutputError: they are not a store's, or a newer program's.
        """
        with self.reading() as connection:
            found = schema_of(connection)
        check_schema(self.path, found, newest)
        if found == newest:
            return
        if found:
            with told(self.path):
                back_up(self.path, found, partial(connect, self.path, self._busy_s))
        with self.writing() as connection:
            found = schema_of(connection)  # another process may have been quicker
            check_schema(self.path, found, newest)
            if found < newest:
                upgrade(connection, found, migrations)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Opens a transaction that reads: what it sees does not change."""
        with read(self.path), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Opens a transaction that writes: all of it is kept, or none."""
        with self._alone, told(self.path), writing(self._engine).connect() as connection, connection.begin():
            yield connection

    def with_room(self, work: Callable[[], _T]) -> _T:
        """Does some work that makes room; where there is none to begin with, the ballast is given up for it."""
        try:
            return work()
        except StoreFull:
            if not self.ballast.give():
                raise
            return work()

    def truncate(self, most_s: float = BUSY_S) -> bool:
        """Writes the log back and empties it; False where another process held it all the time.

        Writers wait as long, for at most `most_s`.
        """
        with self._alone:
            return self.with_room(partial(truncate_wal, self.path, min(most_s, self._busy_s)))

    def is_written(self) -> bool:
        """Tells whether another process is in the midst of writing."""
        with self._alone:
            return has_writer(self.path)

    def rewrite(self) -> None:
        """Writes the whole file anew, so that only what is kept is in it; takes as much room again."""
        in_memory = self.path.stat().st_size <= _REWRITE_IN_MEMORY
        with self._alone, told(self.path), self._engine.connect() as connection:
            driver = connection.connection
            driver.execute(f"PRAGMA temp_store={'MEMORY' if in_memory else 'FILE'}")
            try:
                driver.execute("VACUUM")
            finally:
                driver.execute("PRAGMA temp_store=MEMORY")

    def files(self) -> list[Path]:
        """Returns the store's files that are there, without copies of it."""
        names = [self.path.name + end for end in ("", "-wal", "-shm", "-journal", ".ballast", ".ballast.part")]
        return [file for name in names if (file := self.path.with_name(name)).exists()]

    def backups(self) -> list[Path]:
        """Returns the copies beside it."""
        with told(self.path):
            return backups_of(self.path)

    def close(self) -> None:
        """Lets go of the file; idempotent."""
        self._engine.dispose()
