"""Where results go while the daemon runs: journal, kept tracks, sightings, live pictures, pages and metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from watchline import __version__
from watchline.pipeline.live.journal import Journal, JournalSettings, JournalState
from watchline.pipeline.live.journal_shelf import Retention
from watchline.pipeline.live.keeping import Keeper
from watchline.pipeline.live.kept import Kept
from watchline.pipeline.live.lane import Lane
from watchline.pipeline.live.outcome import Outlet
from watchline.pipeline.live.pool import Network
from watchline.pipeline.live.status import GraphStatus
from watchline.pipeline.live.viewing import Viewing
from watchline.pipeline.metrics.facts import Build, Facts, JournalFacts, SightingFacts
from watchline.pipeline.metrics.page import MetricsPage
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.serving.reloads import Reloads
from watchline.pipeline.site.checking import read_token
from watchline.pipeline.site.kept import Retention as SiteRetention
from watchline.pipeline.site.site import Camera, Site
from watchline.pipeline.web.access import OWN_NAMES, Access
from watchline.pipeline.web.app import build_app
from watchline.pipeline.web.server import Tls, WebServer
from watchline.pipeline.web.sources import RecentStatus, Sources
from watchline.trackers.tracker import TrackIds

if TYPE_CHECKING:
    from watchline.pipeline.serving.sightings import SightingKeeping

STUCK_S: Final = 60.0  # a stage that does nothing for so long is not alive
_DAY_S: Final = 86400.0


class Outputs:
    """All that takes results and shows them.

    Attributes:
        reloads: how often the configuration was read again.
        journal: of tracks.
        absent: cameras of the site that could not be added, and why.

    Args:
        site: that runs.
        status: of the graph; asked for only after `open`.
        networks: finds the model that makes vectors of people.

    Raises:
        WatchlineError: an address, a token or a certificate is no good, or sightings cannot be kept.
    """

    def __init__(self, site: Site, status: Callable[[], GraphStatus], networks: Networks) -> None:
        access = _access(site)
        self._sightings = _keeping(site, networks)
        self.reloads = Reloads()
        self.absent: Mapping[str, str] = {}
        self._reserved_bytes = site.retention.free
        self._viewing = Viewing()
        self.journal = Journal(site.storage.path, JournalSettings(_retention(site.retention)))
        self._keeper = Keeper(site.storage.path, lambda camera: self.journal.ended(camera).highest_id)
        self._server = self._web(site, access, RecentStatus(status))

    @property
    def url(self) -> str:
        """Where the pages are."""
        return self._server.url

    def open(self) -> None:
        """Begins to answer.

        Raises:
            UsageError: the address is taken, or certificate and key do not go together.
        """
        self._server.start()

    def outlets(self, site: Site, camera: Camera, network: Network) -> Sequence[Outlet]:
        """Returns what is to be told of each processed frame of a camera.

        Args:
            site: as it runs now.
            camera: one of its cameras.
            network: what looks at it.
        """
        usual = (self.journal.outlet(camera.id), self._viewing.outlet(camera.id))
        return usual if self._sightings is None else (*usual, self._sightings.outlet(site, camera, network))

    def change(self, site: Site, camera: Camera, network: Network) -> None:
        """Takes note of what the site says now of a camera that goes on; see `outlets`."""
        if self._sightings is not None:
            self._sightings.change(site, camera, network)

    def known(self, camera: str) -> tuple[TrackIds, Kept | None]:
        """Returns what gives a camera's ids, and what its tracker knew before; waits for the disk."""
        return self._keeper.ids(camera), self._keeper.load(camera)

    def follow(self, camera: str, lane: Lane) -> None:
        """Keeps what the tracker of a camera knows, from now on."""
        self._keeper.follow(camera, lane.snapshot)

    def leave(self, camera: str) -> None:
        """Keeps what is known of the tracks of a camera a last time: it starts anew, or goes."""
        self._keeper.remove(camera)
        if self._sightings is not None:
            self._sightings.leave(camera)

    def forget(self, camera: str) -> None:
        """Closes what is open for a camera that is gone; what was written of it stays."""
        self.journal.remove(camera)
        self._viewing.remove(camera)
        if self._sightings is not None:
            self._sightings.forget(camera)

    def retain(self, retention: SiteRetention) -> None:
        """Keeps results for another time, or in another room."""
        self._reserved_bytes = retention.free
        self.journal.retain(_retention(retention))
        if self._sightings is not None:
            self._sightings.retain(retention)

    def stuck(self, bound_s: float) -> tuple[str, ...]:
        """Returns which of them did nothing for `bound_s`, though they should have."""
        ages = {
            "journal": self.journal.status().advanced_s,
            "kept tracks": self._keeper.status().advanced_s,
            "live pictures": self._viewing.status().advanced_s,
            "pages": self._server.advanced_s,
        }
        stuck = tuple(name for name, age_s in ages.items() if age_s > bound_s)
        return stuck if self._sightings is None else (*stuck, *self._sightings.stuck(bound_s))

    def close(self, timeout_s: float) -> bool:
        """Ends all; returns whether everything was written."""
        seen = [self._sightings is None]  # whether all sightings were stored

        def end_sightings(timeout_s: float) -> None:
            seen[0] = self._sightings is None or self._sightings.close(timeout_s)

        enders = [
            threading.Thread(target=end, args=(timeout_s,), name="end", daemon=True)
            for end in (end_sightings, self.journal.close, self._viewing.close, self._server.stop)
        ]
        for ender in enders:
            ender.start()
        until_s = time.monotonic() + timeout_s
        kept = self._keeper.close(timeout_s) and not self._keeper.status().failing
        for ender in enders:
            ender.join(max(0.0, until_s - time.monotonic()))
        status = self.journal.status()
        return kept and seen[0] and not status.waiting and not status.lost["closed"]

    def _web(self, site: Site, access: Access, status: Callable[[], GraphStatus]) -> WebServer:
        facts = Facts(
            status, Build(__version__), self._journal_facts, self.reloads.facts, self._viewers, self._sighting_facts
        )
        page = MetricsPage(facts)
        metrics = page.render if site.metrics.enabled else None
        sources = Sources(
            site.site,
            __version__,
            status,
            metrics,
            self._viewing,
            self._ailing,
            absent=lambda: self.absent,
            sightings=self._sighting_facts,
        )
        http = site.http
        tls = Tls(http.tls.certificate, http.tls.key) if http.tls else None
        return WebServer(build_app(sources, access), http.host, http.port, tls)

    def _journal_facts(self) -> JournalFacts:
        status = self.journal.status()
        return JournalFacts(
            status.written_lines,
            status.lost,
            status.waiting,
            status.bytes_on_disk,
            status.state is JournalState.FAILING,
            status.free_bytes,
            self._reserved_bytes,
        )

    def _sighting_facts(self) -> SightingFacts | None:
        return None if self._sightings is None else self._sightings.facts()

    def _viewers(self) -> int:
        return sum(self._viewing.status().viewers.values())

    def _ailing(self) -> str:
        """Returns which threads stand still; "" where none does. A disk that is full ails nothing: it is told of."""
        stuck = self.stuck(STUCK_S)
        return f"stands still: {', '.join(stuck)}" if stuck else ""


def _access(site: Site) -> Access:
    http = site.http
    token = read_token(http.token_file) if http.token_file else ""
    hosts = OWN_NAMES | {http.host.lower()} if http.is_local and not token else None
    untold = frozenset({"/metrics"}) if site.metrics.without_token else frozenset[str]()
    return Access(token, hosts, bool(http.tls) or http.behind_proxy, untold)


def _keeping(site: Site, networks: Networks) -> SightingKeeping | None:
    """Returns what keeps sightings; None where the site wants none, and nothing of them is loaded then."""
    if site.sightings is None:
        return None
    from watchline.pipeline.serving.sightings import SightingKeeping

    return SightingKeeping(site, site.sightings, networks)


def _retention(retention: SiteRetention) -> Retention:
    return Retention(retention.tracks_days * _DAY_S, retention.tracks_size, retention.free)
