"""Erasing goes through to the bytes of the files, and the search that proves it finds what is there."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import Connection

from tests.store.made import make_crop, make_sighting
from watchline.pipeline.store import connecting, erasing
from watchline.pipeline.store.connecting import connect
from watchline.pipeline.store.database import Database
from watchline.pipeline.store.proof import proof_of, write_proof
from watchline.pipeline.store.rows import insert_sightings
from watchline.pipeline.store.seam import Keep, Selection
from watchline.pipeline.store.search import WINDOW_BYTES, Prints, Search, Trace
from watchline.pipeline.store.searching import search_files
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import SqliteStore, open_store
from watchline.streams.errors import OutputError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = open_store(tmp_path / "sightings.db", ballast_bytes=8192, busy_s=0.2)
    yield store
    store.close()


def of(*sightings: Sighting) -> Selection:
    return Selection(ids=tuple(one.sighting_id for one in sightings))


def pieces_of(one: Sighting) -> list[bytes]:
    """Returns what must not be found: every stretch of 64 bytes of its pictures and vectors, one every 32 bytes."""
    blobs = [crop.jpeg for crop in one.crops] + [vector.vector.tobytes() for vector in one.vectors]
    return [blob[at : at + 64] for blob in blobs for at in range(0, len(blob) - 64, 32)]


def found_in_files(folder: Path, one: Sighting) -> int:
    """Returns how many stretches of a sighting lie in any file of a folder: a search by plain means.

    It lets go of SQLite's locks: only for tests in which no other process has the store open.
    """
    everything = b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    return sum(piece in everything for piece in pieces_of(one))


def test_nothing_of_what_was_erased_is_in_the_files(store: SqliteStore, tmp_path: Path) -> None:
    made = [make_sighting(crops=(make_crop(np.random.default_rng(n), 10_000),)) for n in range(15)]
    store.add(made)
    assert all(found_in_files(tmp_path, one) > 0.9 * len(pieces_of(one)) for one in made)
    gone, rest = made[3:9], made[:3] + made[9:]
    erased = store.erase(of(*gone))
    assert all(found_in_files(tmp_path, one) == 0 for one in gone)
    assert all(found_in_files(tmp_path, one) > 0.9 * len(pieces_of(one)) for one in rest)
    assert (len(erased.sightings), erased.crops, erased.vectors) == (6, 6, 6)
    assert {Path(file).name for file in erased.files} == {
        f"sightings.db{end}" for end in ("", "-wal", "-shm", ".ballast")
    }
    assert erased.bytes_searched >= store.path.stat().st_size + 8192
    assert erased.sha256[0] == hashlib.sha256(gone[0].crops[0].jpeg + gone[0].vectors[0].vector.tobytes()).hexdigest()


def test_the_search_would_find_it_if_sqlite_left_it_lying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    careless = tuple(line.replace("secure_delete=ON", "secure_delete=OFF") for line in connecting._SETTINGS)
    monkeypatch.setattr(connecting, "_SETTINGS", careless)
    monkeypatch.setattr(Database, "rewrite", lambda _: None)
    store = open_store(tmp_path / "careless.db", ballast_bytes=0)
    one = make_sighting(crops=(make_crop(np.random.default_rng(1), 10_000),))
    store.add([make_sighting() for _ in range(5)] + [one])
    with pytest.raises(OutputError, match=r"pieces of it are still in careless\.db"):
        store.erase(of(one))
    assert found_in_files(tmp_path, one) > 0
    store.close()


def test_what_sqlite_left_lying_is_gone_once_the_file_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = tuple(line.replace("secure_delete=ON", "secure_delete=OFF") for line in connecting._SETTINGS)
    monkeypatch.setattr(connecting, "_SETTINGS", careless)
    store = open_store(tmp_path / "careless.db", ballast_bytes=0)
    one, other = make_sighting(), make_sighting()
    store.add([other, one])
    assert store.erase(of(one)).bytes_searched > 0
    assert found_in_files(tmp_path, one) == 0
    assert store.get(other.sighting_id).crops == other.crops
    store.close()


def test_a_store_that_lives_for_long_keeps_nothing_behind(store: SqliteStore, tmp_path: Path) -> None:
    chance, rng = random.Random(7), np.random.default_rng(7)
    live: list[Sighting] = []
    for _ in range(7):
        for _ in range(chance.randint(5, 25)):
            crops = tuple(make_crop(rng, chance.randint(300, 12_000)) for _ in range(chance.randint(0, 3)))
            live.append(make_sighting(rng, crops=crops))
            store.add(live[-1:])
        gone = chance.sample(live, chance.randint(1, 5))
        live = [one for one in live if one not in gone]
        store.erase(of(*gone))
        assert sum(found_in_files(tmp_path, one) for one in gone) == 0


def test_the_retention_overwrites_as_well(store: SqliteStore, tmp_path: Path) -> None:
    one = make_sighting(ended_at=1000.0)
    store.add([one, make_sighting(ended_at=9000.0)])
    store.purge(Keep(crops_s=10.0, vectors_s=10.0), 5000.0)
    assert found_in_files(tmp_path, one) == 0


def test_a_picture_that_is_stored_twice_is_told_and_kept_once(store: SqliteStore) -> None:
    one = make_sighting()
    twin = make_sighting(crops=one.crops)
    store.add([one, twin, make_sighting()])
    assert store.erase(of(one)).shared == (twin.sighting_id,)
    assert store.get(twin.sighting_id).crops == one.crops
    assert store.erase(of(twin)).shared == ()


def test_the_same_head_of_two_pictures_is_no_trace(store: SqliteStore) -> None:
    head = b"\xff\xd8" + random.Random(1).randbytes(600) + b"\xff\xda"
    one, other = (make_sighting() for _ in range(2))
    one, other = (
        replace(each, crops=tuple(replace(crop, jpeg=head + crop.jpeg) for crop in each.crops)) for each in (one, other)
    )
    store.add([one, other])
    assert store.erase(of(one)).shared == ()


def test_nothing_is_erased_while_a_reader_keeps_the_log(store: SqliteStore) -> None:
    one = make_sighting()
    store.add([one])
    with closing(connect(store.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sighting").fetchall()
        store.add([make_sighting()])
        with pytest.raises(OutputError, match="nothing was erased from it: end it first"):
            store.erase(of(one))
        assert store.count(Selection()) == 2
        reader.execute("ROLLBACK")
    assert store.erase(of(one)).crops == 2


def test_nothing_is_erased_while_another_process_is_writing_and_it_is_called_a_writer(tmp_path: Path) -> None:
    one = make_sighting()
    store = open_store(tmp_path / "held.db", busy_s=0.1, ballast_bytes=0)
    store.add([one])
    with closing(connect(store.path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="another program writes to it all the time; nothing was erased"):
            store.erase(of(one))
        writer.execute("ROLLBACK")
    assert store.erase(of(one)).crops == 2
    store.close()


def test_an_erasure_never_takes_another_sighting_that_came_in_the_place_of_one_that_another_process_took(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make_sighting(), make_sighting(camera="gate")
    store.add([one])
    delete = erasing.delete_sightings

    def late(connection: Connection, numbers: Sequence[int], now: float) -> None:
        monkeypatch.setattr(erasing, "delete_sightings", delete)
        delete(connection, numbers, now)  # as the other process does
        insert_sightings(connection, [other])
        delete(connection, numbers, now)

    monkeypatch.setattr(erasing, "delete_sightings", late)
    store.erase(of(one))
    assert store.get(other.sighting_id).camera == "gate"


def test_a_proof_that_cannot_be_written_whole_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        write_proof(tmp_path / "proof.json", {"sightings": []})
    assert not (tmp_path / "proof.json").exists()


def test_a_reader_that_comes_between_is_told_of(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, False])
    monkeypatch.setattr(Database, "truncate", lambda _: next(answers))
    one = make_sighting()
    store.add([one])
    with pytest.raises(OutputError, match=r"erased, but sightings\.db-wal keeps it .* erase finish"):
        store.erase(of(one))
    monkeypatch.undo()
    assert store.count(Selection()) == 0
    assert store.erase(Selection(cameras=("nobody's",))).sightings == ()  # finishes what nobody else would
    assert store.unfinished() is None


def test_the_proof_names_what_was_erased_and_holds_nothing_of_it(store: SqliteStore, tmp_path: Path) -> None:
    one = make_sighting()
    store.add([one, make_sighting()])
    erased = store.erase(of(one))
    proof = proof_of(erased, of(one), store.path, 0.0, "0.1.0")
    place = tmp_path / "proof.json"
    write_proof(place, proof)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    read = json.loads(place.read_text())
    assert read["at"] == "1970-01-01T00:00:00+00:00"
    assert read["asked"] == {"ids": [one.sighting_id]}
    assert read["sightings"] == [{"id": one.sighting_id, "sha256": erased.sha256[0]}]
    assert read["searched"]["found"] == 0
    assert read["searched"]["least_fragment_bytes"] == 64 + WINDOW_BYTES - 1
    assert found_in_files(tmp_path, one) == 0
    with pytest.raises(OutputError, match=r"proof\.json: the proof cannot be written"):
        write_proof(place, proof)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 64, 128]), st.data())
def test_a_fragment_of_the_promised_length_is_found_wherever_it_lies(seed: int, step: int, data: st.DataObject) -> None:
    content = random.Random(seed).randbytes(data.draw(st.integers(step + 31, 3000)))
    length = step + WINDOW_BYTES - 1
    start = data.draw(st.integers(0, len(content) - length))
    around = [random.Random(seed + n).randbytes(data.draw(st.integers(0, 40))) for n in (1, 2)]
    prints = Prints()
    prints.take(content, step)
    search = Search(prints.rows())
    whole = search.in_data(around[0] + content[start : start + length] + around[1])
    # a window that begins at a multiple of the step lies within it, unless the content itself ends before
    assert whole or start > (len(content) - WINDOW_BYTES) // step * step
    assert not search.in_data(random.Random(seed + 3).randbytes(5000))


def test_a_window_across_two_blocks_of_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchline.pipeline.store.search._BLOCK_BYTES", 64)
    content = random.Random(1).randbytes(1000)
    (tmp_path / "file").write_bytes(content)
    prints = Prints()
    count = prints.take(content, 1)
    traces, size = Search(prints.rows()).in_file(tmp_path / "file")
    assert size == 1000
    assert sorted({trace.offset for trace in traces}) == list(range(count))


def test_stretches_that_are_like_any_other_are_not_looked_for() -> None:
    prints = Prints()
    assert prints.take(bytes(1000) + bytes(range(4)) * 100, 16) == 0
    assert prints.skipped == 86
    assert Search(prints.rows()).in_data(bytes(1000)) == set()


def test_a_search_that_fails_is_told_of(store: SqliteStore, tmp_path: Path) -> None:
    prints = Prints()
    prints.take(random.Random(1).randbytes(100), 16)
    with pytest.raises(OutputError, match=r"none: the search .* did not come to its end: .*No such file"):
        search_files(prints.rows(), [tmp_path / "none"])
    assert search_files(prints.rows(), []) == ([], 0)


def test_what_goes_from_beside_a_store_does_not_end_a_search_of_it(store: SqliteStore, tmp_path: Path) -> None:
    prints = Prints()
    prints.take(os.urandom(100), 1)
    store.add([make_sighting()])
    assert search_files(prints.rows(), [store.path, tmp_path / "sightings.db.ballast.part"])[1] > 0


def test_a_copy_that_the_retention_removes_meanwhile_is_no_error(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, copy = make_sighting(), tmp_path / "sightings.db.schema-0.backup"
    store.add([one])
    copy.write_bytes(one.crops[0].jpeg)

    def quicker(prints: NDArray[np.uint8], files: Sequence[Path]) -> tuple[list[Trace], int]:
        found = search_files(prints, files)
        if copy in files:
            copy.unlink()
        return found

    monkeypatch.setattr(erasing, "search_files", quicker)
    assert store.erase(of(one)).backups == (str(copy),)
    monkeypatch.setattr(Database, "backups", lambda _: [copy])
    assert store.purge(Keep(crops_s=1.0), 1e12).backups == ()


def test_a_search_lets_go_of_no_lock_of_the_store(store: SqliteStore) -> None:
    """A process that opens and closes a file loses its locks there: so the search must be another process."""
    one = make_sighting()
    store.add([one, make_sighting()])
    reader = connect(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sighting").fetchall()
    prints = Prints()
    prints.take(one.crops[0].jpeg, 16)
    assert search_files(prints.rows(), [store.path, store.path.with_name("sightings.db-shm")])[1] > 0
    script = f"import sqlite3; db = sqlite3.connect({str(store.path)!r}, timeout=0); db.execute('DELETE FROM crop');"
    script += "db.commit(); print(db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()[0])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "1\n", "the other process must see that a reader is there"
    reader.close()


def test_the_tables_are_sound_after_much_erasing(store: SqliteStore) -> None:
    made = [make_sighting() for _ in range(300)]
    store.add(made)
    store.erase(of(*made[::2]))
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
