"""The daemon's log: written by a thread of its own, so that nobody waits for whoever reads it, or does not."""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from typing import Final, TextIO

from watchline.streams.redact import RedactingFormatter

_MOST: Final = 4096  # lines that wait; further ones are counted
_LEAVE_S: Final = 1.0  # for the last lines


class LogWriter(logging.Handler):
    """Writes records to a stream, without credentials.

    Args:
        stream: that is written to.
        form: of a line, as `logging.Formatter` takes it.
    """

    def __init__(self, stream: TextIO, form: str) -> None:
        super().__init__()
        self._stream = stream
        self._formatter = RedactingFormatter(logging.Formatter(form))
        self._changed = threading.Condition()
        self._records: deque[logging.LogRecord] = deque()
        self._dropped = 0
        self._writing = self._closed = False
        threading.Thread(target=self._run, name="log", daemon=True).start()
        atexit.register(self.close)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a record; does not wait."""
        with self._changed:
            if len(self._records) >= _MOST:
                self._dropped += 1
                return
            self._records.append(record)
            self._changed.notify_all()

    def close(self) -> None:
        """Waits a second at most for what was taken to be written. Safe to call twice."""
        with self._changed:
            self._changed.wait_for(lambda: not self._records and not self._writing, _LEAVE_S)
        super().close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._records)
                record, dropped = self._records.popleft(), self._dropped
                self._dropped, self._writing = 0, True
            lines = [self._formatter.format(record)]
            if dropped:
                lines.insert(0, f"WARNING {dropped} lines of the log were dropped: nobody read it")
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):  # who read it is gone: the cameras matter more
                continue
