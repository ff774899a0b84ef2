"""Plays what comes in bursts, or all at once, at the speed at which it happened."""

from __future__ import annotations

import time

LONGEST_WAIT_S = 1.0  # gaps are not waited out, so that whoever reads can be stopped


class Pace:
    """Waits until the next picture is due; what is late by more than a second is not caught up with."""

    def __init__(self) -> None:
        self._due_s: float | None = None  # when the last picture was due, monotonic

    def wait(self, step_s: float) -> None:
        """Waits for the next picture, `step_s` after the last one in the stream's own time, seconds."""
        now_s = time.monotonic()
        if self._due_s is None or now_s - self._due_s > LONGEST_WAIT_S:
            self._due_s = now_s
            return
        self._due_s += min(max(step_s, 0.0), LONGEST_WAIT_S)
        time.sleep(max(0.0, self._due_s - now_s))
