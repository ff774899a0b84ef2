"""What a store notes about itself, a line of text by name, in its table `meta`."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from watchline.pipeline.store.schema import meta


def noted(connection: Connection, name: str) -> str | None:
    """Returns what was noted last; None for nothing."""
    found = connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar()
    return None if found is None else str(found)


def note(connection: Connection, name: str, value: str) -> None:
    """Notes something in the place of what was noted before."""
    connection.execute(delete(meta).where(meta.c.name == name))
    connection.execute(meta.insert().values(name=name, value=value))
