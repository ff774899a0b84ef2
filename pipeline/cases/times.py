"""Times of cases as people read them: UTC, to the second."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(time_s: float) -> str:
    """Returns a time, UTC seconds, as text.

    >>> utc_text(0), utc_text(1e300)
    ('1970-01-01 00:00:00 UTC', '1e+300 s UTC')
    """
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{time_s:g} s UTC"
