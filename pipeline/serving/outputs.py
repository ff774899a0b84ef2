"""Where results go while the daemon runs: journal, kept tracks, live pictures, pages and metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from watchline import __version__
from watchline.pipeline.live.journal import Journal, JournalSettings, JournalState
from watchline.pipeline.live.journal_shelf import Retention
from watchline.pipeline.live.keeping import Keeper
from watchline.pipeline.live.kept import Kept
from watchline.pipeline.live.lane import Lane
from watchline.pipeline.live.outcome import Outlet
from watchline.pipeline.live.status import GraphStatus
from watchline.pipeline.live.viewing import Viewing
from watchline.pipeline.metrics.facts import Build, Facts, JournalFacts
from watchline.pipeline.metrics.page import MetricsPage
from watchline.pipeline.serving.reloads import Reloads
from watchline.pipeline.site.checking import read_token
from watchline.pipeline.site.site import Retention as SiteRetention
from watchline.pipeline.site.site import Site
from watchline.pipeline.web.access import OWN_NAMES, Access
from watchline.pipeline.web.app import build_app
from watchline.pipeline.web.server import Tls, WebServer
from watchline.pipeline.web.sources import RecentStatus, Sources
from watchline.trackers.tracker import TrackIds

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

    Raises:
        WatchlineError: an address, a token or a certificate is no good.
    """

    def __init__(self, site: Site, status: Callable[[], GraphStatus]) -> None:
        access = _access(site)
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

    def outlets(self, camera: str) -> Sequence[Outlet]:
        """Returns what is to be told of each processed frame of a camera."""
        return self.journal.outlet(camera), self._viewing.outlet(camera)

    def known(self, camera: str) -> tuple[TrackIds, Kept | None]:
        """Returns what gives a camera's ids, and what its tracker knew before; waits for the disk."""
        return self._keeper.ids(camera), self._keeper.load(camera)

    def follow(self, camera: str, lane: Lane) -> None:
        """Keeps what the tracker of a camera knows, from now on."""
        self._keeper.follow(camera, lane.snapshot)

    def leave(self, camera: str) -> None:
        """Keeps what the tracker of a camera knows a last time: it starts anew, or goes."""
        self._keeper.remove(camera)

    def forget(self, camera: str) -> None:
        """Closes what is open for a camera that is gone; what was written of it stays."""
        self.journal.remove(camera)
        self._viewing.remove(camera)

    def retain(self, retention: SiteRetention) -> None:
        """Keeps results for another time, or in another room."""
        self._reserved_bytes = retention.free
        self.journal.retain(_retention(retention))

    def stuck(self, bound_s: float) -> tuple[str, ...]:
        """Returns which of them did nothing for `bound_s`, though they should have."""
        ages = {
            "journal": self.journal.status().advanced_s,
            "kept tracks": self._keeper.status().advanced_s,
            "live pictures": self._viewing.status().advanced_s,
            "pages": self._server.advanced_s,
        }
        return tuple(name for name, age_s in ages.items() if age_s > bound_s)

    def close(self, timeout_s: float) -> bool:
        """Ends all; returns whether everything was written."""
        enders = [
            threading.Thread(target=end, args=(timeout_s,), name="end", daemon=True)
            for end in (self.journal.close, self._viewing.close, self._server.stop)
        ]
        for ender in enders:
            ender.start()
        until_s = time.monotonic() + timeout_s
        kept = self._keeper.close(timeout_s) and not self._keeper.status().failing
        for ender in enders:
            ender.join(max(0.0, until_s - time.monotonic()))
        status = self.journal.status()
        return kept and not status.waiting and not status.lost["closed"]

    def _web(self, site: Site, access: Access, status: Callable[[], GraphStatus]) -> WebServer:
        facts = Facts(status, Build(__version__), self._journal_facts, self.reloads.facts, self._viewers)
        page = MetricsPage(facts)
        metrics = page.render if site.metrics.enabled else None
        sources = Sources(
            site.site, __version__, status, metrics, self._viewing, self._ailing, absent=lambda: self.absent
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


def _retention(retention: SiteRetention) -> Retention:
    return Retention(retention.tracks_days * _DAY_S, retention.tracks_size, retention.free)
