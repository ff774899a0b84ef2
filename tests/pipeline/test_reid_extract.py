"""`watchline reid extract`: pictures, lists and videos into a file of features."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.command import watchline, write_tiny_face_model
from tests.pipeline.reid_models import DIMENSION, person, save, write_tiny_embedder
from tests.reid.test_collector import BOX, LABELS, frame, tracks
from watchline.detectors.boxes import F32
from watchline.detectors.detections import Detections
from watchline.detectors.opening import open_engine
from watchline.pipeline.extracting import FeatureRows, Problems, Row, extract_stills
from watchline.pipeline.findings import Findings
from watchline.pipeline.picture_lists import stills_of
from watchline.pipeline.video_crops import VideoCrops, VideoOptions, _BestSink, _Rows
from watchline.reid.collector import CollectorSettings
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.features import UNKNOWN, read_features, unit
from watchline.streams.errors import UsageError
from watchline.streams.frame import U8


class Colours:
    """Describes a picture by its mean colour."""

    model = EmbeddingModel("colours", "ab" * 32, Kind.BODY, 3)

    def __init__(self) -> None:
        self.calls: list[int] = []

    def embed(self, crops: Sequence[U8], /) -> F32:
        self.calls.append(len(crops))
        return unit(np.array([crop.mean(axis=(0, 1)) for crop in crops], np.float32).reshape(-1, 3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_embedder(tmp_path_factory.mktemp("model") / "colours.onnx")


class TestStills:
    """In this process, by a describer that counts."""

    def described(self, folder: Path, workers: int = 1) -> tuple[FeatureRows, Problems, Colours]:
        colours = Colours()
        found, problems = FeatureRows(colours.model), Problems()
        seen: list[int] = []
        stills = stills_of(str(folder), print, problems.add)
        extract_stills(stills, colours, found, problems, threading.Event(), workers=workers, on_progress=seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == len(stills)
        return found, problems, colours

    def test_the_order_is_that_of_the_names_for_any_number_of_workers(self, tmp_path: Path) -> None:
        for number in range(50):
            save(tmp_path / f"p{number}.png", person(("red", "green", "sand")[number % 3], seed=number))
        one, many = (self.described(tmp_path, workers)[0].features() for workers in (1, 3))
        assert one.names.tolist() == [f"p{number}.png" for number in range(50)]
        assert np.array_equal(one.vectors, many.vectors)
        assert one.names.tolist() == many.names.tolist()
        assert ((one.quality > 0) & (one.quality <= 1)).all()

    def test_pictures_that_cannot_be_read_leave_the_others_and_are_named(self, tmp_path: Path) -> None:
        for number in range(30):
            (tmp_path / f"bad{number}.png").write_bytes(b"no picture")
        save(tmp_path / "good.png", person("red"))
        found, problems, _ = self.described(tmp_path)
        assert found.features().names.tolist() == ["good.png"]
        told = problems.told()
        assert len(told) == 21
        assert told[0] == f"{tmp_path}/bad0.png: is no JPEG, PNG, WebP or BMP picture"
        assert told[-1] == "and 10 more"

    def test_pictures_too_small_to_tell_anybody_are_counted(self, tmp_path: Path) -> None:
        for height in (20, 46, 48, 96):
            save(tmp_path / f"{height}.png", person("red", height=height))
        stills = stills_of(str(tmp_path), print, print)
        found, problems = FeatureRows(Colours.model), Problems()
        assert extract_stills(stills, Colours(), found, problems, threading.Event()) == 2
        assert (len(found), problems.count) == (4, 0)

    def test_boxes_of_a_list_are_cut_out_of_their_picture(self, tmp_path: Path) -> None:
        frame = np.concatenate([person("red", "red"), person("green", "green")], axis=1)
        save(tmp_path / "frame.png", frame)
        rows = [{"path": "frame.png", "x1": x, "y1": 0, "x2": x + 48, "y2": 96, "person_id": x} for x in (0, 48, 500)]
        (tmp_path / "list.json").write_text(json.dumps(rows))
        found, problems, _ = self.described(tmp_path / "list.json")
        features = found.features()
        assert features.vectors.argmax(axis=1).tolist() == [0, 1]
        assert features.person_id.tolist() == [0, 48]
        assert features.box.tolist() == [[0, 0, 48, 96], [48, 0, 96, 96]]
        (line,) = problems.told()
        assert "the box 500, 0, 548, 96 holds less than 4x4 pixels of its 96x96" in line

    def test_large_pictures_do_not_pile_up(self, tmp_path: Path) -> None:
        first = save(tmp_path / "0.bmp", np.full((4000, 3000, 3), 90, np.uint8))
        for number in range(1, 4):
            (tmp_path / f"{number}.bmp").symlink_to(first)
        assert max(self.described(tmp_path)[2].calls) <= 2

    def test_a_file_of_features_has_a_bound(self) -> None:
        found = FeatureRows(Colours.model, most=2)
        found.add([Row("a", "a")] * 2, np.ones((2, 3), np.float32))
        with pytest.raises(UsageError, match="more than 2 pictures for one file"):
            found.add([Row("b", "b")], np.ones((1, 3), np.float32))


def test_a_folder_a_picture_and_queries_become_one_file(model: Path, tmp_path: Path) -> None:
    save(tmp_path / "gallery" / "0001_c1s1_000001_00.jpg", person("red"))
    save(tmp_path / "gallery" / "0002_c2s1_000001_00.jpg", person("green"))
    me = save(tmp_path / "my photo.png", person("sand"))
    save(tmp_path / "asked" / "0001_c3s1_000009_00.jpg", person("red", seed=1))
    out = tmp_path / "all.npz"
    done = watchline(
        *("reid", "extract", tmp_path / "gallery", me, "--query", tmp_path / "asked", "--out", out, "--model", model)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{out}: 4 pictures, 24 numbers each by colours.onnx, in ")
    features = read_features(out)
    assert features.names.tolist() == [
        *("0001_c1s1_000001_00.jpg", "0002_c2s1_000001_00.jpg", "my photo.png", "0001_c3s1_000009_00.jpg")
    ]
    assert features.person_id.tolist() == [1, 2, UNKNOWN, 1]
    assert features.camera.tolist() == ["c1", "c2", "", "c3"]
    assert features.query.tolist() == [False, False, False, True]
    assert features.file[2] == str(me)
    assert features.model.sha256
    assert (features.model.kind, features.model.dimension) == (Kind.BODY, DIMENSION)
    assert np.abs(np.linalg.norm(features.vectors, axis=1) - 1).max() < 1e-5
    assert (features.track_id == -1).all()


class TestVideo:
    def test_the_best_pictures_of_each_track_are_described(
        self, model: Path, tiny: Path, clip: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "yard.npz"
        arguments = ("--model", model, "--detector", tiny, "--json")
        done = watchline("reid", "extract", clip, "--out", out, *arguments, "--best", "2")
        assert (done.returncode, done.stderr) == (0, "")
        summary = json.loads(done.stdout)
        assert (summary["status"], summary["pictures"], summary["tracks"]) == ("complete", 2, 1)
        features = read_features(out)
        assert set(features.track_id.tolist()) == {1}
        assert set(features.file.tolist()) == {str(clip)}
        assert set(features.camera.tolist()) == {"yard"}
        assert (np.diff(features.time_s) > 0).all()
        assert features.time_s.max() < 1.6
        assert not np.isnan(features.box).any()

    def test_all_pictures_are_described_where_that_is_asked_for(
        self, model: Path, tiny: Path, clip: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "yard.npz"
        arguments = ("--model", model, "--detector", tiny, "--all", "--fps", "5")
        done = watchline("reid", "extract", clip, "--out", out, *arguments)
        assert done.returncode == 0, done.stderr
        features = read_features(out)
        assert len(features) == 8
        assert np.diff(features.time_s) == pytest.approx([0.2] * 7, abs=0.05)
        assert features.names[0] == "yard.mp4 00:00.00 #1"

    def test_what_is_left_out_for_want_of_room_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = partial(CollectorSettings, most_bytes=0, most_tracks=1)
        monkeypatch.setattr("watchline.pipeline.video_crops.CollectorSettings", settings)
        colours = Colours()
        rows = _Rows("yard.mp4", colours, FeatureRows(colours.model), query=False)
        sink = _BestSink("yard", LABELS, 5, rows)
        sink.write(frame(0.0), Findings(Detections.empty()), tracks((1, BOX), (2, BOX)))
        sink.close()
        assert sink.note() == (
            "no picture of 1 of 1 tracks is good enough: 1 no room; left out for want of memory: 1 pictures; "
            "left out, or ended early, for there were too many at once: tracks, 1 times"
        )

    def test_a_detector_that_finds_no_people_is_refused(self, tmp_path: Path) -> None:
        engine = open_engine(write_tiny_face_model(tmp_path / "faces.onnx", (0.5, 0.5, 0.2, 0.2)), "cpu")
        with pytest.raises(UsageError, match=r"--detector f\.onnx: finds face, and no person; name one that does"):
            VideoCrops(engine, VideoOptions(), "f.onnx")


def test_real_people_of_a_street_are_described(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "street.npz"
    models = data_dir / "models"
    arguments = ("--model", models / "osnet_x0_25_msmt17.onnx", "--detector", models / "yolov8n.pt", "--fps", "3")
    done = watchline("reid", "extract", data_dir / "clips" / "pedestrians.mp4", "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    features = read_features(out)
    tracks = features.track_id.tolist()
    assert len(set(tracks)) >= 8
    # Pictures of one track are more alike than those of two.
    cosine = features.vectors @ features.vectors.T
    same = np.equal.outer(tracks, tracks)
    assert np.median(cosine[same & ~np.eye(len(tracks), dtype=bool)]) > np.median(cosine[~same]) + 0.2
    assert not math.isnan(float(features.quality.min()))
