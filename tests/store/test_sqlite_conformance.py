"""The SQLite store does what every store must do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.store.conformance import StoreConformance
from watchline.pipeline.store.seam import SightingStore
from watchline.pipeline.store.sqlite import open_store


class TestSqliteStore(StoreConformance):
    @contextmanager
    def make(self) -> Iterator[SightingStore]:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder) / "sightings.db", ballast_bytes=0)
            try:
                yield store
            finally:
                store.close()
