"""`watchline serve`: the daemon."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.pipeline.cli.site_options import CacheOption, ConfigOption, MirrorOption, networks_of

if TYPE_CHECKING:
    from watchline.pipeline.serving.daemon import Asked

_UNFINISHED = 3
_AT_ONCE = 130
_END_S = 10.0  # from SIGTERM on; what hangs then is left
_HEED_S = 0.1


def serve(
    config: ConfigOption,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    cache: CacheOption = None,
    mirror: MirrorOption = "",
) -> None:
    """Watch the cameras of a site day and night: find and follow people, keep tracks, show pages and metrics.

    Works until SIGTERM or Ctrl-C, which finish what is under way within ten seconds; a second one ends at once. SIGHUP,
    or a change of the file, reads it again: only what changed starts anew. A file that is wrong is refused and told in
    the log, and the one before it runs on.

    \b
    Examples:
      watchline config init 'rtsp://admin:${DOCK_PASSWORD}@10.0.0.7/h264' -o site.yaml
      watchline check --config site.yaml
      watchline serve --config site.yaml

    Exit codes: 0 ended as asked, 1 cannot start, 2 the file is wrong, 3 ended, but not all was finished.
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.machine import leave_no_core, return_memory_early
    from watchline.pipeline.serving.daemon import Daemon
    from watchline.pipeline.serving.notify import ServiceManager
    from watchline.pipeline.serving.site_file import SiteFile
    from watchline.pipeline.site.loading import load_site

    leave_no_core()
    asked = _heed()
    _log_to_stderr(verbose)
    file = SiteFile(Path(config))
    site = load_site(file.path)
    return_memory_early()
    daemon = Daemon(file, site, networks_of(site, cache, mirror), ServiceManager.of(os.environ))
    if not daemon.run(asked):
        raise typer.Exit(_UNFINISHED)


def _heed() -> Asked:
    """Returns what signals ask for from now on; their handlers take no lock, for the thread below may hold it."""
    from watchline.pipeline.serving.daemon import Asked

    asked = Asked()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if asked.stop:
            os._exit(_AT_ONCE)
        asked.stop = True

    def reload(_signal: int, _frame: FrameType | None) -> None:
        asked.reload = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, reload)
    threading.Thread(target=_guard, args=(asked,), name="guard", daemon=True).start()
    return asked


def _guard(asked: Asked) -> None:
    """Ends this process where the end takes too long."""
    while not asked.stop:
        time.sleep(_HEED_S)
    time.sleep(_END_S)
    os._exit(_UNFINISHED)


def _log_to_stderr(verbose: bool) -> None:
    """Logs lines without credentials; the journal of the system stamps its own times."""
    from watchline.pipeline.serving.logs import LogWriter

    own_times = "JOURNAL_STREAM" in os.environ
    when = "" if own_times else "%(asctime)s "
    root = logging.getLogger()
    root.addHandler(LogWriter(sys.stderr, f"{when}%(levelname)s %(message)s"))
    root.setLevel(logging.WARNING)
    logging.getLogger("watchline").setLevel(logging.DEBUG if verbose else logging.INFO)
