"""The small parts of the daemon, each alone."""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path

import pytest

from watchline.pipeline.checks import Health
from watchline.pipeline.serving import clock
from watchline.pipeline.serving.gaps import Gaps
from watchline.pipeline.serving.logs import LogWriter
from watchline.pipeline.serving.notify import ServiceManager
from watchline.pipeline.serving.site_file import SiteFile
from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.failure import Reason


class Record:
    def __init__(self) -> None:
        self.gaps: list[tuple[str, float, float, str]] = []

    def gap(self, camera: str, from_s: float, to_s: float, reason: str) -> None:
        self.gaps.append((camera, from_s, to_s, reason))


def event(state: CameraState, at_s: float, reason: Reason | None = None) -> CameraEvent:
    return CameraEvent("dock", state, at_s, reason)


class TestGaps:
    def test_a_gap_is_recorded_once_it_is_over_with_its_first_reason(self) -> None:
        record, now_s = Record(), time.monotonic()
        gaps = Gaps(record, clock=lambda: 1000 + time.monotonic() - now_s)
        gaps.heard(event(CameraState.OFFLINE, now_s - 8, Reason.TIMEOUT))
        gaps.heard(event(CameraState.OFFLINE, now_s - 5, Reason.REFUSED))
        assert record.gaps == []
        gaps.heard(event(CameraState.LIVE, now_s - 2))
        ((camera, from_s, to_s, reason),) = record.gaps
        assert (camera, reason) == ("dock", "timeout")
        assert from_s == pytest.approx(992, abs=0.01)
        assert to_s == pytest.approx(998, abs=0.01)

    def test_the_first_connection_is_no_gap(self) -> None:
        record = Record()
        gaps = Gaps(record)
        gaps.heard(event(CameraState.CONNECTING, 1.0))
        gaps.heard(event(CameraState.LIVE, 2.0))
        gaps.close()
        assert record.gaps == []

    def test_a_gap_that_is_still_open_is_recorded_at_the_end(self) -> None:
        record = Record()
        gaps = Gaps(record)
        gaps.heard(event(CameraState.FROZEN, time.monotonic() - 3, Reason.FROZEN))
        gaps.close()
        gaps.close()
        ((_, from_s, to_s, reason),) = record.gaps
        assert (round(to_s - from_s), reason) == (3, "frozen")

    def test_setting_the_wall_clock_makes_no_gap_longer(self) -> None:
        record, wall_s = Record(), [1000.0]
        gaps = Gaps(record, clock=lambda: wall_s[0])
        gaps.heard(event(CameraState.OFFLINE, time.monotonic() - 2, Reason.TIMEOUT))
        wall_s[0] += 3600
        gaps.heard(event(CameraState.LIVE, time.monotonic()))
        assert record.gaps[0][2] - record.gaps[0][1] == pytest.approx(2, abs=0.05)

    def test_the_last_word_of_a_camera_that_went_ends_no_gap_of_the_one_that_came(self) -> None:
        record = Record()
        gaps = Gaps(record)
        gaps.heard(event(CameraState.OFFLINE, time.monotonic() - 3, Reason.TIMEOUT))
        gaps.removed("dock")
        gaps.heard(event(CameraState.OFFLINE, time.monotonic() - 1, Reason.REFUSED))
        gaps.heard(event(CameraState.STOPPED, time.monotonic()))
        assert [gap[3] for gap in record.gaps] == ["timeout"]
        gaps.heard(event(CameraState.LIVE, time.monotonic()))
        assert [gap[3] for gap in record.gaps] == ["timeout", "refused"]


class TestLog:
    def test_a_reader_that_reads_nothing_holds_nobody_up(self) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading), os.fdopen(writing, "w") as stream:
            writer = LogWriter(stream, "%(message)s")
            begun_s = time.monotonic()
            for number in range(10_000):
                writer.emit(logging.LogRecord("watchline", 20, "", 0, f"line {number} {'x' * 100}", None, None))
            assert time.monotonic() - begun_s < 2
            os.read(reading, 1 << 20)  # lets the thread end with the pipe

    def test_lines_come_in_order_without_credentials(self, tmp_path: Path) -> None:
        with (tmp_path / "log").open("w") as stream:
            writer = LogWriter(stream, "%(levelname)s %(message)s")
            for text in ("first", "rtsp://admin:canary@cam/a"):
                writer.emit(logging.LogRecord("watchline", logging.INFO, "", 0, text, None, None))
            writer.close()
        assert (tmp_path / "log").read_text() == "INFO first\nINFO rtsp://***@cam/a\n"


class TestServiceManager:
    def test_it_is_told_nothing_where_there_is_none(self) -> None:
        manager = ServiceManager.of({})
        manager.ready("well")
        manager.alive()
        assert manager.watchdog_s == 0

    def test_it_hears_by_a_path_or_by_a_name_in_abstract_space(self, tmp_path: Path) -> None:
        for address in (str(tmp_path / "notify"), f"@watchline-test-{os.getpid()}"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
                listener.bind(f"\0{address[1:]}" if address.startswith("@") else address)
                listener.settimeout(5)
                manager = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
                manager.reloading()
                told = listener.recv(4096).decode()
            assert told.startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert manager.watchdog_s == 30

    def test_a_watchdog_of_another_process_is_not_ours(self) -> None:
        assert ServiceManager.of({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_s == 0

    def test_one_that_is_gone_disturbs_nothing(self, tmp_path: Path) -> None:
        ServiceManager(str(tmp_path / "none")).alive()


class TestSiteFile:
    def test_a_change_is_told_once_and_only_when_it_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "site.yaml"
        path.write_text("one")
        file = SiteFile(path)
        assert not file.changed()
        path.write_text("two, longer")
        assert not file.changed()  # it may still be written to
        assert file.changed()
        assert not file.changed()

    def test_a_file_that_is_gone_is_no_change_and_one_that_comes_back_is(self, tmp_path: Path) -> None:
        path = tmp_path / "site.yaml"
        path.write_text("one")
        file = SiteFile(path)
        path.unlink()
        assert not file.changed()
        assert not file.changed()
        path.write_text("another")
        assert [file.changed(), file.changed(), file.changed()] == [False, True, False]


class TestClock:
    def test_a_clock_that_was_never_set_is_a_failure(self) -> None:
        assert clock.check_clock(0.0).health is Health.FAIL

    def test_a_clock_that_is_set_is_told_in_utc(self) -> None:
        check = clock.check_clock(1_800_000_000.0)
        assert check.health in (Health.OK, Health.WARN)
        assert "2027-01-15 08:00:00 UTC" in check.found
