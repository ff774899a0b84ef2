"""Times and cameras as a user says them, and what they select."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.streams.errors import UsageError

LIVE: Final = "live"  # the source of what cameras saw
SPANS: Final = "such as 90s, 15m, 2h, 3d or 2w"
MOMENTS: Final = (
    "a time such as 2026-11-22T14:30, 2026-11-22T14:30Z or 2026-11-22, an age such as 2h or 3d, now, today, yesterday, "
    "or seconds since 1970"
)

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])", re.IGNORECASE | re.ASCII)
_EPOCH: Final = re.compile(r"@(\d{1,10}(?:\.\d{1,9})?)|(\d{9,10}(?:\.\d{1,9})?)", re.ASCII)
_MILLISECONDS: Final = re.compile(r"\d{12,13}", re.ASCII)
_REFERENCE: Final = re.compile(r"[0-9a-f]{32}")


def span_s(text: str, option: str) -> float:
    """Returns a length of time in seconds.

    Args:
        text: a number and its unit: s, m, h, d or w.
        option: that it was given with, for the error.

    Raises:
        UsageError: it is none.

    >>> span_s("72h", "--keep-crops"), span_s("1.5 d", "--keep-paths")
    (259200.0, 129600.0)
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: want a length of time {SPANS}")
    return float(found[1]) * _UNITS_S[found[2].lower()]


def moment(text: str, option: str, now: float) -> float:
    """Returns a time as UTC seconds.

    A time without a zone is of this machine's own zone; a day alone is its first moment there. An age counts back
    from `now`.

    Args:
        text: see `MOMENTS`.
        option: that it was given with, for the error.
        now: UTC seconds.

    Raises:
        UsageError: it is none of these.

    >>> moment("2h", "--since", now=10_000.0), moment("1970-01-01T01:00Z", "--since", now=0.0)
    (2800.0, 3600.0)
    """
    said = text.strip()
    if said.lower() in _days(now):
        return _days(now)[said.lower()]
    if _SPAN.fullmatch(said):
        return now - span_s(said, option)
    if _MILLISECONDS.fullmatch(said):
        raise UsageError(f"{option} {text}: want seconds since 1970, and these look like milliseconds; leave off three")
    if epoch := _EPOCH.fullmatch(said):
        return float(epoch[1] or epoch[2])
    try:
        given = datetime.fromisoformat(said)
        return given.timestamp()  # one without a zone is taken as local
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{option} {text}: want {MOMENTS}") from None


def _days(now: float) -> dict[str, float]:
    """Returns the times that have a name; days begin at midnight of this machine's zone."""
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"now": now, "today": today.timestamp(), "yesterday": (today - timedelta(days=1)).timestamp()}


def source_name(spec: str) -> str:
    """Returns what a store calls an input file or folder: its whole path, so that it is one however it is named."""
    return storable(str(Path(spec).expanduser().absolute().resolve()))


def storable(name: str) -> str:
    """Returns a file's name as text: bytes of it that are no UTF-8 as hex digits, for a store takes no others.

    >>> storable("caf" + chr(0xDCE9)) == "caf" + chr(92) + "xe9"
    True
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def selected(cameras: Sequence[str], since: str, until: str, source: str, now: float) -> Selection:
    """Returns what the options --camera, --since, --until and --source select; "" for one that was left out.

    A file may be named in any way; `LIVE` is what cameras saw.

    Raises:
        UsageError: a time is none, or the span ends before it begins.
    """
    start = moment(since, "--since", now) if since else None
    end = moment(until, "--until", now) if until else None
    if start is not None and end is not None and end <= start:
        raise UsageError(
            f"--since {since} --until {until}: from {utc_text(start)} to {utc_text(end)} is no span; swap the two"
        )
    seen_in = source if source in {"", LIVE} else source_name(source)
    return Selection(cameras=tuple(dict.fromkeys(cameras)), since=start, until=end, source=seen_in)


def holds(selection: Selection, sighting: Sighting) -> bool:
    """Is a sighting one of a selection?"""
    return (
        (not selection.cameras or sighting.camera in selection.cameras)
        and (selection.since is None or sighting.ended_at >= selection.since)
        and (selection.until is None or sighting.started_at < selection.until)
        and (not selection.ids or sighting.sighting_id in selection.ids)
        and (selection.track is None or (sighting.camera, sighting.track_id) == selection.track)
        and (not selection.source or sighting.provenance.source == selection.source)
    )


def is_id(text: str) -> bool:
    """Is it a sighting's id, 32 hex digits?"""
    return _REFERENCE.fullmatch(text.lower()) is not None


def camera_and_track(text: str) -> tuple[str, int]:
    """Returns the camera and the track id of CAMERA:TRACK; a camera's name may hold colons.

    Raises:
        UsageError: it is neither this nor an id.

    >>> camera_and_track("dock:2:17")
    ('dock:2', 17)
    """
    camera, _, track = text.rpartition(":")
    if not camera or not (track.isascii() and track.isdigit()) or len(track) > 18:
        raise UsageError(f"{text}: want a sighting's id (32 hex digits) or CAMERA:TRACK, such as dock:17")
    return camera, int(track)


def utc_text(time_s: float) -> str:
    """Returns UTC seconds as a person reads them, to the second.

    >>> utc_text(0.0)
    '1970-01-01 00:00:00Z'
    """
    try:
        return f"{datetime.fromtimestamp(math.floor(time_s), UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):  # no such year: a clock that tells nonsense is told as it is
        return f"@{time_s:.0f}"


def told(selection: Selection) -> str:
    """Returns a selection in words, for a line to the user.

    >>> told(Selection(cameras=("dock",), since=0.0))
    'camera dock, since 1970-01-01 00:00:00Z'
    """
    parts = []
    if selection.cameras:
        parts.append(f"camera{'s' * (len(selection.cameras) > 1)} {', '.join(selection.cameras)}")
    if selection.track is not None:
        parts.append(f"track {selection.track[0]}:{selection.track[1]}")
    if selection.ids:
        parts.append(f"sighting {selection.ids[0]}" if len(selection.ids) == 1 else f"{len(selection.ids)} sightings")
    if selection.source:
        parts.append(f"source {selection.source}")
    if selection.since is not None:
        parts.append(f"since {utc_text(selection.since)}")
    if selection.until is not None:
        parts.append(f"before {utc_text(selection.until)}")
    return ", ".join(parts) or "everything"
