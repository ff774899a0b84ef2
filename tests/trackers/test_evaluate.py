"""Scores of tracks, and `watchline eval mot`, run in this process as the command line runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from watchline.pipeline.cli.evaluate import app
from watchline.streams.errors import StreamError, UsageError, WatchlineError
from watchline.trackers.evaluate import tally

pytest.importorskip("motrics", reason="the extra eval is not installed")

WALK = "".join(f"{frame},1,{10 * frame},20,40,100,1,1,1\n" for frame in range(1, 11))
STAND = "".join(f"{frame},2,500,20,40,100,1,1,1\n" for frame in range(1, 11))


def run(gt: Path, tracks: Path, *options: str) -> Result:
    line = ["mot", "--gt", str(gt), "--tracks", str(tracks), *options]
    return CliRunner().invoke(app, line, env={"COLUMNS": "120"}, catch_exceptions=False)


def scores(gt: Path, tracks: Path) -> dict[str, Any]:
    result = run(gt, tracks, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def refusal(gt: Path, tracks: Path) -> WatchlineError:
    with pytest.raises(WatchlineError) as caught:
        run(gt, tracks)
    assert "\n" not in str(caught.value)
    return caught.value


def of(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_the_truth_itself_is_perfect(tmp_path: Path) -> None:
    gt = of(tmp_path / "a.txt", WALK + STAND)
    perfect = {"HOTA": 100, "DetA": 100, "AssA": 100, "MOTA": 100, "IDF1": 100, "IDSW": 0}
    assert scores(gt, gt) == {"sequences": {"a": perfect}, "combined": perfect}


def test_a_changed_id_is_one_switch_and_costs_association_not_detection(tmp_path: Path) -> None:
    gt = of(tmp_path / "gt.txt", WALK)
    halves = "".join(line if i < 5 else line.replace(",1,", ",7,", 1) for i, line in enumerate(WALK.splitlines(True)))
    found = scores(gt, of(tmp_path / "tracks.txt", halves))["combined"]
    assert found == {"HOTA": 70.71, "DetA": 100.0, "AssA": 50.0, "MOTA": 90.0, "IDF1": 50.0, "IDSW": 1}


def test_no_tracks_at_all_score_nothing_and_no_truth_is_no_error(tmp_path: Path) -> None:
    nothing, gt = of(tmp_path / "none.txt", ""), of(tmp_path / "gt.txt", WALK)
    assert set(scores(gt, nothing)["combined"].values()) == {0}
    assert scores(nothing, gt)["combined"]["HOTA"] == 0
    assert scores(nothing, nothing)["combined"]["IDF1"] == 0


def test_folders_are_matched_by_name_and_the_rest_is_named(tmp_path: Path) -> None:
    gt, tracks = tmp_path / "gt", tmp_path / "tracks"
    for name, folder in (("a", gt), ("b", gt), ("a", tracks), ("b", tracks), ("c", gt), ("d", tracks)):
        of(folder / f"{name}.txt", WALK if folder == gt else WALK + STAND)
    result = run(gt, tracks)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["sequence", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW"]
    assert [line[0] for line in lines[1:]] == ["a", "b", "combined"]
    assert lines[1][1:] == lines[3][1:] == ["70.71", "50.00", "100.00", "0.00", "66.67", "0"]
    assert result.stderr == (f"watchline: not measured, not in {gt}: d\nwatchline: not measured, not in {tracks}: c\n")


def test_a_track_on_a_distractor_counts_neither_way_in_mot17(tmp_path: Path) -> None:
    gt = WALK + STAND.replace("100,1,1,1", "100,0,7,1")  # class 7: a static person
    tracks = of(tmp_path / "tracks.txt", WALK + STAND)
    assert scores(of(tmp_path / "MOT17-99.txt", gt), tracks)["combined"]["MOTA"] == 100
    assert scores(of(tmp_path / "other.txt", gt), tracks)["combined"]["MOTA"] == 100
    assert scores(of(tmp_path / "MOT17-98.txt", WALK), tracks)["combined"]["MOTA"] == 0


def test_a_truth_named_gt_goes_by_the_name_of_the_tracks(tmp_path: Path) -> None:
    gt, tracks = of(tmp_path / "gt.txt", WALK), of(tmp_path / "MOT17-09-FRCNN.txt", WALK)
    assert list(scores(gt, tracks)["sequences"]) == ["MOT17-09-FRCNN"]
    assert list(scores(tracks, gt)["sequences"]) == ["MOT17-09-FRCNN"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("tracker", "names", "wanted"),
    [
        ("bytetrack", ["TUD-Campus"], {"HOTA": 48.58, "MOTA": 59.61, "IDF1": 67.89, "IDSW": 5}),
        (
            "ocsort",
            ["MOT17-02-FRCNN", "MOT17-05-FRCNN", "MOT17-09-FRCNN", "MOT17-10-FRCNN", "TUD-Campus"],
            {"HOTA": 39.4, "MOTA": 41.38, "IDF1": 46.03, "IDSW": 247},
        ),
    ],
)
def test_real_sequences_score_as_the_library_alone_has_them(
    data_dir: Path, tmp_path: Path, tracker: str, names: list[str], wanted: dict[str, float]
) -> None:
    for kind, folder in (("gt", "gt"), ("tracks", f"reference/{tracker}")):
        (tmp_path / kind).mkdir()
        for name in names:
            (tmp_path / kind / f"{name}.txt").symlink_to(data_dir / "trackers" / folder / f"{name}.txt")
    found = scores(tmp_path / "gt", tmp_path / "tracks")
    assert {name: found["combined"][name] for name in wanted} == wanted
    assert list(found["sequences"]) == names


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,4,5", "5 values, want frame,id,x,y,w,h,...; mend the line"),
        ("1,2,3,4,5,wide", '"wide" is no number; mend or remove the line'),
        ("1,2,3,4,5,inf", '"inf" is no number; mend or remove the line'),
        ("1,1,3,4,5,6", "id 1 is there twice in frame 1; mend the file"),
    ],
)
def test_a_bad_line_is_named_with_its_value_and_what_to_do(tmp_path: Path, line: str, message: str) -> None:
    gt = of(tmp_path / "gt.txt", WALK)
    bad = of(tmp_path / "bad.txt", f"1,1,2,3,4,5\n\n{line}\n")
    error = refusal(gt, bad)
    assert (type(error), str(error)) == (StreamError, f"{bad}: line 3: {message}")


def test_what_is_not_there_or_does_not_go_together_is_refused(tmp_path: Path) -> None:
    gt, folder = of(tmp_path / "gt.txt", WALK), tmp_path / "folder"
    folder.mkdir()
    missing = tmp_path / "none.txt"
    assert str(refusal(gt, missing)) == f"{missing}: cannot read (no such file or directory); give a MOTChallenge file"
    assert str(refusal(gt, folder)).endswith("one is a folder and one is not; give two files or two folders")
    assert str(refusal(tmp_path, folder)).endswith("no NAME.txt is in both; name the tracks as the truth is named")


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gt = of(tmp_path / "gt.txt", WALK)
    monkeypatch.setitem(sys.modules, "motrics", None)
    with pytest.raises(UsageError, match=r"^evaluation needs the package motrics; install watchline\[eval\]$"):
        tally("gt", gt, gt)
