"""What an ingest process wrote to its stderr, of which the end matters."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress

from watchline.streams.redact import redact

KEPT_BYTES = 1 << 16
_SECRET_BYTES = 2048  # no address is longer, nor what it holds
_SHOWN = 120  # characters of the line for the sentence
_TELLING = re.compile(
    r"Fatal Python error|terminate called|Assertion .*failed|Segmentation fault|[Oo]ut of memory"
    r"|^[A-Za-z_.]*(?:Error|Exception)\b"
)


class LastWords:
    """A pipe for the stderr of a process, and the last of what came through it.

    The pipe never holds the reader up; a writer waits at most until `hear` is called again.
    """

    def __init__(self) -> None:
        """Opens the pipe.

        Raises:
            OSError: there is no descriptor left.
        """
        self._from, self.to = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._from, False)
        self._kept = bytearray()
        self._cut = False

    def hear(self) -> bool:
        """Takes what has come; returns whether there was anything."""
        heard = False
        with suppress(BlockingIOError):
            while chunk := os.read(self._from, KEPT_BYTES):
                heard = True
                self._kept += chunk
                if len(self._kept) > KEPT_BYTES:
                    self._cut = True
                    del self._kept[:-KEPT_BYTES]
        return heard

    def close_writer(self) -> None:
        """Leaves the writing end to the process alone. Safe to call twice."""
        if self.to >= 0:
            os.close(self.to)
            self.to = -1

    def text(self, secrets: Iterable[str]) -> str:
        """Returns the end of it, 64 KiB at most, without credentials."""
        kept = bytes(self._kept)
        if self._cut:  # what it begins with may be the rest of a password
            start = kept.find(b"\n", 0, KEPT_BYTES // 2)
            kept = kept[start + 1 if start >= 0 else _SECRET_BYTES :]
        return redact(kept.decode(errors="replace"), secrets).strip()

    def close(self) -> None:
        """Closes both ends. Safe to call twice."""
        self.close_writer()
        if self._from >= 0:
            os.close(self._from)
            self._from = -1


def telling_line(text: str) -> str:
    r"""Returns the line that says most of why it ended: the last one that names an error, else the last one.

    >>> telling_line("warning: old\nFatal Python error: Aborted\n\nThread 0x1 (most recent call first):")
    'Fatal Python error: Aborted'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)]
    return (telling or lines or [""])[-1][:_SHOWN]
