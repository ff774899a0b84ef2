"""Where the `watchline` command starts and ends: the one place where errors become lines and exit codes."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

from watchline.streams.redact import redact, redact_argument


def main() -> None:
    """Runs the command line; never shows a traceback unless WATCHLINE_DEBUG=1 asks for it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be text
    # OpenCV's own threads, of which it wakes some for every picture that is resized, cost more than they help beside
    # workers that keep all processors busy. It reads this when it is first loaded.
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    heeded = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    _hide_credentials()
    if heeded:
        # While modules load there is nothing to keep: an interrupt just ends the process, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is logged is also in the summary and its warnings; without a handler Python would print it here as well.
    logging.getLogger("watchline").addHandler(logging.NullHandler())
    from watchline.pipeline.cli.app import app
    from watchline.streams.errors import WatchlineError

    interrupted = False

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    if heeded:
        signal.signal(signal.SIGINT, interrupt)
    debug = os.environ.get("WATCHLINE_DEBUG") == "1"
    try:
        app()
    except KeyboardInterrupt:  # the second one, while the first was being told
        _end("interrupted", 130)
    except Exception as error:  # noqa: BLE001  # it ends in a line for the user
        if debug:
            _end(f"WATCHLINE_DEBUG=1\n{traceback.format_exc()}", 1)
        if interrupted:  # an interrupt in the middle of an import, say, comes out as that import's error
            _end("interrupted", 130)
        if isinstance(error, WatchlineError):
            _end(str(error), error.exit_code)
        _end(f"internal error: {type(error).__name__}: {error}; WATCHLINE_DEBUG=1 shows where", 1)


def _hide_credentials() -> None:
    """Hides the password of an address from whoever lists this machine's processes."""
    shown = [redact_argument(argument) for argument in sys.argv]
    if shown != sys.argv:
        from setproctitle import setproctitle

        setproctitle(" ".join(["watchline", *shown[1:]]))


def _end(message: str, code: int) -> NoReturn:
    print(redact(f"watchline: {message}"), file=sys.stderr)  # noqa: T201  # the last word to the user
    sys.exit(code)
