"""`watchline run --reid` and `--store`, as a user meets them: files, refusals and the lines that are printed."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import json_lines, summary_of, watchline
from tests.pipeline.test_recognition import MemoryStore
from watchline.detectors.card import ModelCard
from watchline.pipeline.graph import Progress
from watchline.pipeline.model import Model
from watchline.pipeline.recognition import Recognition
from watchline.pipeline.run import Runner, RunOptions
from watchline.pipeline.store.asking import selected
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store
from watchline.pipeline.summary import Summary
from watchline.reid.features import read_features
from watchline.streams.opening import open_source


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that describes a picture of 32x16 by the means of its rows."""
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("ReduceMean", ["images"], ["vector"], axes=[1, 3], keepdims=0)
    graph = helper.make_graph(
        [node],
        "rows",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 16])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", 32])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, ModelCard("osnet", "embed", (), (1,), scale=255.0).to_metadata())
    path = tmp_path_factory.mktemp("embedder") / "rows.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def stored(tiny: Path, clip: Path, embedder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results and a store of one run."""
    folder = tmp_path_factory.mktemp("stored")
    done = run(clip, tiny, folder / "out", "--reid-model", embedder, "--store", folder / "site.db")
    assert done.returncode == 0, done.stderr
    assert f"1 tracklet, 1 described, 1 stored in {folder / 'site.db'}" in done.stdout
    return folder


def run(clip: Path, tiny: Path, out: Path, *more: str | Path) -> Any:
    return watchline("run", clip, "--model", tiny, "--out", out, "--no-video", *more)


def stored_tracks(store: Path) -> int:
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        found: int = database.execute("select count(*) from sighting").fetchone()[0]
    return found


def test_features_of_every_tracklet_lie_beside_the_other_results(
    tiny: Path, clip: Path, embedder: Path, tmp_path: Path
) -> None:
    metrics = tmp_path / "watchline.prom"
    done = run(clip, tiny, tmp_path, "--reid", "--reid-model", embedder, "--metrics", metrics)
    assert done.returncode == 0, done.stderr
    assert "1 tracklet, 1 described\n" in done.stdout
    counts = {"tracklets": 1, "tracklets_described": 1, "sightings_stored": 0, "sightings_refused": 0}
    for name, count in counts.items():
        assert f'watchline_run_{name}{{input="{clip}"}} {count}.0\n' in metrics.read_text()
    assert str(tmp_path / "yard" / "features.npz") in done.stdout
    features = read_features(tmp_path / "yard" / "features.npz")
    assert (features.vectors.shape, features.track_id.tolist()) == ((1, 32), [1])
    np.testing.assert_allclose(np.linalg.norm(features.vectors, axis=1), 1, atol=1e-5)
    assert features.file.tolist() == [str(clip)]
    told = summary_of(tmp_path / "yard")["sightings"]
    assert (told["store"], told["tracklets"], told["described"], told["without_picture"]) == (None, 1, 1, {})
    assert told["models"] == [
        {"name": embedder.name, "sha256": features.model.sha256, "kind": "body", "dimension": 32}
    ]  # fmt: skip


def test_a_run_without_reid_says_nothing_of_people(tiny: Path, clip: Path, tmp_path: Path) -> None:
    done = run(clip, tiny, tmp_path, "--max-frames", "2")
    assert done.returncode == 0, done.stderr
    assert "tracklet" not in done.stdout
    assert summary_of(tmp_path / "yard")["sightings"] is None


def test_the_report_says_what_became_of_people_and_what_described_them(stored: Path, embedder: Path) -> None:
    page = (stored / "out" / "yard" / "report.html").read_text()
    assert f"1 tracklet, 1 described, 1 stored in {stored / 'site.db'}" in page
    assert f"{embedder.name} (body, 32 numbers)" in page
    assert hashlib.sha256(embedder.read_bytes()).hexdigest() in page


def test_what_is_stored_says_where_it_comes_from(stored: Path, clip: Path, tiny: Path) -> None:
    store = open_store(stored / "site.db")
    try:
        (track,) = store.find(Selection(source=str(clip)), 10)
        sighting = store.get(track.ids[0])
    finally:
        store.close()
    told = summary_of(stored / "out" / "yard")
    assert (track.camera, track.track_id, track.frames, track.clock) == ("yard", 1, 40, "file")
    assert (sighting.provenance.detector, sighting.provenance.detector_sha256) == (tiny.name, told["model"]["sha256"])
    assert sighting.provenance.tracker == told["machine"]["tracker"]
    assert len(sighting.provenance.config_sha256) == 64
    assert 1 <= len(sighting.crops) <= 5
    assert not (stored / "out" / "yard" / "features.npz").exists()
    assert (told["sightings"]["stored"], told["sightings"]["refused"]) == (1, 0)


def test_an_input_that_is_stored_already_is_refused_and_replaced_only_on_demand(
    stored: Path, clip: Path, tiny: Path, embedder: Path, tmp_path: Path
) -> None:
    store = stored / "site.db"
    done = run(clip, tiny, tmp_path / "out", "--reid-model", embedder, "--store", store)
    assert done.returncode == 2
    assert f"{store}: holds 1 sighting of {clip} already, from a run that ended or was broken off" in done.stderr
    assert "--overwrite" in done.stderr
    assert not (tmp_path / "out").exists()
    done = run(clip, tiny, tmp_path / "out", "--reid-model", embedder, "--store", store, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert stored_tracks(store) == 1


def test_an_input_is_stored_by_one_run_at_a_time_and_one_that_was_killed_is_replaced_on_demand(
    tiny: Path, clip: Path, tmp_path: Path
) -> None:
    store, order = tmp_path / "site.db", ("--no-reid", "--max-frames", "5")
    script = f"""
import sys, time
from watchline.pipeline import run
from watchline.pipeline.cli.app import app
def stop(*_, **__):
    print("stored", flush=True)
    time.sleep(60)
run.render_report = stop  # the sightings are stored, the run is not over
sys.argv = ["watchline", "run", {str(clip)!r}, "--model", {str(tiny)!r}, "--out", {str(tmp_path / "first")!r}]
sys.argv += ["--no-video", "--store", {str(store)!r}, *{order!r}]
app()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "stored\n"
        second = run(clip, tiny, tmp_path / "second", "--store", store, *order, "--overwrite")
        assert second.returncode == 2
        assert f"{store}: another run fills it from {clip} just now; wait for its end" in second.stderr
        first.kill()
    assert stored_tracks(store) == 1
    third = run(clip, tiny, tmp_path / "second", "--store", store, *order, "--overwrite")
    assert third.returncode == 0, third.stderr
    assert stored_tracks(store) == 1
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("site.db.") and "ballast" not in file.name]


def test_an_input_whose_name_is_no_text_is_stored_and_found_again(tiny: Path, clip: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    shutil.copyfile(clip, odd)
    done = run(odd, tiny, tmp_path / "out", "--store", tmp_path / "site.db", "--no-reid", "--max-frames", "5")
    assert done.returncode == 0, done.stderr
    assert stored_tracks(tmp_path / "site.db") > 0
    store = open_store(tmp_path / "site.db")
    assert store.count(selected((), "", "", str(odd), 0.0)) > 0
    store.close()


def test_a_store_alone_keeps_sightings_without_vectors(tiny: Path, clip: Path, tmp_path: Path) -> None:
    done = run(clip, tiny, tmp_path / "out", "--store", tmp_path / "site.db", "--no-reid", "--max-frames", "5")
    assert done.returncode == 0, done.stderr
    assert "1 tracklet, 1 stored in" in done.stdout
    assert summary_of(tmp_path / "out" / "yard")["sightings"]["models"] == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--classes", "car", "--reid-model", "EMBEDDER"], "--classes car: leaves out whom sightings are of"),
        (["--no-reid", "--reid-model", "EMBEDDER"], "exclude each other"),
        (["--reid-model", "gone.onnx"], "no such file: gone.onnx"),
        (["--reid-model", "DETECTOR"], "describes none"),
        (["--no-reid", "--store", "TEXT"], "not a store of watchline"),
        (["--no-reid", "--store", "/proc/x.db"], "/proc/x.db: no file can be made there (no such file or directory)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_written(
    tiny: Path, clip: Path, embedder: Path, tmp_path: Path, more: list[str], said: str
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("this is no database, but it is long enough to be taken for one\n" * 100)
    names = {"EMBEDDER": str(embedder), "DETECTOR": str(tiny), "TEXT": str(text)}
    kept = () if "--store" in more else ("--store", tmp_path / "site.db")
    done = run(clip, tiny, tmp_path / "out", *(names.get(word, word) for word in more), *kept)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_store_that_fails_leaves_the_other_results_and_one_clear_line(tiny: Path, clip: Path, tmp_path: Path) -> None:
    store = MemoryStore(refusals=99)
    summary = _run_here(tiny, clip, tmp_path / "yard", store, threading.Event())
    assert summary.status == "partial"
    assert summary.warnings == ("1 sighting not stored: site.db: no room left on its disk; free some, or keep less",)
    assert summary.sightings is not None
    assert (summary.sightings.stored, summary.sightings.refused) == (0, 1)
    assert len(json_lines(tmp_path / "yard" / "tracks.jsonl")) == 40
    assert summary_of(tmp_path / "yard")["status"] == "partial"


def test_a_cancelled_run_keeps_the_sightings_so_far(tiny: Path, clip: Path, tmp_path: Path) -> None:
    store, stop = MemoryStore(), threading.Event()
    summary = _run_here(tiny, clip, tmp_path / "yard", store, stop, stop_at=5)
    assert summary.status == "cancelled"
    assert [each.frames for each in store.sightings] == [summary.frames.processed]


def _run_here(
    tiny: Path, clip: Path, folder: Path, store: MemoryStore, stop: threading.Event, stop_at: int = 0
) -> Summary:
    def progress(progress: Progress) -> None:
        if progress.processed == stop_at:
            stop.set()

    recognition = Recognition(None, None, store.seam(), "site.db")
    options = RunOptions(video=False, threads=1, store="site.db")
    runner = Runner([Model("tiny", "0" * 64, tiny)], options, recognition=recognition)
    with closing(open_source(str(clip))) as source:
        return runner.run(source, str(clip), folder, stop, progress)


@pytest.mark.data
def test_whoever_is_lost_behind_something_and_found_again_is_their_own_nearest_neighbour(
    data_dir: Path, tmp_path: Path
) -> None:
    models, store = data_dir / "models", tmp_path / "site.db"
    done = run(
        data_dir / "clips" / "pedestrians.mp4", models / "yolov8n.pt", tmp_path / "out", "--cache", tmp_path / "cache",
        "--reid-model", models / "osnet_x0_25_msmt17.onnx", "--store", store,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    people = _people_in(store)
    # Looked up by eye: a woman with a pram, and somebody with a white scarf.
    for before, after in (((1.5, 1567, 647), (3.1, 1512, 766)), ((1.5, 856, 138), (3.3, 753, 166))):
        first, second = _whoever_is_at(people, *before), _whoever_is_at(people, *after)
        assert first.track_id != second.track_id
        for one, other in ((first, second), (second, first)):
            apart = [p for p in people if p.end_pts_s < one.start_pts_s or one.end_pts_s < p.start_pts_s]
            likeness = {p.track_id: float(p.vectors[0].vector @ one.vectors[0].vector) for p in apart}
            nearest = max(likeness, key=lambda track_id: likeness[track_id])
            assert nearest == other.track_id, f"{one.track_id}: {likeness}"
            assert likeness.pop(nearest) > max(likeness.values()) + 0.1


def _people_in(path: Path) -> list[Sighting]:
    store = open_store(path)
    try:
        people = [store.get(track.ids[0]) for track in store.find(Selection(), 1000)]
    finally:
        store.close()
    return [person for person in people if person.vectors]


def _whoever_is_at(people: list[Sighting], pts_s: float, x: float, y: float) -> Sighting:
    """Returns whose box has its middle nearest to a point at a time."""

    def distance(person: Sighting) -> float:
        row = person.path[np.abs(person.start_pts_s + person.path[:, 0] - pts_s).argmin()]
        late_s = abs(person.start_pts_s + float(row[0]) - pts_s)
        middle = (row[1:3] + row[3:5]) / 2
        return float(np.hypot(*(middle - np.array([x, y])))) + (1e4 if late_s > 0.3 else 0)

    return min(people, key=distance)
