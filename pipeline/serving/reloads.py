"""How often the configuration was read again, and how that went."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from watchline.pipeline.metrics.facts import ReloadFacts


class Reloads:
    """Counts reloads. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts = ReloadFacts(last_at=time.time())

    def taken(self) -> None:
        """Counts one that was applied."""
        with self._lock:
            self._facts = replace(self._facts, ok=self._facts.ok + 1, last_ok=True, last_at=time.time())

    def refused(self) -> None:
        """Counts one that was wrong: what ran before runs on."""
        with self._lock:
            self._facts = replace(self._facts, refused=self._facts.refused + 1, last_ok=False)

    def facts(self) -> ReloadFacts:
        """Returns the counts."""
        with self._lock:
            return self._facts
