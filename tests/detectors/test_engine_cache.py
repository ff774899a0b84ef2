"""The cache of TensorRT engines: each for one machine and network, whole or not at all, and not too many."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from watchline.detectors.engine_cache import EngineCache, EngineKey, Entry
from watchline.detectors.gpu import Gpu, Platform
from watchline.streams.errors import OutputError

PLATFORM = Platform(Gpu("RTX 4090", "8.9", "580.10", 24 << 30), "10.13.3", "1.31.1")
KEY = EngineKey.of("ab" * 32, PLATFORM, "fp16", (384, 640), (1, 8, 8))
OTHERS = [
    replace(KEY, model="cd" * 32),
    replace(KEY, gpu="RTX 4080"),
    replace(KEY, capability="9.0"),
    replace(KEY, part="MIG-1"),
    replace(KEY, driver="580.11"),
    replace(KEY, tensorrt="10.13.4"),
    replace(KEY, onnxruntime="1.31.2"),
    replace(KEY, precision="fp32"),
    replace(KEY, height=640),
    replace(KEY, width=384),
    replace(KEY, batch=(1, 4, 8)),
]


def put(cache: EngineCache, key: EngineKey, size: int = 100) -> Entry:
    with cache.building(key) as (folder, keep):
        (folder / "network.onnx").write_bytes(b"network")
        (folder / "made.engine").write_bytes(b"e" * size)
        return keep(12.5)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "models" / "engines")


def test_an_engine_is_found_under_its_key_and_says_all_of_it_in_words(cache: EngineCache) -> None:
    assert cache.find(KEY) is None
    entry = put(cache, KEY)
    found = cache.find(KEY)
    assert found is not None
    assert (found.key, found.folder, found.build_s) == (KEY, entry.folder, 12.5)
    assert found.size_bytes == 107
    said = json.loads((found.folder / "key.json").read_text())
    assert said["key"]["gpu"] == "RTX 4090"
    assert said["key"]["driver"] == "580.10"
    assert set(said["files"]) == {"network.onnx", "made.engine"}


@pytest.mark.parametrize("other", OTHERS)
def test_whatever_differs_is_another_engine(cache: EngineCache, other: EngineKey) -> None:
    put(cache, KEY)
    assert cache.find(other) is None
    put(cache, other)
    assert len(cache.entries()) == 2


def test_one_for_other_batches_is_taken_where_there_is_none_for_these(cache: EngineCache) -> None:
    for batch in ((1, 2, 4), (1, 8, 16), (2, 32, 32)):
        put(cache, replace(KEY, batch=batch))
    put(cache, replace(KEY, driver="1", batch=(1, 30, 30)))
    best = cache.best(KEY)
    assert best is not None
    assert best.key.batch == (1, 8, 16)
    put(cache, KEY)
    best = cache.best(KEY)
    assert best is not None
    assert best.key == KEY


def test_one_for_other_batches_that_failed_is_passed_over(cache: EngineCache) -> None:
    for batch in ((1, 2, 4), (1, 8, 16)):
        put(cache, replace(KEY, batch=batch))
    cache.remember_failure(replace(KEY, batch=(1, 8, 16)), "does not start")
    best = cache.best(KEY)
    assert best is not None
    assert best.key.batch == (1, 2, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="who may read a file is said otherwise there")
def test_an_engine_can_be_read_by_others_than_its_builder(cache: EngineCache) -> None:
    folder = put(cache, KEY).folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}


@pytest.mark.parametrize("harm", ["change", "cut", "gone", "more", "key", "empty key", "no key", "outside"])
def test_a_damaged_engine_is_none_and_is_built_anew(tmp_path: Path, harm: str) -> None:
    said: list[str] = []
    cache = EngineCache(tmp_path, say=said.append)
    folder = put(cache, KEY).folder
    engine, key = folder / "made.engine", folder / "key.json"
    match harm:
        case "change":
            engine.write_bytes(b"f" * 100)
        case "cut":
            engine.write_bytes(b"e" * 50)
        case "gone":
            engine.unlink()
        case "more":
            (folder / "more.engine").write_bytes(b"e")
        case "key":
            key.write_text(key.read_text()[:40])
        case "empty key":
            key.write_text("[]")
        case "no key":
            key.unlink()
        case "outside":
            key.write_text(key.read_text().replace("made.engine", "../made.engine"))
    assert cache.find(KEY) is None
    assert all("damaged" in text for text in said)
    put(cache, KEY)
    assert cache.find(KEY) is not None


def test_a_build_that_is_cut_off_leaves_no_engine(cache: EngineCache) -> None:
    with pytest.raises(KeyboardInterrupt), cache.building(KEY) as (folder, _):
        (folder / "made.engine").write_bytes(b"half")
        raise KeyboardInterrupt
    assert cache.entries() == []
    assert not folder.exists()


def test_what_a_killed_process_left_is_swept_when_it_is_old(cache: EngineCache, tmp_path: Path) -> None:
    put(cache, KEY)
    old, new = (tmp_path / "models" / "engines" / f".left.{name}" for name in ("old", "new"))
    for path in (old, new):
        path.mkdir()
    os.utime(old, (1, 1))
    put(cache, KEY)
    assert (old.exists(), new.exists()) == (False, True)
    assert len(cache.entries()) == 1


def test_the_least_recently_used_goes_when_there_are_too_many(tmp_path: Path) -> None:
    said: list[str] = []
    cache = EngineCache(tmp_path, most=2, say=said.append)
    first, second = put(cache, KEY), put(cache, OTHERS[0])
    os.utime(first.folder / "key.json", (100, 100))
    os.utime(second.folder / "key.json", (50, 50))
    put(cache, OTHERS[1])
    assert {entry.key for entry in cache.entries()} == {KEY, OTHERS[1]}
    assert len(said) == 1
    assert "least recently used" in said[0]


def test_the_least_recently_used_goes_when_they_are_too_large_but_never_the_newest(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, most_bytes=1000)
    put(cache, KEY, 600)
    put(cache, OTHERS[0], 600)
    assert [entry.key for entry in cache.entries()] == [OTHERS[0]]
    put(cache, OTHERS[1], 5000)
    assert [entry.key for entry in cache.entries()] == [OTHERS[1]]


def test_a_failure_is_remembered_until_an_engine_is_built(cache: EngineCache) -> None:
    assert cache.failure(KEY) == ""
    cache.remember_failure(KEY, "out of memory")
    assert cache.failure(KEY) == "out of memory"
    assert cache.failure(OTHERS[0]) == ""
    put(cache, KEY)
    assert cache.failure(KEY) == ""


def test_failures_have_a_bound(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, most=2)
    for number in range(20):
        cache.remember_failure(replace(KEY, driver=str(number)), "no")
    put(cache, KEY)
    assert len(list(tmp_path.glob("*.failed.json"))) <= 8


def test_a_removed_engine_is_gone(cache: EngineCache) -> None:
    entry = put(cache, KEY)
    assert cache.remove(entry)
    assert cache.entries() == []
    assert not entry.folder.exists()


def test_where_nothing_can_be_removed_a_damaged_engine_is_none_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    cache = EngineCache(tmp_path, say=said.append)
    entry = put(cache, KEY)
    (entry.folder / "made.engine").unlink()

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", forbidden)
    assert cache.find(KEY) is None
    assert not cache.remove(entry)
    assert "cannot be removed" in said[0]


def test_a_disk_that_fails_while_an_engine_is_kept_is_one_line(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with cache.building(KEY) as (folder, keep):
        (folder / "made.engine").write_bytes(b"e")
        monkeypatch.setattr(Path, "iterdir", fails)
        with pytest.raises(OutputError, match="Input/output error"):
            keep(1.0)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file"):
        put(EngineCache(tmp_path / "file"), KEY)
