"""What the benchmarks of the road count with: processes, shares, and what was found."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.bench import calm, contention, models_sheet
from tests.bench.contention import Pair, Spinner, fair_share
from tests.bench.found import Found, agreed, of_ultralytics, of_watchline, recall, reference_of
from tests.bench.process import Cost, measure
from tests.bench.road import Round
from tests.command import watchline
from watchline.pipeline.bench import sheet

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux tells")
LEFT, RIGHT = [0.0, 0.0, 10.0, 20.0], [50.0, 0.0, 60.0, 20.0]


@LINUX
def test_the_memory_of_a_command_is_its_own() -> None:
    held = np.ones(300_000_000, np.uint8)
    script = "import time; held = bytearray(50_000_000); time.sleep(0.3)"
    assert 50_000_000 < measure([sys.executable, "-S", "-c", script]).peak_memory_bytes < 150_000_000 < len(held)


def test_a_command_may_say_much_on_both_ways() -> None:
    script = "import sys; sys.stderr.write('x' * 1_000_000); print('done')"
    assert measure([sys.executable, "-c", script], {}).stdout == "done\n"


def test_a_command_that_fails_tells_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="ended with 1: no luck"):
        measure([sys.executable, "-c", "import sys; sys.exit('no luck')"], {})


def test_work_of_the_command_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two seconds all processors worked for 3.5, this process and its ended children for 2.5 of them."""
    spent = iter([(100.0, 50.0, 7.0), (102.0, 53.5, 9.5)])  # the clock, all processors, this process
    monkeypatch.setattr(sheet, "_spent", lambda: next(spent))
    assert measure([sys.executable, "-S", "-c", ""]).others == 0.5


def test_the_work_of_ended_children_is_this_process_s_own() -> None:
    before = sheet._spent()[2]
    cost = measure([sys.executable, "-c", "import time\nwhile time.process_time() < 0.4: pass"])
    assert cost.cpu_s >= 0.4
    assert sheet._spent()[2] - before >= 0.4


@LINUX
def test_a_busy_process_works_on_its_core_and_is_ended() -> None:
    core = min(psutil.Process().cpu_affinity())
    with Spinner(core) as spinner:
        child = psutil.Process(spinner._process.pid)
        assert child.cpu_affinity() == [core]
        time.sleep(0.5)
        assert spinner.cores() > 0.05
    assert not psutil.pid_exists(child.pid)


def test_half_a_core_of_two_leaves_three_quarters() -> None:
    assert [fair_share(cores) for cores in (1, 2, 4)] == [0.5, 0.75, 0.875]


def pair_of(fps: float, taken: float) -> Pair:
    """A side that had 40 frames a second alone; 0.2 cores went to yet others while it was not."""
    quiet, busy = (
        Round(Cost(1, 1, 1, "", others), 10, rate, 1.0, Found([], []), "an engine")
        for rate, others in ((40, 0.1), (fps, taken + 0.2))
    )
    return Pair(quiet, busy, taken)


@pytest.mark.parametrize(
    ("fps", "taken", "words"),
    [(31, 0.5, "at most its share"), (24, 0.8, "at most its share"), (24, 0.5, "more than its share")],
)
def test_a_loss_is_held_against_what_is_fair_and_what_the_system_left(
    fps: float, taken: float, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    contention._check({"ours": [pair_of(fps, taken)]}, 2)
    assert f"ours lost {words}: it kept {fps / 40:.2f}; fair 0.75" in capsys.readouterr().out
    row = contention._row("ours", [pair_of(fps, taken)], 2)
    assert len(row) == len(contention._HEAD)
    assert row[3:6] == (f"{fps / 40:.2f}", f"{fps / 40 / 0.75:.2f}", f"{fps / 40 / ((2 - taken) / 2):.2f}")


def test_the_busy_process_is_none_of_the_others() -> None:
    pair = pair_of(30, 0.5)
    assert (pair.kept, pair.left(2), round(pair.others, 3)) == (0.75, 0.75, 0.2)


def test_what_was_left_out_is_said() -> None:
    assert calm.left_out(3, 3) == ""
    assert calm.left_out(2, 5).startswith("3 of 5 rounds were disturbed by other programs; they are left out")
    assert "they count all the same" in calm.left_out(0, 2)


def test_what_watchline_wrote_is_read_frame_by_frame(tiny: Path, clip: Path, tmp_path: Path) -> None:
    done = watchline(
        "run", clip, "--model", tiny, "--out", tmp_path, "--no-video", "--save-detections", "--max-frames", "3"
    )
    assert done.returncode == 0, done.stderr
    found = of_watchline(tmp_path / "yard", {"person": 0})
    assert [len(boxes) for boxes in found.boxes] == [1, 1, 1]
    assert [tracks.track_id.tolist() for tracks in found.tracks] == [[1], [1], [1]]


def test_both_sides_and_the_reference_come_in_one_form(tmp_path: Path) -> None:
    theirs, reference = tmp_path / "theirs.jsonl", tmp_path / "reference.json"
    lines = [{"boxes": [[*LEFT, 0.9, 0]], "tracks": [[*LEFT, 7, 0.9, 0]]}, {"boxes": [], "tracks": []}]
    theirs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    reference.write_text(json.dumps({"frames": {"1": [[2, 0.8, *RIGHT], [0, 0.7, *LEFT]]}}))
    found = of_ultralytics(theirs)
    assert found.boxes[0].xyxy.tolist() == [LEFT]
    assert found.tracks[0].track_id.tolist() == [7]
    assert [len(frame) for frame in reference_of(reference)] == [0, 2]
    (empty, persons) = reference_of(reference, (0,))
    assert (len(empty), persons.xyxy.tolist(), persons.class_id.tolist()) == (0, [LEFT], [0])


def test_recall_asks_for_place_and_class(tmp_path: Path) -> None:
    file = tmp_path / "found.jsonl"

    def boxes(*rows: list[float]) -> Found:
        file.write_text(json.dumps({"boxes": rows, "tracks": []}) + "\n")
        return of_ultralytics(file)

    want = boxes([*LEFT, 0.9, 0], [*RIGHT, 0.9, 0]).boxes
    assert recall(want, boxes([*LEFT, 0.3, 0], [*RIGHT, 0.3, 1]).boxes, 0.5) == 0.5
    assert recall(want, boxes([0, 0, 10, 15, 0.9, 0]).boxes, 0.9) == 0.0
    assert recall(want, boxes([0, 0, 10, 15, 0.9, 0]).boxes, 0.5) == 0.5


def test_tracks_agree_whatever_their_numbers_and_a_run_that_ended_early_lacks_some(tmp_path: Path) -> None:
    def tracks(*frames: list[list[float]]) -> Found:
        file = tmp_path / "found.jsonl"
        file.write_text("".join(json.dumps({"boxes": [], "tracks": rows}) + "\n" for rows in frames))
        return of_ultralytics(file)

    whole = tracks([[*LEFT, 1, 0.9, 0]], [[*LEFT, 1, 0.9, 0]], [[*RIGHT, 2, 0.9, 0]]).tracks
    early = tracks([[*LEFT, 8, 0.9, 0]], [[*LEFT, 8, 0.9, 0]]).tracks
    agreement = agreed(whole, early)
    assert (agreement.tracks_a, agreement.tracks_b, agreement.matched) == (2, 1, 1)


def test_a_runtime_that_is_not_here_is_not_measured_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    troubles: dict[str, list[str]] = {}
    assert models_sheet._at_hand(("cpu", "openvino"), troubles) == ["cpu"]
    assert list(troubles.values()) == [["openvino"]]


def test_an_int8_model_is_measured_on_the_runtime_that_it_was_made_for() -> None:
    devices = ["cpu", "openvino", "openvino-f32"]
    fitting = {file: models_sheet._fitting(file, devices) for file in models_sheet._MODELS}
    assert fitting["yolov8n.pt"] == devices
    assert fitting["yolov8n-int8.onnx"] == ["cpu"]
    assert fitting["yolov8n-int8-openvino.onnx"] == ["openvino", "openvino-f32"]


def test_an_int8_model_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    troubles: dict[str, list[str]] = {}
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    made = models_sheet._make_int8(tmp_path / "broken.pt", [], tmp_path / "yolov8n-int8.onnx", troubles)
    assert made == ""
    assert list(troubles.values()) == [["yolov8n-int8.onnx"]]
