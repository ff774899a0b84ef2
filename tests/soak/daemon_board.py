"""What those who cause faults tell the verifier: a small file, whole at any time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Notice:
    """What is known of the daemon now.

    Attributes:
        pid: of the daemon; 0 while it is away on purpose.
        url: of its pages.
        life: how often it was started.
        excused: cameras that need not advance now, by what is done to them.
        begins: how often each camera began to be read anew, within all lives, because it was asked for.
        saved: of each camera how often the daemon has ended, and the first id that its saved tracker did not know then.
        over: the verifier is to end.
    """

    pid: int = 0
    url: str = ""
    life: int = 0
    excused: dict[str, list[str]] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    saved: dict[str, tuple[int, int]] = field(default_factory=dict)
    over: bool = False


class Board:
    """Holds the notice. Safe to share between threads.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._notice = Notice()
        self._write()

    def started(self, pid: int, url: str, cameras: Sequence[str]) -> None:
        """Tells that the daemon runs, and begins all cameras."""
        with self._lock:
            self._notice.pid, self._notice.url = pid, url
            self._notice.life += 1
            self._begin(cameras)
            self._write()

    def away(self) -> None:
        """Tells that the daemon is ended on purpose."""
        with self._lock:
            self._notice.pid = 0
            self._write()

    def saved(self, next_ids: Mapping[str, int]) -> None:
        """Tells what the daemon that has ended kept: of each camera the id that its tracker would have given next."""
        with self._lock:
            for camera, next_id in next_ids.items():
                self._notice.saved[camera] = self._notice.life, next_id
            self._write()

    def begun(self, cameras: Sequence[str]) -> None:
        """Tells that cameras begin to be read anew."""
        with self._lock:
            self._begin(cameras)
            self._write()

    def over(self) -> None:
        """Tells the verifier to end."""
        with self._lock:
            self._notice.over = True
            self._write()

    @contextmanager
    def excused(self, why: str, cameras: Sequence[str]) -> Iterator[None]:
        """Excuses cameras within the block."""
        self._excuse(why, cameras, begins=True)
        try:
            yield
        finally:
            self._excuse(why, cameras, begins=False)

    def _excuse(self, why: str, cameras: Sequence[str], *, begins: bool) -> None:
        with self._lock:
            for camera in cameras:
                reasons = self._notice.excused.setdefault(camera, [])
                if begins:
                    reasons.append(why)
                else:
                    reasons.remove(why)
                if not reasons:
                    del self._notice.excused[camera]
            self._write()

    def _begin(self, cameras: Sequence[str]) -> None:
        for camera in cameras:
            self._notice.begins[camera] = self._notice.begins.get(camera, 0) + 1

    def _write(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self._notice)))
        part.replace(self.path)


def read_notice(path: Path) -> Notice:
    """Returns what the board says now."""
    return Notice(**json.loads(path.read_text()))


def wait_until(what: object, timeout_s: float, every_s: float = 0.1) -> float | None:
    """Waits until `what()` is true; returns after how many seconds that was, None where it was not in time."""
    assert callable(what)
    begun_s = time.monotonic()
    while not what():
        if time.monotonic() - begun_s > timeout_s:
            return None
        time.sleep(every_s)
    return time.monotonic() - begun_s
