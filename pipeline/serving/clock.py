"""Whether this machine's clock can be believed."""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Final

from watchline.pipeline.checks import Check, Health

_BUILT_AFTER_S: Final = 1_760_000_000  # October 2025: no clock that is right says less
_TIMEX_BYTES: Final = 208
_UNSYNCHRONISED: Final = 5  # TIME_ERROR of adjtimex(2)
_MEND: Final = "let chrony or systemd-timesyncd set it: times of sightings are no better than it"


def check_clock(now_s: float | None = None) -> Check:
    """Returns whether the clock is set, and whether something keeps it right."""
    now_s = time.time() if now_s is None else now_s
    said = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < _BUILT_AFTER_S:
        return Check("clock", Health.FAIL, f"{said}: it was never set", _MEND)
    if _kernel_says() == _UNSYNCHRONISED:
        return Check("clock", Health.WARN, f"{said}; nothing keeps it right", _MEND)
    return Check("clock", Health.OK, said)


def synchronised() -> bool:
    """Returns whether the system says that it keeps the clock right, by NTP or the like."""
    return 0 <= _kernel_says() < _UNSYNCHRONISED


def _kernel_says() -> int:
    """Returns what adjtimex(2) says of the clock; -1 where there is none."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None) if sys.platform == "linux" else None
    return int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))) if adjtimex is not None else -1
