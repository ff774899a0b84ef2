from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.kit.small_disk import small_disk
from watchline.pipeline.audit import log as audit_log
from watchline.pipeline.audit.head import Mark
from watchline.pipeline.audit.log import AuditLog, NotRecordedError, head_of, log_of
from watchline.pipeline.audit.record import Action, Entry
from watchline.pipeline.audit.verifying import verify

SEARCH = Entry(Action.SEARCH, "anna", "C-1", {"query": "ab" * 32})


def writer(store: Path, name: str, many: int) -> subprocess.Popen[str]:
    key = store.with_name("site.key")
    command = [sys.executable, "-m", "tests.faults.audit_writer", str(store), str(key), name, str(many)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_that_begin_and_write_one_log_leave_one_chain_under_one_key(tmp_path: Path) -> None:
    store = tmp_path / "site.db"
    writers = [writer(store, f"w{i}", 40) for i in range(4)]
    AuditLog(store, store.with_name("site.key")).append(SEARCH)
    while any(each.poll() is None for each in writers):
        assert verify(store).problems == []  # in the midst of it
    promised = [Mark.of(line) for each in writers for line in each.communicate(timeout=120)[0].splitlines()]
    assert [each.returncode for each in writers] == [0] * 4
    done = verify(store, promised)
    assert (done.records, done.problems) == (162, [])
    assert len({mark.number for mark in promised}) == 160


def test_several_threads_write_one_log(tmp_path: Path) -> None:
    store, key = tmp_path / "site.db", tmp_path / "site.key"
    threads = [threading.Thread(target=lambda: [AuditLog(store, key).append(SEARCH) for _ in range(10)]) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (verify(store).records, verify(store).problems) == (21, [])


def test_a_writer_that_is_killed_loses_no_promised_record_and_holds_up_nobody(tmp_path: Path) -> None:
    store = tmp_path / "site.db"
    draw = random.Random(5)
    promised: list[Mark] = []
    for i in range(5):
        process = writer(store, f"w{i}", 100_000)
        assert process.stdout
        promised.append(Mark.of(process.stdout.readline()))
        time.sleep(draw.uniform(0.0, 0.03))
        process.kill()
        promised += [Mark.of(line) for line in process.communicate(timeout=10)[0].splitlines() if len(line) > 64]
    AuditLog(store, tmp_path / "site.key").append(SEARCH)
    done = verify(store, promised)
    assert done.problems == []
    assert done.records > len(promised)


def test_on_a_full_disk_nothing_is_recorded_and_later_all_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = disk.folder / "site.db"
        log = AuditLog(store, tmp_path / "site.key")
        log.append(SEARCH)
        disk.fill()
        with pytest.raises(NotRecordedError, match=r"was not done"):
            for _ in range(40):
                log.append(SEARCH)
        records = verify(store).records
        assert verify(store).problems == []
        assert verify(store).notes[2:] == []  # nothing torn
        disk.free()
        assert log.append(SEARCH).number == records + 1
        assert verify(store).problems == []


def test_on_a_full_disk_a_torn_end_stays_in_its_place(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = disk.folder / "site.db"
        log = AuditLog(store, tmp_path / "site.key")
        log.append(SEARCH)
        with log_of(store).open("ab") as file:
            file.write(b'{"acc')
        disk.fill()
        with pytest.raises(NotRecordedError):
            log.append(SEARCH)
        assert log_of(store).read_bytes().endswith(b'\n{"acc')
        disk.free()
        log.append(SEARCH)
        assert [json.loads(line)["action"] for line in log_of(store).read_bytes().splitlines()][-2:] == [
            "mend",
            "search",
        ]


def test_a_head_mark_that_cannot_be_written_takes_the_record_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "site.db"
    log = AuditLog(store, tmp_path / "site.key")
    log.append(SEARCH)
    before = log_of(store).read_bytes(), head_of(store).read_bytes()
    head_of(store).with_name("site.db.audit-head.part").mkdir()
    with pytest.raises(NotRecordedError, match="was not done"):
        log.append(SEARCH)
    assert (log_of(store).read_bytes(), head_of(store).read_bytes()) == before


def test_a_killed_mend_is_told_by_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "site.db"
    log = AuditLog(store, tmp_path / "site.key")
    log.append(SEARCH)
    with log_of(store).open("ab") as file:
        file.write(b'{"acc')

    def killed(descriptor: int, data: bytes) -> None:
        if b'"mend"' in data:
            raise KeyboardInterrupt
        os.write(descriptor, data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(audit_log, "_write", killed)
        log.append(SEARCH)
    log.append(SEARCH)
    done = verify(store)
    assert done.problems == []
    assert done.notes[-1].endswith("of which the log does not know")


def test_whoever_waits_too_long_for_the_log_does_nothing(tmp_path: Path) -> None:
    import fcntl

    store, key = tmp_path / "site.db", tmp_path / "site.key"
    AuditLog(store, key).append(SEARCH)
    with log_of(store).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NotRecordedError, match=r"another process has held it for 0.1 s"):
            AuditLog(store, key, limit_s=0.1).append(SEARCH)
    assert AuditLog(store, key, limit_s=0.1).append(SEARCH).number == 3


def test_a_log_that_may_only_be_read_stops_the_action_and_can_be_verified(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = disk.folder / "site.db"
        AuditLog(store, tmp_path / "site.key").append(SEARCH)
        disk.lock("ro")
        try:
            with pytest.raises(NotRecordedError, match="read-only file system"):
                AuditLog(store, tmp_path / "site.key").append(SEARCH)
            assert verify(store).problems == []
        finally:
            disk.lock("rw")
