"""The HTTP interface over a scripted site."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from tests.pipeline.live_pictures import ScriptedPictures
from tests.pipeline.live_sightings import seeing, store
from tests.pipeline.live_statuses import ScriptedSite
from watchline.pipeline.metrics.facts import Build, Facts, JournalFacts, ReloadFacts, SightingFacts
from watchline.pipeline.metrics.page import MetricsPage
from watchline.pipeline.web.access import Access
from watchline.pipeline.web.app import build_app
from watchline.pipeline.web.sources import Sources

TOKEN = "correct-horse-battery-staple"


class ScriptedDaemon:
    """All that the interface reads."""

    def __init__(self, *cameras: str) -> None:
        self.site = ScriptedSite(*cameras)
        self.pictures = ScriptedPictures()
        self.journal = JournalFacts(12, dict.fromkeys(("queue_full", "disk"), 0), 3, 4096, False, 50 * 2**30, 2**30)
        self.reloads = ReloadFacts(1, 0, True, 1_700_000_000.0)
        self._cameras = cameras
        self.keeps_sightings = True
        self.sightings_now: SightingFacts | None = None  # instead of those where all is well
        self.wrong = ""
        self.patience_s = 15.0

    def sightings(self) -> SightingFacts | None:
        """What is said of sightings now."""
        usual = self.sightings_now or SightingFacts(seeing(*self._cameras), store())
        return usual if self.keeps_sightings else None

    def metrics(self) -> MetricsPage:
        """An exporter of it."""
        build = Build("0.1.0", "3.11.7")
        return MetricsPage(
            Facts(
                self.site.status,
                build,
                lambda: self.journal,
                lambda: self.reloads,
                self.pictures.looking,
                self.sightings,
            )
        )

    def app(self, access: Access | None = None, ailing: Callable[[], str] | None = None) -> FastAPI:
        """The application over it."""
        sources = Sources(
            "north-gate",
            "0.1.0",
            self.site.status,
            self.metrics().render,
            self.pictures,
            ailing or (lambda: self.wrong),
            self.patience_s,
            sightings=self.sightings,
        )
        return build_app(sources, access or Access())
