"""What is told beside the graph: numbers that the journal, the viewing and the configuration keep."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from watchline.pipeline.live.seeing import SeeingStatus
from watchline.pipeline.live.status import GraphStatus


@dataclass(frozen=True, slots=True)
class JournalFacts:
    """The journal of tracks and the disk that it lies on.

    Attributes:
        lines: written since the start.
        lost: lines that were not written, by reason, zeros included.
        waiting: lines not yet written.
        kept_bytes: of all its files.
        failing: lines are refused now.
        free_bytes: left on the disk; None where it does not say.
        reserved_bytes: what the site wants to be left there.
    """

    lines: int = 0
    lost: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    waiting: int = 0
    kept_bytes: int = 0
    failing: bool = False
    free_bytes: int | None = None
    reserved_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The store of sightings.

    Attributes:
        stored: sightings written since the start.
        refused: sightings that were not kept, by reason, zeros included.
        waiting: sightings that wait to be written.
        size_bytes: of its files.
        failing: sightings are refused now.
        sentence: why; "" where they are not.
        purged: what the retention erased since the start, by kind of data, zeros included.
        trimmed: sightings of these that went before their time, for want of room.
        purge_failing: the retention could not be applied when that was tried last.
        purges_held: times that it was applied in part only, as the clock is not believed.
        clock_ahead_s: by how much the clock is ahead of what is believed, where that is more than a day, else 0.
        clock_sentence: the same for a person; "" where the clock is believed.
    """

    stored: int = 0
    refused: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    waiting: int = 0
    size_bytes: int = 0
    failing: bool = False
    sentence: str = ""
    purged: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    trimmed: int = 0
    purge_failing: bool = False
    purges_held: int = 0
    clock_ahead_s: float = 0.0
    clock_sentence: str = ""


@dataclass(frozen=True, slots=True)
class SightingFacts:
    """What is seen of people, and its store."""

    seeing: SeeingStatus
    store: StoreFacts

    def refused(self) -> dict[str, int]:
        """Returns how many were not kept, by reason, wherever that was."""
        reasons = (*self.store.refused, *self.seeing.unkept)
        return {reason: self.store.refused.get(reason, 0) + self.seeing.unkept.get(reason, 0) for reason in reasons}


@dataclass(frozen=True, slots=True)
class ReloadFacts:
    """How often the configuration was read again.

    Attributes:
        ok: times that it was taken.
        refused: times that it was wrong, so that the one before it runs on.
        last_ok: the last one was taken; true before the first.
        last_at: when the configuration that runs was taken, UTC seconds since 1970.
    """

    ok: int = 0
    refused: int = 0
    last_ok: bool = True
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Build:
    """What runs.

    Attributes:
        version: of watchline.
        python: version of the interpreter.
    """

    version: str
    python: str = field(default_factory=platform.python_version)


@dataclass(frozen=True, slots=True)
class Facts:
    """Where each number comes from; every call returns at once and may come from any thread.

    Attributes:
        status: of the graph.
        build: what runs.
        journal: of the journal and its disk.
        reloads: of the configuration.
        viewers: how many look at live pictures now.
        sightings: of people; None where none are kept.
    """

    status: Callable[[], GraphStatus]
    build: Build
    journal: Callable[[], JournalFacts] = JournalFacts
    reloads: Callable[[], ReloadFacts] = ReloadFacts
    viewers: Callable[[], int] = lambda: 0
    sightings: Callable[[], SightingFacts | None] = lambda: None
