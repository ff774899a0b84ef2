"""`watchline track`, run in this process as the command line runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests import worlds
from watchline.pipeline.cli.track import track
from watchline.streams.errors import StreamError, UsageError, WatchlineError
from watchline.trackers.build import TrackerChoice, build_tracker

app = typer.Typer()
app.command()(track)

STILL = "".join(f"{frame},10,20,50,120,0.9\n" for frame in range(1, 6))


def run(*arguments: str | Path) -> list[list[float]]:
    """Runs a command that is to succeed, and returns the rows that it prints."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [[float(value) for value in line.split(",")] for line in result.stdout.splitlines()]


def refusal(*arguments: str | Path) -> WatchlineError:
    """Runs a command that is to be refused, and returns the error that the command line would print."""
    with pytest.raises(WatchlineError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def still(tmp_path: Path) -> Path:
    path = tmp_path / "still.csv"
    path.write_text(STILL)
    return path


def of(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# Results


@pytest.mark.data
@pytest.mark.parametrize(
    ("setting", "arguments"),
    [
        ("bytetrack", ["bytetrack"]),
        ("bytetrack_t06_m09", ["bytetrack", "--set", "track_thresh=0.6", "--set", "match_thresh=0.9"]),
        ("ocsort", ["ocsort"]),
        ("ocsort_byte", ["ocsort", "--set", "use_byte=true"]),
    ],
)
def test_preset_reference_writes_what_the_published_program_writes(
    data_dir: Path, tmp_path: Path, setting: str, arguments: list[str]
) -> None:
    source, out = data_dir / "trackers/inputs/KITTI-17.txt", tmp_path / "tracks.txt"
    assert run(source, "--boxes", "xyxy", "--preset", "reference", "--out", out, "--tracker", *arguments) == []
    ours = np.loadtxt(out, delimiter=",")
    reference = np.loadtxt(data_dir / "trackers/reference" / setting / "KITTI-17.txt", delimiter=",")[:, :7]
    assert ours[:, :2].tolist() == reference[:, :2].tolist()
    assert np.abs(ours - reference).max() < 1e-6


def test_mot_files_and_corner_files_of_the_same_boxes_give_the_same_tracks(tmp_path: Path, still: Path) -> None:
    mot = of(tmp_path / "det.txt", "".join(f"{frame},-1,10,20,40,100,0.9,-1,-1,-1\n" for frame in range(1, 6)))
    for name in ("bytetrack", "ocsort"):
        rows = run(mot, "--tracker", name, "--preset", "reference")
        assert rows == run(still, "--tracker", name, "--preset", "reference", "--boxes", "xyxy")
        assert [row[:2] for row in rows] == [[frame, 1] for frame in range(1, 6)]


@pytest.mark.parametrize("name", ["bytetrack", "ocsort"])
def test_preset_default_is_the_tracker_of_the_live_road(tmp_path: Path, name: str) -> None:
    scene = worlds.crowd(12)
    lines = [
        ",".join(map(repr, [frame, *map(float, xyxy), float(score)]))
        for frame, found in enumerate(scene.frames, 1)
        for xyxy, score in zip(found.xyxy, found.score, strict=True)
    ]
    rows = run(of(tmp_path / "crowd.csv", "\n".join(lines)), "--tracker", name, "--boxes", "xyxy")
    tracker = build_tracker(TrackerChoice(name), 1 / 30)
    followed = [tracker.update(found, at) for found, at in zip(scene.frames, scene.times, strict=True)]
    assert [row[1] for row in rows] == [track_id for tracks in followed for track_id in tracks.track_id]
    assert [row[6] for row in rows] == [float(score) for tracks in followed for score in tracks.score]
    assert [row[2:4] for row in rows] == [left_top for tracks in followed for left_top in tracks.xyxy[:, :2].tolist()]


def test_frames_without_detections_are_stepped_too(tmp_path: Path) -> None:
    gap = "1,10,20,50,120,0.9\n32,10,20,50,120,0.9\n34,10,20,50,120,0.9\n"
    path = of(tmp_path / "gap.csv", gap)
    options = ("--tracker", "bytetrack", "--preset", "reference", "--boxes", "xyxy")
    assert [row[:2] for row in run(path, *options)] == [[1, 1], [32, 1], [34, 1]]
    assert [row[:2] for row in run(path, *options, "--set", "track_buffer=20")] == [[1, 1]]


def test_lines_in_any_order_of_frames_keep_their_order_within_a_frame(tmp_path: Path) -> None:
    a, b = "{},10,20,50,120,0.9\n", "{},300,20,340,120,0.8\n"
    path = of(tmp_path / "mixed.csv", b.format(2) + b.format(1) + "\n" + a.format(1) + a.format(2))
    rows = run(path, "--tracker", "bytetrack", "--preset", "reference", "--boxes", "xyxy")
    assert [[row[0], row[1], row[2]] for row in rows] == [[1, 1, 300], [1, 2, 10], [2, 1, 300], [2, 2, 10]]


def test_every_digit_of_a_number_survives(tmp_path: Path) -> None:
    path = of(tmp_path / "long.csv", "1,0.1234567890123456,20,50.98765432109876,120,0.7071067811865476\n")
    row = run(path, "--tracker", "ocsort", "--preset", "reference", "--boxes", "xyxy")[0]
    assert row[6] == 0.7071067811865476
    assert row[2] == pytest.approx(0.1234567890123456, abs=1e-6)


def test_fps_is_the_frame_rate_unless_it_is_set(tmp_path: Path) -> None:
    path = of(tmp_path / "gap.csv", "1,10,20,50,120,0.9\n20,10,20,50,120,0.9\n")
    options = ("--tracker", "bytetrack", "--preset", "reference", "--boxes", "xyxy", "--fps", "10")
    assert len(run(path, *options)) == 1
    assert len(run(path, *options, "--set", "frame_rate=30")) == 2


def test_options_of_preset_default_can_be_set(still: Path) -> None:
    common = (still, "--tracker", "bytetrack", "--boxes", "xyxy")
    assert len(run(*common, "--set", "new_score=0.95")) == 0
    assert len(run(*common, "--set", "box=detection", "--set", "fuse_score=no")) == 5


def test_an_empty_file_has_no_tracks(tmp_path: Path) -> None:
    path = of(tmp_path / "empty.txt", "")
    assert run(path, "--tracker", "bytetrack") == []
    assert run(path, "--tracker", "ocsort", "--preset", "reference", "--frames", "9") == []


def test_boxes_without_width_are_tracked_as_published_and_left_out_by_default(tmp_path: Path) -> None:
    path = of(tmp_path / "thin.csv", STILL + "".join(f"{frame},5,5,5,30,0.9\n" for frame in range(1, 6)))
    common = [str(path), "--tracker", "bytetrack", "--boxes", "xyxy"]
    assert len(run(*common, "--preset", "reference")) == 10
    result = CliRunner().invoke(app, common, catch_exceptions=False)
    assert len(result.stdout.splitlines()) == 5
    assert result.stderr == f"watchline: {path}: 5 boxes without area left out\n"


# Refusals


@pytest.mark.parametrize(
    ("form", "line", "message"),
    [
        ("xyxy", "x,1,2,3,4,0.5", 'frame is "x", want a number; mend or remove the line'),
        ("xyxy", "0,1,2,3,4,0.5", "frame is 0.0; want 1, 2, ... up to 10000000"),
        ("xyxy", "1.5,1,2,3,4,0.5", "frame is 1.5; want 1, 2, ... up to 10000000"),
        ("xyxy", "nan,1,2,3,4,0.5", "frame is nan; want 1, 2, ... up to 10000000"),
        ("xyxy", "1e12,1,2,3,4,0.5", "frame is 1000000000000.0; want 1, 2, ... up to 10000000"),
        ("xyxy", "1,1,2,inf,4,0.5", "box is 1,2,inf,4; want four finite numbers of pixels"),
        ("xyxy", "1,1,2,3,nan,0.5", "box is 1,2,3,nan; want four finite numbers of pixels"),
        (
            "xyxy",
            "1,10,20,5,40,0.5",
            "box is 10,20,5,40; want x1,y1,x2,y2 with x2 from x1 and y2 above y1; or is it x,y,w,h (--boxes tlwh)?",
        ),
        ("tlwh", "1,-1,10,20,5,0,0.5", "box is 10,20,5,0; want x,y,w,h with w from 0 and h above 0"),
        ("tlwh", "1,-1,10,20,5,9,1.5", "score is 1.5; want a number from 0 to 1; rescale the scores"),
        (
            "tlwh",
            "1,2,3,4,5,0.5",
            "6 values, want frame,id,x,y,w,h,score; mend the line, or try --boxes xyxy (frame,x1,y1,x2,y2,score)",
        ),
        (
            "xyxy",
            "1,-1,2,3,4,5,0.5,-1,-1,-1",
            "10 values, want frame,x1,y1,x2,y2,score; mend the line, or try --boxes tlwh (frame,id,x,y,w,h,score)",
        ),
    ],
)
def test_a_bad_line_is_named_with_its_value_and_what_to_do(tmp_path: Path, form: str, line: str, message: str) -> None:
    good = {"xyxy": "1,1,2,3,4,0.5\n\n", "tlwh": "1,-1,1,2,3,4,0.5\n\n"}[form]
    path = of(tmp_path / "bad.txt", good + line + "\n")
    error = refusal(path, "--tracker", "bytetrack", "--boxes", form)
    assert (type(error), str(error)) == (StreamError, f"{path}: line 3: {message}")


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.txt", "--tracker", "bytetrack")
    assert str(error) == f"{tmp_path}/none.txt: cannot read (no such file or directory); give a text file of detections"
    (tmp_path / "clip.mp4").write_bytes(b"12\xff\xfe")
    error = refusal(tmp_path / "clip.mp4", "--tracker", "bytetrack")
    assert str(error) == f"{tmp_path}/clip.mp4: no text (byte 2); give a text file of detections"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bytetrak"], 'no tracker "bytetrak", did you mean "bytetrack"? known: bytetrack, ocsort'),
        (
            ["ocsort", "--preset", "refrence"],
            'no preset "refrence", did you mean "reference"? known: default, reference',
        ),
        (["bytetrack", "--boxes", "xywh"], 'no form of boxes "xywh"; known: tlwh, xyxy'),
        (["ocsort", "--set", "min_iou=2"], "min_iou is 2.0; take a value from 0.01 to 1"),
        (["bytetrack", "--set", "x"], '--set "x": want NAME=VALUE, such as high_score=...'),
        (["bytetrack", "--set", "lost_s=soon"], '--set lost_s: "soon" is no number'),
        (["bytetrack", "--set", "box=round"], '--set box: "round" is none of filtered, detection'),
        (["bytetrack", "--set", "low_score=0.9"], "low_score is 0.9; take a value from 0 to 0.5"),
        (
            ["ocsort", "--preset", "reference", "--set", "use_bite=1"],
            (
                '--set use_bite: no such option of ocsort, preset reference, did you mean "use_byte"? '
                "known: det_thresh, max_age, min_hits, iou_threshold, delta_t, inertia, use_byte"
            ),
        ),
        (
            ["ocsort", "--preset", "reference", "--set", "use_byte=perhaps"],
            '--set use_byte: "perhaps" is none of true, yes, 1, false, no, 0',
        ),
        (["ocsort", "--preset", "reference", "--set", "max_age=1.5"], '--set max_age: "1.5" is no whole number'),
    ],
)
def test_a_misspelt_option_is_refused_with_what_would_do(still: Path, arguments: list[str], message: str) -> None:
    error = refusal(still, "--tracker", *arguments)
    assert (type(error), str(error)) == (UsageError, message)


def test_fewer_frames_than_the_file_has_are_refused(still: Path) -> None:
    error = refusal(still, "--tracker", "bytetrack", "--boxes", "xyxy", "--frames", "4")
    assert str(error) == f"--frames 4: {still} has detections up to frame 5; give that many"
