"""The file of a site, watched: it is read again when it changes."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

_Stamp: TypeAlias = tuple[int, int, int] | None


class SiteFile:
    """Tells when a file is another than it was, and has been left alone since: editors write in several steps.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = self._seen = self._stamp()

    def changed(self) -> bool:
        """Returns whether it changed, and is the same as when this was asked last; each change is told once.

        A file that is gone is no change: it may be on its way.
        """
        before, self._seen = self._seen, self._stamp()
        if self._seen is None or self._seen != before or self._seen == self._known:
            return False
        self._known = self._seen
        return True

    def _stamp(self) -> _Stamp:
        try:
            told = self.path.stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_size, told.st_ino
