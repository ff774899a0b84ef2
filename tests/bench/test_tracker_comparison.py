"""The comparison of trackers: what it measures on, what it says of whom, and the page that shows it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.bench import tracker_scenes
from tests.bench.table import table
from tests.bench.tracker_plots import put_tables
from tests.bench.tracker_side import FAMILIES
from tests.bench.tracker_sides import sides, sorted_out
from watchline.trackers.byte_track import ByteTrackOptions
from watchline.trackers.oc_sort import OcSortOptions
from watchline.trackers.reference_options import ByteTrackReferenceOptions, OcSortReferenceOptions

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "trackers.md"


@pytest.mark.parametrize(
    "options", [ByteTrackOptions, OcSortOptions, ByteTrackReferenceOptions, OcSortReferenceOptions]
)
def test_the_page_of_trackers_names_every_option_with_its_value(options: type) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for field in dataclasses.fields(options):
        value = str(field.default).lower() if isinstance(field.default, bool) else field.default
        assert f"`{field.name}` | {value} |" in text, f"docs/trackers.md lacks {field.name} = {value}"


def test_the_crossing_crowd_is_the_same_every_time_and_nobody_is_seen_who_is_not_there() -> None:
    scene, again = tracker_scenes.square(20, 40), tracker_scenes.square(20, 40)
    assert scene.truth == again.truth
    for (boxes, score), (boxes_again, _) in zip(scene.frames, again.frames, strict=True):
        assert np.array_equal(boxes, boxes_again)
        assert ((score > 0.1) & (score < 1)).all()
    there = np.bincount([int(line.split(",")[0]) for line in scene.truth.splitlines()], minlength=41)[1:]
    assert (np.array([len(score) for _, score in scene.frames]) <= there).all()


def test_a_scene_cut_short_has_its_truth_cut_too() -> None:
    scene = tracker_scenes.crowd(5, 20).first(10)
    assert len(scene.frames) == 10
    assert {int(line.split(",")[0]) for line in scene.truth.splitlines()} == set(range(1, 11))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_of_our_trackers_follows_a_crowd_well(family: str) -> None:
    pytest.importorskip("motrics", reason="the extra eval is not installed")
    scene = tracker_scenes.crowd(10, 60)
    here, _ = sorted_out(family)
    ours = [side for side in here if side.ours]
    assert any(side.name == "watchline, Python" for side in ours)
    for side in ours:
        assert scene.scores(side.tracks(scene)).hota > 0.6, side.name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tracker_that_cannot_run_is_named_with_the_reason(family: str) -> None:
    here, missing = sorted_out(family)
    assert {side.name for side in here} | set(missing) == {side.name for side in sides(family)}
    assert all(missing.values())


def test_a_table_is_markdown_with_numbers_to_the_right() -> None:
    assert table(["who", "us"], [["a", "1.0"], ["bcde", "10.0"]]).splitlines() == [
        "| who  |   us |",
        "| ---- | ---: |",
        "| a    |  1.0 |",
        "| bcde | 10.0 |",
    ]


def test_measured_tables_take_their_places_on_the_page_and_leave_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "trackers.md"
    page.write_text("A\n<!-- speed, ByteTrack -->\nold\n<!-- end -->\nB\n<!-- speed, OC-SORT -->\n<!-- end -->\nC\n")
    put_tables(page, "speed", {family: {"table": f"| {family} |"} for family in FAMILIES})
    expected = "A\n<!-- speed, ByteTrack -->\n| ByteTrack |\n<!-- end -->\nB\n<!-- speed, OC-SORT -->\n| OC-SORT |\n"
    assert page.read_text() == f"{expected}<!-- end -->\nC\n"
    put_tables(page, "accuracy", {family: {"table": "-"} for family in FAMILIES})
    assert page.read_text() == f"{expected}<!-- end -->\nC\n"
