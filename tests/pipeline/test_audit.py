from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.cli import call
from watchline.pipeline.audit.head import Mark
from watchline.pipeline.audit.log import AuditLog, NotRecordedError, account, head_of, log_of
from watchline.pipeline.audit.record import MOST_RECORD_BYTES, Action, Detail, Entry, parse, summary_of
from watchline.pipeline.audit.verifying import Verified, verify
from watchline.pipeline.cli.audit_options import operator
from watchline.pipeline.signing import SiteKey, default_key
from watchline.streams.errors import UsageError

NOON = 1_795_348_800.0
NO_RECORD = "record 5: changed: what stands in its place is no record"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WATCHLINE_SITE_KEY", str(tmp_path / "site.key"))
    return tmp_path / "site.db"


def write(store: Path, many: int = 9, clock: Callable[[], float] = time.time) -> Mark:
    """A log of one record that begins it and `many` searches."""
    log = AuditLog(store, clock=clock)
    return [log.append(Entry(Action.SEARCH, "anna", f"C-{i % 2}", {"top": i})) for i in range(many)][-1]


def own_key(store: Path) -> SiteKey:
    return SiteKey.load(store.with_name("site.key"))


def looked(store: Path, *noted: Mark) -> Verified:
    return verify(store, noted, own_key(store).public)


def lines(store: Path) -> list[bytes]:
    return log_of(store).read_bytes().splitlines(keepends=True)


def test_a_log_that_nobody_touched_is_whole(store: Path) -> None:
    end = write(store)
    done = looked(store, end)
    assert (done.records, done.end, done.problems, done.backwards) == (10, end, [], 0)
    assert log_of(store).stat().st_mode & 0o777 == head_of(store).stat().st_mode & 0o777 == 0o600


def test_a_record_says_who_did_what_when_and_names_the_one_before(store: Path) -> None:
    write(store, many=2, clock=lambda: NOON)
    begin, first, second = (parse(line[:-1]) for line in lines(store))
    assert begin
    assert first
    assert second
    assert (begin.number, begin.action, begin.prior) == (1, "begin", "0" * 64)
    assert (second.number, second.who, second.action, second.case) == (3, "anna", "search", "C-1")
    assert second.at == "2026-11-22T12:00:00.000000+00:00"
    assert second.details == {"top": 1}
    assert second.prior == first.sha256 == first.digest()


Spoil = Callable[[list[bytes]], list[bytes]]


def changed(data: list[bytes]) -> list[bytes]:
    return [*data[:4], data[4].replace(b"anna", b"otto"), *data[5:]]


def changed_and_hashed(data: list[bytes]) -> list[bytes]:
    record = parse(data[4][:-1])
    assert record
    forged = replace(record, who="otto")
    return [*data[:4], replace(forged, sha256=forged.digest()).line(), *data[5:]]


def rewritten_to_the_end(data: list[bytes]) -> list[bytes]:
    records = [parse(line[:-1]) for line in data]
    prior, out = "0" * 64, []
    for record in records:
        assert record
        forged = replace(record, who="otto", prior=prior)
        forged = replace(forged, sha256=forged.digest())
        prior = forged.sha256
        out.append(forged.line())
    return out


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (changed, ["record 5: changed: its SHA-256 is not that of what it says"]),
        (changed_and_hashed, ["record 5: changed: it is not the one that record 6 names before itself"]),
        (rewritten_to_the_end, ["record 10: is not the one of the head mark: the log was written anew up to there"]),
        (lambda data: [*data[:4], b"nonsense\n", *data[5:]], [NO_RECORD]),
        (lambda data: [*data[:4], b"a" * 99_999 + b"\n", *data[5:]], [NO_RECORD]),
        (lambda data: [*data[:4], *data[5:]], ["record 5: removed"]),
        (lambda data: data[3:], ["records 1 to 3: removed"]),
        (lambda data: [*data[:2], *data[4:6], *data[8:]], ["records 3 to 4: removed", "records 7 to 8: removed"]),
        (lambda data: [*data[:4], data[5], data[4], *data[6:]], ["record 5: moved: it stands after record 6"]),
        (lambda data: [*data, data[4]], ["record 5: stands a second time after record 10"]),
        (lambda data: data[:-1], ["record 10: removed from the end: the head mark knows of them"]),
        (lambda data: data[:3], ["records 4 to 10: removed from the end: the head mark knows of them"]),
        (lambda data: [], ["records 1 to 10: removed from the end: the head mark knows of them"]),
    ],
)  # fmt: skip
def test_what_was_changed_removed_or_moved_is_named_by_its_number(store: Path, spoil: Spoil, said: list[str]) -> None:
    write(store)
    log_of(store).write_bytes(b"".join(spoil(lines(store))))
    assert looked(store).problems == said


def test_a_log_cut_together_with_its_head_mark_is_found_by_a_head_noted_elsewhere(store: Path) -> None:
    write(store, many=4)
    old_log, old_head = log_of(store).read_bytes(), head_of(store).read_bytes()
    noted = write(store, many=3)
    log_of(store).write_bytes(old_log)
    head_of(store).write_bytes(old_head)
    assert looked(store).problems == []  # the two fit each other
    assert looked(store, noted).problems == [
        "records 6 to 8: removed from the end: the head that was noted knows of them"
    ]


def test_a_head_mark_that_a_crash_left_behind_is_no_trouble(store: Path) -> None:
    write(store, many=1)
    behind = head_of(store).read_bytes()
    write(store, many=1)
    head_of(store).write_bytes(behind)
    assert looked(store).problems == []
    assert "record 3: newer than the head mark, so nobody signed this" in looked(store).notes[0]
    assert write(store, many=1).number == 4
    assert looked(store).problems == []


def test_records_that_somebody_adds_without_the_key_are_told_and_nothing_is_recorded_on_top(store: Path) -> None:
    write(store, many=1)
    behind = head_of(store).read_bytes()
    write(store, many=4)
    head_of(store).write_bytes(behind)
    assert looked(store).problems == ["records 3 to 6: newer than the head mark, so nobody signed this"]
    with pytest.raises(NotRecordedError, match="others were added, and nobody signed them"):
        write(store)


def test_an_old_log_is_verified_under_a_name_of_its_own(store: Path) -> None:
    end = write(store)
    log_of(store).rename(log_of(store.with_name("old")))
    head_of(store).rename(head_of(store.with_name("old")))
    assert write(store, many=1).number == 2
    assert verify(store.with_name("old"), [end], own_key(store).public).problems == []
    assert looked(store, end).problems[0].startswith("records 3 to 10: removed from the end")


def test_a_log_that_is_gone_is_missed(store: Path) -> None:
    write(store, many=1)
    log_of(store).unlink()
    assert looked(store).problems == ["records 1 to 2: removed from the end: the head mark knows of them"]
    with pytest.raises(NotRecordedError, match="records were removed"):
        write(store)


def test_a_head_mark_that_is_gone_or_another_ones_is_told(store: Path) -> None:
    write(store)
    kept = head_of(store).read_bytes()
    head_of(store).unlink()
    assert looked(store).problems == ["the head mark is gone: records may be missing at the end"]
    head_of(store).write_bytes(kept.replace(b'"head":"10:', b'"head":"9:'))
    assert "the head mark was changed: its signature does not fit it" in looked(store).problems
    head_of(store).write_bytes(b"{}")
    assert looked(store).problems == [f"{head_of(store)}: is no head mark, or a damaged one"]
    head_of(store).write_bytes(kept)
    other = SiteKey.load_or_make(store.with_name("other.key")).public
    assert verify(store, key=other).problems[0].startswith("the head mark was signed by another key")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda log, head: log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1])), "were removed"),
        (lambda log, head: head.unlink(), "is gone, so nobody can tell"),
        (lambda log, head: head.write_bytes(b"{"), "is no head mark, or a damaged one"),
        (lambda log, head: head.write_bytes(head.read_bytes().replace(b"2026", b"2025")), "was not signed by"),
        (lambda log, head: log.write_bytes(log.read_bytes().replace(b'"top":8', b'"top":7')), "is damaged at its end"),
        (lambda log, head: log.write_bytes(log.read_bytes() + b"x" * 50_000), "is damaged at its end"),
    ],
)
def test_nothing_is_recorded_on_top_of_a_spoilt_end(
    store: Path, spoil: Callable[[Path, Path], object], said: str
) -> None:
    write(store, clock=lambda: NOON)
    spoil(log_of(store), head_of(store))
    before = log_of(store).read_bytes(), head_of(store).exists()
    with pytest.raises(NotRecordedError, match=said):
        write(store)
    assert (log_of(store).read_bytes(), head_of(store).exists()) == before


@pytest.mark.parametrize("kept", [0, 3])
def test_a_torn_end_is_set_aside_and_told(store: Path, kept: int) -> None:
    write(store, many=kept) if kept else AuditLog(store)
    torn = b'{"account":"ro'
    with log_of(store).open("ab") as file:
        file.write(torn)
    if kept:
        assert "14 bytes of a torn line" in looked(store).notes[0]
        assert looked(store).problems == []
    write(store, many=1)
    actions = [json.loads(line)["action"] for line in lines(store)]
    assert actions == ["begin", *["search"] * kept, "mend", "search"]
    mended = json.loads(lines(store)[-2])["details"]
    aside = store.with_name(mended["file"])
    assert aside.read_bytes() == torn
    assert looked(store).problems == []
    assert f"a torn end lies aside: {aside.name}" in looked(store).notes


def test_a_clock_that_goes_back_is_told(store: Path) -> None:
    times = iter([NOON, NOON, NOON + 50, NOON - 10, NOON - 5])
    write(store, many=4, clock=lambda: next(times))
    assert [json.loads(line)["back_s"] for line in lines(store)] == [0, 0, 0, 60, 0]
    assert looked(store).backwards == 1
    assert looked(store).problems == []


@pytest.mark.parametrize(
    "details",
    [
        {"vector": [0.1] * 9},
        {"crop": b"\xff\xd8"},
        {"ids": ["a"] * 65},
        {"note": "a" * 513},
        {"score": float("nan")},
        {"Name": 1},
        {"a": {"b": {"c": 1}}},
        {"a": {"b" * 600: 1}},
        {f"a{i}": 1 for i in range(65)},
    ],
)
def test_pictures_vectors_and_long_texts_do_not_fit_into_a_record(details: dict[str, Detail]) -> None:
    with pytest.raises(ValueError, match="details"):
        Entry(Action.SEARCH, "anna", details=details)


@pytest.mark.parametrize(("who", "case"), [("", ""), ("a\nb", ""), ("a" * 129, ""), ("anna", "C\x1b[2J")])
def test_names_and_cases_are_short_and_on_one_line(who: str, case: str) -> None:
    with pytest.raises(ValueError, match="characters"):
        Entry(Action.SEARCH, who, case)


def test_a_record_that_would_be_too_long_is_refused_and_nothing_is_written(store: Path) -> None:
    write(store)
    before = log_of(store).read_bytes()
    long = Entry(Action.SEARCH, "anna", details={f"a{i}": "é" * 512 for i in range(9)})
    with pytest.raises(ValueError, match=f"more than {MOST_RECORD_BYTES}"):
        AuditLog(store).append(long)
    assert log_of(store).read_bytes() == before


def test_many_ids_are_told_by_their_number_and_hash() -> None:
    ids = [f"{i:032x}" for i in range(5000)]
    assert summary_of(ids) == summary_of(ids[::-1])
    assert summary_of(ids)["count"] == 5000


def test_verify_says_all_is_well_and_prints_the_head_for_noting_down(store: Path) -> None:
    end = write(store)
    said = call("audit", "verify", "--store", store, "--head", str(end))
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == f"head {end}"
    assert own_key(store).public.fingerprint in said.out


def test_verify_names_what_is_wrong_and_fails(store: Path) -> None:
    write(store)
    log_of(store).write_bytes(b"".join(changed(lines(store))))
    said = call("audit", "verify", "--store", store)
    assert said.code == 1
    assert "watchline: record 5: changed" in said.err
    assert "not as it was written: 1 found" in said.err
    as_json = json.loads(call("audit", "verify", "--store", store, "--json").out)
    assert as_json["problems"] == ["record 5: changed: its SHA-256 is not that of what it says"]


@pytest.mark.parametrize("head", ["", "17", "17:abc", "x:" + "a" * 64, "1" * 20 + ":" + "a" * 64])
def test_a_head_that_is_none_is_refused(store: Path, head: str) -> None:
    write(store, many=1)
    said = call("audit", "verify", "--store", store, "--head", head)
    assert said.code == 2
    assert "want NUMBER:HASH" in said.err


def test_a_store_without_a_log_is_told(store: Path) -> None:
    said = call("audit", "verify", "--store", store)
    assert (said.code, said.out) == (2, "")
    assert "begins with the first audited action" in said.err


def test_show_picks_by_case_and_time(store: Path) -> None:
    times = iter([NOON, *(NOON + 60 * i for i in range(9))])
    write(store, clock=lambda: next(times))
    assert len(call("audit", "show", "--store", store).out.splitlines()) == 10
    of_case = call("audit", "show", "--store", store, "--case", "C-1").out.splitlines()
    assert [line.split()[6] for line in of_case] == ["C-1"] * 4
    part = call(
        "audit", "show", "--store", store, "--since", "2026-11-22T12:02Z", "--until", "2026-11-22T12:04Z", "--json"
    )
    assert [json.loads(line)["details"]["top"] for line in part.out.splitlines()] == [2, 3]


def test_show_lets_no_name_command_the_terminal_and_tells_of_lines_it_cannot_read(store: Path) -> None:
    AuditLog(store).append(Entry(Action.VIEW, "anna", details={"camera": "dock\x1b[2J\u202e"}))
    with log_of(store).open("ab") as file:
        file.write(b"nonsense\n")
    said = call("audit", "show", "--store", store)
    assert "\x1b" not in said.out
    assert "1 line in it is no record" in said.err


def test_the_account_is_that_of_the_system_whatever_the_environment_says(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    monkeypatch.setenv("LOGNAME", "somebody-else")
    write(store, many=1)
    assert json.loads(lines(store)[-1])["account"] == pwd.getpwuid(os.getuid()).pw_name


def test_who_does_something_is_the_account_unless_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert operator(" anna ") == "anna"
    assert operator("") == account()
    with pytest.raises(UsageError, match="--by"):
        operator("a\nb")


def test_a_key_that_others_may_read_stops_the_action(store: Path) -> None:
    write(store, many=1)
    store.with_name("site.key").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        write(store)


def test_a_number_that_nobody_can_print_is_no_record(store: Path) -> None:
    write(store, many=1)
    record = parse(lines(store)[-1][:-1])
    assert record
    forged = replace(record, number=10**4300 - 1)
    with log_of(store).open("ab") as file:
        file.write(replace(forged, sha256=forged.digest()).line() + b"junk\n")
    said = [f"record {number}: changed: what stands in its place is no record" for number in (3, 4)]
    assert looked(store).problems == said


@pytest.mark.parametrize("place", [log_of, head_of])
def test_a_pipe_in_place_of_the_log_or_its_mark_is_not_waited_for(store: Path, place: Callable[[Path], Path]) -> None:
    write(store)
    place(store).unlink()
    os.mkfifo(place(store))
    said = call("audit", "verify", "--store", store)
    assert said.code == 1
    assert f"{place(store)}: is no" in said.err
    with pytest.raises(NotRecordedError):
        AuditLog(store).append(Entry(Action.SEARCH, "anna"))


def test_the_tests_have_a_site_key_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert default_key().is_relative_to(tmp_path_factory.getbasetemp())


def test_links_that_lie_in_the_way_of_the_log_lead_nowhere(store: Path) -> None:
    write(store, many=1)
    torn, other = b'{"half', store.with_name("other")
    other.write_text("another's")
    with log_of(store).open("ab") as file:
        file.write(torn)
    aside = f"{log_of(store).name}-torn-3-{hashlib.sha256(torn).hexdigest()[:8]}"
    for name in (f"{head_of(store).name}.part", aside):
        store.with_name(name).symlink_to(other)
    write(store, many=1)
    assert other.read_text() == "another's"
    assert store.with_name(aside).read_bytes() == torn
    assert looked(store).problems == []
