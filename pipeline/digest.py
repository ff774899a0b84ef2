"""The input's SHA-256, taken beside the run: for a day of video it takes longer than anybody would wait after it."""

from __future__ import annotations

import threading

from watchline.streams.errors import StreamError
from watchline.streams.opening import input_sha256


class InputDigest:
    """Hashes an input in a thread of its own, from now on.

    Args:
        spec: the input as the user named it.
        stop: set it to give up.
    """

    def __init__(self, spec: str, stop: threading.Event) -> None:
        self._stop = stop
        self._abandoned = False
        self._found: str | None = None
        self._problem = ""
        self._thread = threading.Thread(target=self._work, args=(spec,), name="hash")
        self._thread.start()

    def result(self) -> tuple[str | None, str]:
        """Waits for the end; returns the digest, or None and why: "" where it was stopped."""
        while self._thread.is_alive():
            self._thread.join(0.1)  # in short steps, so that an interrupt is heard
        return self._found, self._problem

    def abandon(self) -> None:
        """Gives up and waits for the thread to end."""
        self._abandoned = True
        self._thread.join()

    def _work(self, spec: str) -> None:
        try:
            self._found = input_sha256(spec, lambda: self._abandoned or self._stop.is_set())
        except StreamError as error:
            self._problem = str(error)
