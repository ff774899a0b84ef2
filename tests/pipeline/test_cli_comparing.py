"""`watchline models compare`, as a user runs it."""

from __future__ import annotations

import io
import json
import signal
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from tests.clips import Clip, write_clip
from tests.command import watchline, write_constant_model, write_tiny_face_model, write_tiny_model
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, OnnxEngine
from watchline.detectors.fallback import FallbackEngine
from watchline.pipeline import compare_side
from watchline.pipeline.compare import Candidate, CompareOptions, Side
from watchline.pipeline.compare_sample import RUN_FRAMES, Sample, chosen, inputs_of, spread, spread_apart
from watchline.pipeline.track_agreement import TrackAgreement, agreement_of_tracks
from watchline.streams.errors import ModelError, StreamError
from watchline.streams.opening import open_source
from watchline.trackers.tracks import Tracks

LEFT, RIGHT = (0.25, 0.5, 0.25, 0.5), (0.75, 0.5, 0.25, 0.5)


def _compared(a: Path, b: Path, clip: Path, tmp_path: Path, *options: str) -> dict[str, Any]:
    done = watchline("models", "compare", a, b, "--input", clip, "--cache", tmp_path / "cache", "--json", *options)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def test_a_model_compared_with_itself_agrees_in_everything(tiny: Path, clip: Path, tmp_path: Path) -> None:
    found = _compared(tiny, tiny, clip, tmp_path, "--frames", "10")
    assert found["frames"] == 10
    assert {found["boxes"][name] for name in ("recall", "precision", "recall_tight", "precision_tight")} == {1.0}
    assert (found["boxes"]["matched"], found["boxes"]["score_shift"]) == (10, 0.0)
    assert found["tracks"] == {"tracks_a": 1, "tracks_b": 1, "matched": 1, "recall": 1.0}
    assert found["suggested"]["score"] == 0.25


def test_each_side_says_its_time_memory_and_file(tiny: Path, clip: Path, tmp_path: Path) -> None:
    found = _compared(tiny, tiny, clip, tmp_path, "--frames", "4")
    for side in (found["a"], found["b"]):
        assert side["file_bytes"] == tiny.stat().st_size
        assert side["wall_ms"] > 0
        assert side["cpu_ms"] > 0
        assert 10e6 < side["peak_bytes"] < 400e6
        assert (side["device"], side["provider"]) == ("cpu", "CPUExecutionProvider")


def test_what_ran_each_side_is_named_with_its_precision(tiny: Path, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    command = ("models", "compare", tiny, tiny, "--input", clip, "--frames", "2", "--cache", tmp_path)
    done = watchline(*command, "--device", "openvino-f32")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(", OpenVINO CPU f32") == 2


def test_a_device_that_gave_way_is_named_with_the_one_that_took_over(tiny: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError")
    command = ("models", "compare", tiny, tiny, "--input", clip, "--frames", "2", "--cache", tmp_path)
    done = watchline(*command, "--device", "openvino,cpu", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tiny.onnx: openvino gave way to cpu: OpenVINO is not installed") == 2


def test_a_side_says_after_each_frame_what_runs_now(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(OnnxEngine):
        calls = 0

        def run(self, batch: F32) -> tuple[F32, ...]:
            self.calls += 1
            if self.calls > 2:  # the first frame is looked at twice
                raise ModelError("out of memory")
            return super().run(batch)

    def opened(*_: object) -> Engine:
        return FallbackEngine([("first", lambda: Failing(tiny, "cpu")), ("second", lambda: OnnxEngine(tiny, "cpu"))])

    asked = json.dumps(compare_side.Asked(sequence=0, pts_s=0.0, height=2, width=2)).encode() + b"\n" + bytes(12)
    sink = io.BytesIO()
    monkeypatch.setattr(compare_side, "open_engine", opened)
    monkeypatch.setattr(compare_side, "return_memory_early", lambda: None)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(2 * asked)))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=sink))
    job = compare_side.Job(network=str(tiny), family="", device="cpu", least_score=0.05, size=32, classes=[])
    assert compare_side.main(json.dumps(job)) == 0
    sink.seek(0)
    sink.readline()
    answers = []
    while line := sink.readline():
        answers.append(json.loads(line))
        compare_side.read_found(answers[-1], sink)
    assert [answer["ran"]["fallbacks"] for answer in answers] == [[], [["first", "second", "out of memory"]]]


def test_a_family_is_for_the_side_that_does_not_say_it(clip: Path, tmp_path: Path) -> None:
    said, silent = write_tiny_face_model(tmp_path / "said.onnx", LEFT), tmp_path / "silent.onnx"
    card = ModelCard("yolov8", "face", ("face",), (8, 16, 32), keypoints=(5, 3))
    rows = [(8, 16, 8, 16, 0.8, *15 * [0.5]), *20 * [20 * (0.0,)]]  # as many boxes as an input of 32x32 has cells
    network = onnx.load(write_constant_model(silent, card, rows))
    del network.metadata_props[:]
    onnx.save(network, silent)
    found = _compared(said, silent, clip, tmp_path, "--frames", "2", "--family", "yolov8-face")
    assert found["boxes"]["matched"] == 2
    command = ("models", "compare", said, silent, "--input", clip, "--cache", tmp_path)
    without, unknown = watchline(*command), watchline(*command, "--family", "yolov99")
    assert (without.returncode, "--family" in without.stderr) == (1, True)
    assert (unknown.returncode, "--family yolov99: want one of" in unknown.stderr) == (2, True)


def test_a_folder_of_clips_is_compared_on_all_its_clips(tiny: Path, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(clip.read_bytes())
    assert _compared(tiny, tiny, folder, tmp_path, "--frames", "8")["runs"] == 2


def test_a_folder_of_images_and_clips_is_refused_and_labels_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.txt", "labels.json"):
        (tmp_path / name).touch()
    assert inputs_of(str(tmp_path)) == [str(tmp_path)]
    (tmp_path / "yard.mp4").touch()
    with pytest.raises(StreamError, match=r"holds images \(a.jpg\) and clips \(yard.mp4\)"):
        inputs_of(str(tmp_path))
    (tmp_path / "a.jpg").unlink()
    assert inputs_of(str(tmp_path)) == [str(tmp_path / "yard.mp4")]
    (tmp_path / "yard.mp4").unlink()
    with pytest.raises(StreamError, match="holds no clips and no images"):
        inputs_of(str(tmp_path))


def test_a_model_that_looks_elsewhere_finds_nothing_of_the_other(clip: Path, tmp_path: Path) -> None:
    left, right = write_tiny_model(tmp_path / "left.onnx", LEFT), write_tiny_model(tmp_path / "right.onnx", RIGHT)
    found = _compared(left, right, clip, tmp_path, "--frames", "4")
    assert (found["boxes"]["recall"], found["boxes"]["precision"], found["tracks"]["recall"]) == (0.0, 0.0, 0.0)


def test_classes_are_compared_by_name_not_by_number(tiny: Path, clip: Path, tmp_path: Path) -> None:
    card = ModelCard("yolov8", "detect", ("car", "person"), (8, 16, 32))
    other = write_constant_model(tmp_path / "other.onnx", card, [(16, 16, 8, 16, 0.05, 0.9)])
    assert _compared(tiny, other, clip, tmp_path, "--frames", "2")["boxes"]["recall"] == 1.0


def test_the_answer_as_text_names_recall_memory_and_the_suggested_score(tiny: Path, clip: Path, tmp_path: Path) -> None:
    done = watchline("models", "compare", tiny, tiny, "--input", clip, "--frames", "4", "--cache", tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (
        "4 frames in 1 run",
        "recall",
        "precision",
        "memory",
        "CPU a frame",
        "tracks (1 of 1)",
        "suggested for tiny.onnx: --conf",
    ):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--classes", "persn"], "did you mean 'person'?", 2),
        (["--imgsz", "100"], "--imgsz 100: want a multiple of 32", 2),
        (["--input", "nowhere.mp4"], "nowhere.mp4: no such file or folder", 1),
    ],
)
def test_what_cannot_be_compared_is_said_on_one_line(
    tiny: Path, clip: Path, tmp_path: Path, options: list[str], words: str, code: int
) -> None:
    done = watchline("models", "compare", tiny, tiny, "--input", clip, "--cache", tmp_path, *options)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_models_without_a_class_in_common_are_refused(tiny: Path, clip: Path, tmp_path: Path) -> None:
    card = ModelCard("yolov8", "detect", ("plate",), (8, 16, 32))
    plates = write_constant_model(tmp_path / "plates.onnx", card, [(16, 16, 8, 16, 0.9)])
    done = watchline("models", "compare", tiny, plates, "--input", clip, "--cache", tmp_path)
    assert done.returncode == 2
    assert "tiny.onnx finds person, car, plates.onnx finds plate: they have no class in common" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_side_whose_process_dies_is_an_error_and_leaves_none_behind(tiny: Path, clip: Path) -> None:
    source = open_source(str(clip))
    frame = source.read()
    source.close()
    assert frame is not None
    side = Side(Candidate("tiny", tiny, "cpu"), CompareOptions())
    side.found.detections.append([])
    side.detect(frame)
    side._process.kill()
    side._process.wait()
    with pytest.raises(ModelError, match=r"tiny: (its process ended while|the process that runs it ended without)"):
        side.detect(frame)
    side.close()
    assert side._process.returncode == -signal.SIGKILL


def _numbers(samples: list[Sample]) -> list[list[int]]:
    """The frames that each sample really gives."""
    return [[frame.sequence for _, frame in sample.frames()] for sample in samples]


def test_a_few_frames_come_from_the_middle_of_every_clip_in_a_row(clip: Path) -> None:
    samples = spread([str(clip), str(clip)], 16)
    assert _numbers(samples) == [list(range(16, 24))] * 2


def test_many_frames_come_in_runs_that_lie_evenly_over_the_clip(clip: Path) -> None:
    (sample,) = spread([str(clip)], 2 * RUN_FRAMES)
    assert sample.runs == (range(2, 18), range(22, 38))
    assert [number for number, _ in sample.frames()] == [0] * 16 + [1] * 16


def test_a_clip_with_fewer_frames_than_wanted_is_one_run(clip: Path) -> None:
    assert spread([str(clip)], 500) == [Sample(str(clip), (range(40),))]


def test_a_clip_that_does_not_say_how_many_frames_it_has_is_sampled_over_its_whole_length(tmp_path: Path) -> None:
    clip = str(write_clip(tmp_path / "short.mkv", Clip(frames=20)))
    with closing(open_source(clip)) as source:
        assert source.info.frames is None
    assert spread([clip], 500) == [Sample(clip, (range(20),))]
    assert spread([clip], 1) == [Sample(clip, (range(9, 10),))]  # from how long it is


def test_the_frames_of_a_clip_that_says_nothing_of_its_length_are_counted(tmp_path: Path) -> None:
    clip = str(write_clip(tmp_path / "bare.h264", Clip(frames=20)))
    with closing(open_source(clip)) as source:
        assert (source.info.frames, source.info.duration_s) == (None, None)
    assert spread([clip], 500) == [Sample(clip, (range(20),))]
    assert spread([clip], 1) == [Sample(clip, (range(4, 5),))]  # it looks no further than ten for one


def test_frames_that_calibrate_are_never_those_that_compare(clip: Path) -> None:
    calibrating, held_out = spread_apart([str(clip)], 20)
    assert _numbers(held_out) == [list(range(30, 40))]
    assert _numbers(calibrating) == [list(range(1, 30, 3))]
    pool, same = spread_apart([str(clip)], 20, pool=4)
    assert _numbers(pool) == [list(range(30))]
    assert same == held_out
    assert _numbers(chosen(pool, [(0, 0), (0, 7), (0, 29)])) == [[0, 7, 29]]


def test_frames_are_chosen_by_the_place_of_their_clip_and_their_number() -> None:
    assert chosen([Sample("a", (range(3),)), Sample("b", (range(4, 6),))], [(0, 2), (1, 4)]) == [
        Sample("a", (range(2, 3),)),
        Sample("b", (range(4, 5),)),
    ]


def _tracks(*boxes: tuple[int, float]) -> Tracks:
    n = len(boxes)
    xyxy = np.array([(x, 0, x + 10, 10) for _, x in boxes], np.float32).reshape(n, 4)
    return Tracks(
        np.array([i for i, _ in boxes], np.int64),
        xyxy,
        np.ones(n, np.float32),
        np.zeros(n, np.int32),
        np.ones(n, np.uint8),
        np.zeros(n, np.float32),
        np.zeros(n, np.int32),
    )


def test_a_track_counts_as_had_if_one_other_follows_it_for_half_its_life() -> None:
    a = [_tracks((1, 0), (2, 50)) for _ in range(4)]
    b = [_tracks((7, 0)), _tracks((7, 0), (9, 50)), _tracks((8, 0)), _tracks((8, 0))]
    assert agreement_of_tracks(a, b) == TrackAgreement(tracks_a=2, tracks_b=3, matched=1)


def test_one_track_never_stands_for_two() -> None:
    a = [_tracks((1, 0)), _tracks((2, 0))]
    b = [_tracks((5, 0)), _tracks((5, 0))]
    assert agreement_of_tracks(a, b).matched == 1
