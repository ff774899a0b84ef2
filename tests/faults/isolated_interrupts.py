"""`python -m tests.faults.isolated_interrupts FOLDER`: calls of an isolated engine that a signal interrupts.

A program of its own: an exception that a signal raises may fall anywhere, and in a test run much else is under way.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from pathlib import Path

from tests.detectors import isolated_inner as inner
from tests.detectors.isolated_inner import isolated, picture


class InterruptError(Exception):
    """Raised by the signal."""


def interrupt(*_: object) -> None:
    """Is what the signal does."""
    raise InterruptError


def main() -> None:
    """Interrupts three calls, and makes one after each."""
    faulthandler.enable()
    signal.signal(signal.SIGALRM, interrupt)
    with isolated(Path(sys.argv[1])) as engine:
        for i in range(3):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                engine.run(picture(inner.SLOW, number=2 * i + 1))
            except InterruptError:
                batch = picture(number=2 * i + 2)
                assert (engine.run(batch)[0] == batch * 2).all()
                continue
            raise AssertionError("was not interrupted")
        assert engine.deaths == 0


if __name__ == "__main__":
    main()
