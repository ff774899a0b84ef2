"""`watchline eval reid --open-set`, run in this process as the command line runs it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer

from tests.pipeline.test_eval_reid import refusal, run
from tests.reid.test_open_set import crowd
from watchline.pipeline.cli.eval_reid import reid
from watchline.reid.features import write_features
from watchline.reid.open_set import RATES
from watchline.streams.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"

app = typer.Typer()
app.command()(reid)


@pytest.fixture
def features(tmp_path: Path) -> Path:
    path = tmp_path / "crowd.npz"
    write_features(path, crowd(90, noise=0.6, distractors=20))
    return path


def test_json_has_every_rate_of_every_list_and_why_others_are_left_out(features: Path) -> None:
    found = json.loads(run(features, "--open-set", "--draws", "2", "--json"))
    assert (found["draws"], found["tracklets"]) == (2, 290)
    first = found["watch_lists"][0]
    assert (first["size"], first["enrolled_by"], first["scored_by"]) == (1, 1, "cosine")
    for each in found["watch_lists"]:
        assert each["target_fpir"][6] == 1
        for name in ("dir", "people", "realised_fpir", "dir_at_fpir"):
            assert len(each[name]) == len(each[f"{name}_spread"]) == len(RATES)
            assert all(0 <= share <= 100 for share in each[name])
        assert len(each["others"]) == 2
    whys = {(each["size"], each["enrolled_by"]): each["why"] for each in found["left_out"]}
    assert whys[100, 2] == "100 people seen by 3 cameras or more are wanted, there are 90"


def test_the_table_says_the_same(features: Path) -> None:
    options = (features, "--open-set", "--draws", "2")
    found, text = json.loads(run(*options, "--json"))["watch_lists"], run(*options)
    assert max(map(len, text.splitlines())) <= 110
    lines = text.splitlines()
    assert lines[0].split() == [
        "scored",
        "by",
        "DIR@1",
        "%",
        "realised",
        "people",
        "DIR@0.1",
        "%",
        "realised",
        "people",
        "first",
    ]
    at = lines.index("10 people, enrolled by 2 cameras")
    row = next(each for each in found if (each["size"], each["enrolled_by"]) == (10, 2))
    assert lines[at + 1].split()[:2] == ["cosine", f"{row['dir'][6]:.1f}"]
    assert "290 tracklets, 20 of them distractors" in text
    assert "left out: 100 people, enrolled by 1 camera: 100 people seen by" in text
    assert "270 tracklets, 0 of them" in run(*options, "--people-only")


def test_the_plot_has_both_pictures_with_a_curve_for_every_list(tmp_path: Path, features: Path) -> None:
    out = tmp_path / "open.svg"
    run(features, "--open-set", "--draws", "2", "--plot", out)
    picture = ET.fromstring(out.read_text())
    curves = [each for each in picture.findall(f"{SVG}polyline") if str(each.get("class")).startswith("curve")]
    assert len(curves) >= 4
    for curve in curves:
        points = [tuple(map(float, point.split(","))) for point in str(curve.get("points")).split()]
        assert len(points) == len(RATES)
        assert all(56 <= x <= 738 and 92 <= y <= 352 for x, y in points)
    texts = [text.text for text in picture.findall(f"{SVG}text")]
    assert {"crowd.npz", "1 person", "10 people"} <= set(texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--draws", "3"), "--draws belongs to --open-set"),
        (("--people-only",), "--people-only belongs to --open-set"),
        (("--open-set", "--plot", "open.png"), "only .svg can be drawn"),
    ],
)
def test_options_that_make_no_sense_are_refused(features: Path, options: tuple[str, ...], message: str) -> None:
    error = refusal(features, *options)
    assert isinstance(error, UsageError)
    assert message in str(error)


def test_a_file_with_too_few_people_says_so_in_one_line(tmp_path: Path) -> None:
    write_features(tmp_path / "few.npz", crowd(12))
    error = refusal(tmp_path / "few.npz", "--open-set")
    assert str(error).endswith(
        "few.npz: too few people for any watch list: 11 people are left for calibration and test, 40 are wanted"
    )
