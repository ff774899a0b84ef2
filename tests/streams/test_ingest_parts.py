"""The parts of the ingest that need no process of their own to be shown right."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.streams.ingest_cameras import PASSWORD, scripted
from watchline.streams.address import Address
from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.failure import Reason
from watchline.streams.free_memory import own_memory_bytes, total_memory_bytes
from watchline.streams.ingest_member import Member
from watchline.streams.ingest_status import Standing
from watchline.streams.ingest_wire import secrets_of
from watchline.streams.ingest_words import KEPT_BYTES, LastWords, telling_line
from watchline.streams.ledger import Ledger
from watchline.streams.shared_pictures import shareable

pytestmark = pytest.mark.skipif(not shareable(), reason="ingest processes are for Linux")


@pytest.fixture
def words() -> Iterator[LastWords]:
    pipe = LastWords()
    yield pipe
    pipe.close()


@pytest.mark.parametrize("state", [CameraState.CONNECTING, CameraState.OFFLINE, CameraState.FROZEN])
def test_a_camera_that_tries_again_is_not_called_hung_however_long_a_try_may_take(
    state: CameraState, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(0, replace(scripted("gate"), open_timeout_s=20))
    began_s = time.monotonic()
    member.heard(CameraEvent("gate", state, began_s, retry_s=1.0))
    monkeypatch.setattr(time, "monotonic", lambda: began_s + 30 + 60)
    assert member.stuck_s() < 0
    monkeypatch.setattr(time, "monotonic", lambda: began_s + 600)
    assert member.stuck_s() > 10
    member.close()


def test_why_a_camera_failed_stays_while_it_connects_again_until_it_is_live() -> None:
    standing = Standing("gate", Ledger(), lambda _: None)
    standing.heard(CameraEvent("gate", CameraState.OFFLINE, time.monotonic(), Reason.CRASHED, "it crashed", 5.0))
    assert 4 < standing.status().retry_s <= 5
    standing.heard(CameraEvent("gate", CameraState.CONNECTING, time.monotonic()))
    status = standing.status()
    assert (status.state, status.reason, status.sentence) == (CameraState.CONNECTING, Reason.CRASHED, "it crashed")
    assert status.retry_s == 0
    standing.heard(CameraEvent("gate", CameraState.LIVE, time.monotonic()))
    status = standing.status()
    assert (status.reason, status.sentence) == (None, "")
    assert status.last_failure is Reason.CRASHED
    assert status.last_failure_age_s is not None
    assert 0 <= status.last_failure_age_s < 5


def test_of_many_last_words_the_end_is_kept_without_credentials(words: LastWords) -> None:
    secrets = secrets_of([scripted("gate")])
    for number in range(40):
        os.write(words.to, f"{number}: user admin password {PASSWORD}\n".encode() * 100)
        words.hear()
    assert not words.hear()
    os.write(words.to, b"the end\n")
    assert words.hear()
    text = words.text(secrets)
    assert KEPT_BYTES // 2 < len(text) <= KEPT_BYTES
    assert text.endswith("the end")
    assert PASSWORD not in text
    assert text.splitlines()[0].startswith("2")


def test_the_sentence_takes_the_line_that_says_most() -> None:
    crash = "WARNING: harmless\nFatal Python error: Aborted\n\nThread 0x1 (most recent call first):\n  File x"
    assert telling_line(crash) == "Fatal Python error: Aborted"
    assert telling_line("Traceback (most recent call last):\n  File x\nMemoryError\n") == "MemoryError"
    assert telling_line("first\nlast\n") == "last"
    assert telling_line("") == ""


def test_tokens_of_addresses_are_secrets_too() -> None:
    camera = replace(scripted("gate"), address=Address.parse("http://cam/x?session=0123456789&stream=main"))
    assert secrets_of([camera]) == ["0123456789"]


def test_memory_is_told_by_the_process_itself(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("RssAnon:\t    100 kB\nRssFile:\t 7 kB\nVmSwap:\t      20 kB\n")
    assert own_memory_bytes(status) == 120 << 10
    assert own_memory_bytes(tmp_path / "none") == 0


def test_a_cgroup_bounds_the_memory_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("5000000\n")
    own = tmp_path / "own"
    own.write_text("0::/\n")
    assert total_memory_bytes(tmp_path, own) == 5_000_000
