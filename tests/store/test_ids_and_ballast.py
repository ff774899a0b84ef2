"""Ids that sort by time, and room that is kept back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from watchline.pipeline.store.ballast import Ballast
from watchline.pipeline.store.ids import Ids


def test_ids_made_later_sort_later_also_where_the_clock_goes_back() -> None:
    times = iter([5.0, 5.0, 3.0, 6.0] * 50)
    ids = Ids(clock=lambda: next(times))
    made = [ids.new() for _ in range(200)]
    assert made == sorted(set(made))
    assert all(len(id_) == 32 and int(id_, 16) for id_ in made)


def test_two_makers_at_the_same_moment_do_not_agree() -> None:
    first, second = Ids(clock=lambda: 1.0), Ids(clock=lambda: 1.0)
    assert {first.new() for _ in range(100)}.isdisjoint(second.new() for _ in range(100))


def test_ballast_takes_its_room_and_gives_it_back(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "s.db", 100_000)
    assert not ballast.is_there
    assert ballast.take()
    assert ballast.take()
    found = (tmp_path / "s.db.ballast").stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (100_000, 0o600)
    assert found.st_blocks * 512 >= 100_000, "a hole in a file takes no room"
    assert ballast.give()
    assert not ballast.give()


def test_ballast_is_not_taken_where_the_disk_is_almost_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = Ballast(tmp_path / "s.db", 100_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 199_999}))
    assert not ballast.take()
    assert list(tmp_path.iterdir()) == []


def test_no_ballast_is_wanted(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "s.db", 0)
    assert ballast.take()
    assert list(tmp_path.iterdir()) == []
