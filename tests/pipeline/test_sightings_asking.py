"""Times and tracks as users say them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from watchline.pipeline.store.asking import (
    LIVE,
    camera_and_track,
    is_id,
    moment,
    selected,
    source_name,
    span_s,
    utc_text,
)
from watchline.streams.errors import UsageError

NOW = 1_795_369_613.0  # 2026-11-22 17:46:53Z


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-11-22T14:30", "2026-11-22 13:30:00Z"),  # local, without a zone
        ("2026-07-22 14:30", "2026-07-22 12:30:00Z"),  # likewise, in summer
        ("2026-11-22T14:30Z", "2026-11-22 14:30:00Z"),
        ("2026-11-22T14:30+05:00", "2026-11-22 09:30:00Z"),
        ("2026-11-22", "2026-11-21 23:00:00Z"),
        ("20261122", "2026-11-21 23:00:00Z"),  # ISO 8601 too, not seconds since 1970
        ("today", "2026-11-21 23:00:00Z"),
        ("Yesterday", "2026-11-20 23:00:00Z"),
        ("now", "2026-11-22 17:46:53Z"),
        ("2h", "2026-11-22 15:46:53Z"),
        ("1.5 d", "2026-11-21 05:46:53Z"),
        ("2w", "2026-11-08 17:46:53Z"),
        ("1795369613", "2026-11-22 17:46:53Z"),
        ("1795369613.25", "2026-11-22 17:46:53Z"),
        ("@60", "1970-01-01 00:01:00Z"),
    ],
)
def test_a_time_is_said_in_many_ways(said: str, meant: str) -> None:
    assert utc_text(moment(said, "--since", NOW)) == meant


@pytest.mark.usefixtures("berlin")
def test_yesterday_began_at_midnight_also_when_a_day_has_25_hours() -> None:
    day_after_the_change = 1_792_969_200.0 + 86_400 - 3_600  # 2026-10-26 00:00 in Berlin, where 25 October had 25 hours
    assert utc_text(moment("yesterday", "--since", day_after_the_change + 60)) == "2026-10-24 22:00:00Z"


@pytest.mark.parametrize(
    "said", ["soon", "5", "-2h", "2 months", "2026-13-01", "25:00", "1e9", "\u0662h", "0001-01-01"]
)
def test_what_is_no_time_gets_a_line_with_what_is_wanted(said: str) -> None:
    with pytest.raises(UsageError, match=r"^--since .*: want a time such as 2026-11-22T14:30"):
        moment(said, "--since", NOW)


def test_milliseconds_are_not_taken_for_seconds() -> None:
    with pytest.raises(UsageError, match="look like milliseconds"):
        moment("1795369613000", "--until", NOW)


def test_a_length_of_time_needs_a_unit() -> None:
    assert span_s("72h", "--keep-crops") == 72 * 3600
    with pytest.raises(UsageError, match=r"--keep-crops 72: want a length of time such as 90s"):
        span_s("72", "--keep-crops")


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="is no span; swap the two"):
        selected((), "1h", "2h", "", NOW)


def test_a_camera_named_twice_counts_once() -> None:
    assert selected(["dock", "dock"], "", "", "", NOW).cameras == ("dock",)


def test_a_camera_may_hold_colons() -> None:
    assert camera_and_track("rtsp://cam:554:17") == ("rtsp://cam:554", 17)
    for wrong in ("dock", ":1", "dock:", "dock:x", "dock:-1", "dock:\u0661", "dock:" + "9" * 19):
        with pytest.raises(UsageError, match="want a sighting's id"):
            camera_and_track(wrong)
    assert is_id("AB" * 16)
    assert not is_id("ab" * 15)


def test_a_clock_that_tells_nonsense_is_told_as_it_is() -> None:
    assert utc_text(1e14) == "@100000000000000"


def test_a_file_whose_name_is_no_text_has_a_name_in_the_store() -> None:
    name = source_name(os.fsdecode(b"/srv/caf\xe9.mp4"))
    assert name == "/srv/caf\\xe9.mp4"
    assert selected((), "", "", os.fsdecode(b"/srv/caf\xe9.mp4"), NOW).source == name
    assert selected((), "", "", LIVE, NOW).source == LIVE
