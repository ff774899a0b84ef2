"""`watchline run`, as a user meets it: a process of its own, real files, real output."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import Clip, write_clip
from tests.command import COMMAND, json_lines, summary_of, watchline

TABLES = ["detections.jsonl", "tracks.jsonl", "tracks.mot.txt"]


@pytest.fixture(scope="module")
def out(tiny: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    done = watchline("run", clip, "--model", tiny, "--out", out, "--save-detections")
    assert done.returncode == 0, done.stderr
    assert "40 frames" in done.stdout
    assert str(out / "yard" / "report.html") in done.stdout
    return out / "yard"


class TestResults:
    def test_every_promised_file_is_there(self, out: Path) -> None:
        names = sorted(path.name for path in out.iterdir())
        assert names == sorted([*TABLES, "annotated.mp4", "report.html", "summary.json"])

    def test_every_frame_has_its_line_and_the_one_person_one_id(self, out: Path) -> None:
        lines = json_lines(out / "tracks.jsonl")
        assert [line["frame"] for line in lines] == list(range(40))
        assert [line["pts_s"] for line in lines] == pytest.approx([i / 25 for i in range(40)])
        assert {track["track_id"] for line in lines for track in line["tracks"]} == {1}
        assert {track["class"] for line in lines for track in line["tracks"]} == {"person"}
        assert all(len(line["detections"]) == 1 for line in json_lines(out / "detections.jsonl"))
        assert np.loadtxt(out / "tracks.mot.txt", delimiter=",").shape == (40, 10)

    def test_the_summary_says_what_was_done(self, out: Path, clip: Path, tiny: Path) -> None:
        import hashlib

        summary = summary_of(out)
        assert summary["status"] == "complete"
        assert summary["warnings"] == []
        assert summary["frames"] == {
            "announced": 40, "decoded": 40, "processed": 40, "dropped": {}, "damaged": 0, "missing": 0
        }  # fmt: skip
        assert summary["tracks"] == 1
        assert summary["tracks_by_class"] == {"person": 1}
        assert summary["input"]["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
        assert summary["model"]["sha256"] == hashlib.sha256(tiny.read_bytes()).hexdigest()
        assert summary["machine"]["provider"] == "CPUExecutionProvider"
        assert {stage["name"] for stage in summary["stages"]} >= {"decode", "detect", "track", "write", "video"}
        assert sum(stage["cpu_s"] for stage in summary["stages"]) == pytest.approx(summary["cpu_s"], rel=0.02)
        assert summary["fps"] > 0
        assert summary["peak_memory_bytes"] > 50_000_000

    def test_the_annotated_video_plays_every_frame_at_its_time(self, out: Path) -> None:
        with av.open(str(out / "annotated.mp4")) as video:
            stream = video.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            times = [frame.time for frame in video.decode(stream)]
        assert times == pytest.approx([i / 25 for i in range(40)], abs=0.001)

    def test_the_report_stands_alone(self, out: Path) -> None:
        page = (out / "report.html").read_text()
        assert "yard" in page
        assert "data:image/jpeg;base64," in page
        for outside in ('src="http', "src='http", 'href="http', "@import", "url(http"):
            assert outside not in page


def test_results_are_the_same_bytes_for_any_batch_and_threads(tiny: Path, clip: Path, tmp_path: Path) -> None:
    seen = set()
    for batch, threads in ((1, 1), (5, 2), (64, 3)):
        out = tmp_path / f"{batch}-{threads}"
        done = watchline(
            "run", clip, "--model", tiny, "--out", out, "--batch", str(batch), "--threads", str(threads),
            "--no-video", "--save-detections",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seen.add(tuple((out / "yard" / name).read_bytes() for name in TABLES))
    assert len(seen) == 1


def test_json_is_one_line_an_input_and_nothing_else(tiny: Path, clip: Path, tmp_path: Path) -> None:
    missing = tmp_path / "gone.mp4"
    done = watchline("run", clip, missing, "--model", tiny, "--out", tmp_path / "out", "--no-video", "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["status"] == "complete"
    assert Path(first["folder"]) == tmp_path / "out" / "yard"
    assert second["status"] == "failed"
    assert "gone.mp4" in second["error"]
    assert done.returncode == 3


def test_several_inputs_get_a_folder_each_even_with_one_name(tiny: Path, clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "yard.mp4"
    other.parent.mkdir()
    shutil.copy(clip, other)
    done = watchline("run", clip, other, "--model", tiny, "--out", tmp_path / "out", "--no-video", "--max-frames", "3")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["yard", "yard-2"]


def test_a_folder_of_images_is_an_input(tiny: Path, tmp_path: Path) -> None:
    import cv2

    stills = tmp_path / "stills"
    stills.mkdir()
    for i in range(3):
        cv2.imwrite(str(stills / f"{i}.png"), np.full((40, 60, 3), 40 * i, np.uint8))
    done = watchline("run", stills, "--model", tiny, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(json_lines(tmp_path / "out" / "stills" / "tracks.jsonl")) == 3


@pytest.mark.parametrize(
    ("options", "frames", "dropped"),
    [
        (["--every", "4"], list(range(0, 40, 4)), 30),
        (["--fps", "5"], list(range(0, 40, 5)), 32),
        (["--max-frames", "7"], list(range(7)), 0),
    ],
)
def test_sampled_frames_keep_their_own_numbers(
    tiny: Path, clip: Path, tmp_path: Path, options: list[str], frames: list[int], dropped: int
) -> None:
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path, "--no-video", *options)
    assert done.returncode == 0, done.stderr
    assert [line["frame"] for line in json_lines(tmp_path / "yard" / "tracks.jsonl")] == frames
    counts = summary_of(tmp_path / "yard")["frames"]
    assert counts["dropped"].get("sampling", 0) == dropped
    assert counts["missing"] == 0


def test_a_class_filter_reports_no_other_class(tiny: Path, clip: Path, tmp_path: Path) -> None:
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path, "--no-video", "--classes", "car")
    assert done.returncode == 0, done.stderr
    assert summary_of(tmp_path / "yard")["tracks"] == 0
    assert len(json_lines(tmp_path / "yard" / "tracks.jsonl")) == 40


class TestOverwriting:
    def test_results_are_never_replaced_unless_asked(self, tiny: Path, clip: Path, tmp_path: Path) -> None:
        arguments = ("run", clip, "--model", tiny, "--out", tmp_path, "--no-video", "--max-frames", "2")
        assert watchline(*arguments, "--save-detections").returncode == 0
        before = summary_of(tmp_path / "yard")
        again = watchline(*arguments)
        assert again.returncode == 2
        assert "--overwrite" in again.stderr
        assert summary_of(tmp_path / "yard") == before
        (tmp_path / "yard" / "mine.txt").write_text("the user's own")
        assert watchline(*arguments, "--overwrite").returncode == 0
        assert not (tmp_path / "yard" / "detections.jsonl").exists(), "results of the earlier run must not mix in"
        assert (tmp_path / "yard" / "mine.txt").exists()


def test_two_pictures_with_one_time_are_two_frames(tiny: Path, tmp_path: Path) -> None:
    twins = tuple(40 * (i // 2) for i in range(20))
    clip = write_clip(tmp_path / "twins.mkv", Clip(frames=20, pts_ms=twins))
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    times = [line["pts_s"] for line in json_lines(tmp_path / "twins" / "tracks.jsonl")]
    assert len(times) == len(set(times)) == 20
    assert times == sorted(times)


def test_nothing_is_reported_to_anybody(tiny: Path, clip: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = watchline(
        "run", clip, "--model", tiny, "--out", tmp_path / "out", "--no-video",
        HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), ORT_DISABLE_TELEMETRY="0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = {path.suffix for path in home.rglob("*") if path.is_file()}
    assert written == {".vetted"}, "ONNX Runtime's telemetry keeps a database there"


def test_conf_is_what_begins_a_track(tiny: Path, clip: Path, tmp_path: Path) -> None:
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path, "--no-video", "--conf", "0.95")
    assert done.returncode == 0, done.stderr
    summary = summary_of(tmp_path / "yard")
    assert (summary["tracks"], summary["detections"]) == (0, 0)  # its person has 0.9


@pytest.mark.parametrize("tracker", ["bytetrack", "ocsort"])
@pytest.mark.parametrize("backend", ["python", "native"])
def test_the_published_trackers_can_be_chosen_and_set(
    tiny: Path, clip: Path, tmp_path: Path, tracker: str, backend: str, request: pytest.FixtureRequest
) -> None:
    if backend == "native":
        request.getfixturevalue("native")
    setting = {"bytetrack": "track_thresh=0.7", "ocsort": "min_hits=2"}[tracker]
    options = ["--tracker", tracker, "--preset", "reference", "--backend", backend, "--set", setting]
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path, "--no-video", *options)
    assert done.returncode == 0, done.stderr
    assert all(len(line["tracks"]) == 1 for line in json_lines(tmp_path / "yard" / "tracks.jsonl"))
    summary = summary_of(tmp_path / "yard")
    assert summary["machine"]["tracker"] == f"{tracker} reference ({backend})"
    assert summary["options"]["tracker"] == {
        "name": tracker, "preset": "reference", "settings": [setting], "backend": backend
    }  # fmt: skip


def test_a_setting_of_the_tracker_counts(tiny: Path, clip: Path, tmp_path: Path) -> None:
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path, "--no-video", "--set", "new_score=0.95")
    assert done.returncode == 0, done.stderr
    assert summary_of(tmp_path / "yard")["tracks"] == 0  # its person has 0.9


@pytest.mark.parametrize("options", [["--fps", "0.001"], ["--every", "100000"]])
def test_the_sparsest_sampling_is_still_a_run(tiny: Path, clip: Path, tmp_path: Path, options: list[str]) -> None:
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert len(json_lines(tmp_path / "yard" / "tracks.jsonl")) == 1


@pytest.mark.parametrize(
    "name", ["...mp4", "..mp4", "a\nb.mp4", "cam:1.mp4", "-dash.mp4", "n\u00fcr 50%.mp4", "bad\udcff.mp4"]
)
def test_no_file_name_leads_out_of_the_output_folder(tiny: Path, clip: Path, tmp_path: Path, name: str) -> None:
    odd = tmp_path / name
    shutil.copy(clip, odd)
    done = watchline("run", odd, "--model", tiny, "--out", tmp_path / "out", "--max-frames", "2")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    assert (folder / "summary.json").exists()
    assert (folder / "report.html").exists()
    assert len(done.stdout.splitlines()) >= 6


def test_two_runs_never_share_a_folder(tiny: Path, long_clip: Path, tmp_path: Path) -> None:
    first = subprocess.Popen(
        [*COMMAND, "run", str(long_clip), "--model", str(tiny), "--out", str(tmp_path)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "long" / "tracks.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        second = watchline("run", long_clip, "--model", tiny, "--out", tmp_path, "--overwrite")
        assert second.returncode == 2
        assert "another run writes there now" in second.stderr
    finally:
        first.kill()
        first.wait()


def test_a_reader_that_goes_away_stops_no_input(tiny: Path, clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    shutil.copy(clip, other)
    command = [*COMMAND, "run", str(clip), str(other), "--model", str(tiny), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "out" / "other" / "summary.json").exists()


def test_help_shows_every_option_with_examples_and_exit_codes() -> None:
    done = watchline("run", "--help")
    assert done.returncode == 0
    for word in (
        "--out",
        "--save-detections",
        "--max-frames",
        "--preset",
        "--set",
        "Examples",
        "Exit codes",
        "yolov8n",
    ):
        assert word in done.stdout


def test_the_version_is_told() -> None:
    done = watchline("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("watchline 0.")
