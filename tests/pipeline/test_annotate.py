"""The annotated picture: true to the tracks, readable, and never at the cost of the input."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import make_detections, make_faces
from watchline.pipeline.annotate import Annotator, clock_text, ink_on, track_colour
from watchline.pipeline.findings import Findings, Tied
from watchline.streams.frame import U8
from watchline.trackers.tracks import Tracks, TrackState

LABELS = ("person", "car")


def tracks(*rows: tuple[int, int, tuple[float, float, float, float]], seen: bool = True) -> Tracks:
    """Tracks of (id, class, xyxy); unseen ones coast."""
    n = len(rows)
    return Tracks(
        track_id=np.array([row[0] for row in rows], np.int64),
        xyxy=np.array([row[2] for row in rows], np.float32).reshape(n, 4),
        score=np.full(n, 0.87, np.float32),
        class_id=np.array([row[1] for row in rows], np.int32),
        state=np.full(n, TrackState.CONFIRMED if seen else TrackState.LOST, np.uint8),
        age_s=np.zeros(n, np.float32),
        detection=np.arange(n, dtype=np.int32) if seen else np.full(n, -1, np.int32),
    )


def grey(height: int = 360, width: int = 640, value: int = 128) -> U8:
    picture = np.full((height, width, 3), value, np.uint8)
    picture.flags.writeable = False
    return picture


def share(picture: U8, colour: tuple[int, int, int]) -> int:
    """How many pixels have exactly that colour."""
    return int((picture == np.array(colour, np.uint8)).all(axis=2).sum())


def test_the_input_stays_as_it_was_and_the_answer_is_another_array() -> None:
    picture = grey()
    drawn = Annotator(LABELS).draw(picture, tracks((1, 0, (100, 100, 200, 300))), 0.0)
    assert not np.shares_memory(picture, drawn)
    assert (picture == 128).all()
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8


def test_a_picture_drawn_over_an_older_one_shows_nothing_of_it() -> None:
    people = tracks((1, 0, (100, 100, 200, 300)))
    canvas = np.full_like(grey(), 7)
    assert Annotator(LABELS).draw(grey(), people, 0.0, out=canvas) is canvas
    assert np.array_equal(canvas, Annotator(LABELS).draw(grey(), people, 0.0))
    assert Annotator(LABELS).draw(grey(100, 60), Tracks.empty(), 0.0, out=canvas).shape == (100, 60, 3)


def test_a_box_is_drawn_where_the_track_is_in_the_colour_of_its_id() -> None:
    drawn = Annotator(LABELS).draw(grey(), tracks((7, 0, (100, 100, 200, 300))), 0.0)
    assert tuple(drawn[200, 100]) == track_colour(7)
    assert tuple(drawn[200, 200]) == track_colour(7)
    assert tuple(drawn[200, 150]) == (128, 128, 128)


def test_of_an_unseen_object_only_the_corners_are_drawn_and_nobody_is_counted() -> None:
    unseen = Annotator(LABELS).draw(grey(), tracks((7, 0, (100, 100, 200, 300)), seen=False), 0.0)
    assert tuple(unseen[110, 100]) == tuple(unseen[290, 200]) == track_colour(7)
    assert tuple(unseen[200, 100]) == tuple(unseen[200, 200]) == (128, 128, 128)
    nobody = Annotator(LABELS).draw(grey(), Tracks.empty(), 0.0)
    np.testing.assert_array_equal(unseen[:40, :200], nobody[:40, :200])  # the count of people


def test_the_first_hundred_ids_have_colours_of_their_own_and_neighbours_differ_clearly() -> None:
    colours = [track_colour(i) for i in range(1, 101)]
    assert len(set(colours)) == 100
    steps = np.abs(np.diff(np.array(colours), axis=0)).sum(axis=1)
    assert steps.min() > 120


@given(st.tuples(*[st.integers(0, 255)] * 3))
@settings(deadline=None)
def test_text_on_a_tag_has_at_least_the_contrast_that_wcag_asks_for(colour: tuple[int, int, int]) -> None:
    def luminance(c: tuple[int, int, int]) -> float:
        parts = [v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in c]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted([luminance(colour), luminance(ink_on(colour))])
    assert (high + 0.05) / (low + 0.05) > 4.0


def test_a_trail_follows_the_foot_point_and_fades_with_the_track() -> None:
    annotator = Annotator(LABELS, trail_s=1.0)
    for i in range(10):
        drawn = annotator.draw(grey(), tracks((3, 0, (100 + 20 * i, 100, 140 + 20 * i, 200))), i / 10)
    behind = drawn[195:206, 150:250]
    assert (behind != 128).any()
    drawn = annotator.draw(grey(), Tracks.empty(), 3.0)
    assert (drawn[195:206, 150:250] == 128).all()


def test_what_is_remembered_is_bounded_by_the_trail() -> None:
    annotator = Annotator(LABELS, trail_s=0.5)
    for i in range(2000):
        annotator.draw(grey(32, 32), tracks((i, 0, (5, 5, 20, 20))), i / 100)
    assert len(annotator._trails) <= 51
    for i in range(500):
        annotator.draw(grey(32, 32), tracks((1, 0, (5, 5, 20, 20))), 20 + i / 1000)
    assert max(len(trail) for trail in annotator._trails.values()) <= 25


def test_tags_of_two_people_side_by_side_do_not_cover_each_other() -> None:
    rows = (1, 0, (300.0, 150.0, 340.0, 300.0)), (2, 0, (320.0, 150.0, 360.0, 300.0))
    both = Annotator(LABELS).draw(grey(), tracks(*rows), 0.0)
    for row in rows:
        alone = Annotator(LABELS).draw(grey(), tracks(row), 0.0)
        assert share(both, track_colour(row[0])) > 0.85 * share(alone, track_colour(row[0]))


@given(
    st.integers(1, 90),
    st.integers(1, 160),
    st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 4), max_size=6),
)
@settings(deadline=None, max_examples=60)
def test_any_box_on_any_picture_is_drawn_without_an_error(
    height: int, width: int, boxes: list[tuple[float, float, float, float]]
) -> None:
    drawn = Annotator(LABELS).draw(grey(height, width), tracks(*[(i + 1, 1, box) for i, box in enumerate(boxes)]), 0.0)
    assert drawn.shape == (height, width, 3)


def test_the_time_is_written_top_left_and_changes_with_it() -> None:
    annotator = Annotator(LABELS)
    first, later = (annotator.draw(grey(), Tracks.empty(), pts_s) for pts_s in (0.0, 12.34))
    assert (first[:30, :160] != later[:30, :160]).any()
    assert (first[60:] == later[60:]).all()


def test_times_read_as_clocks() -> None:
    assert clock_text(0) == "00:00.00"
    assert clock_text(59.999) == "01:00.00"
    assert clock_text(3723.5) == "1:02:03.50"
    assert clock_text(-1.25) == "-00:01.25"


def test_a_face_has_the_colour_of_its_track_and_one_of_nobody_a_colour_of_its_own() -> None:
    boxes = (140.0, 120.0, 170.0, 150.0), (400.0, 50.0, 430.0, 80.0)
    findings = Findings(make_detections((100, 100, 200, 300)), (Tied(make_faces(*boxes), np.array([0, -1], np.int32)),))
    drawn = Annotator(LABELS).draw(grey(), tracks((7, 0, (100, 100, 200, 300))), 0.0, findings)
    assert tuple(drawn[135, 140]) == track_colour(7)
    assert tuple(drawn[132, 149]) == track_colour(7), "the eye on the left"
    nobodys = tuple(drawn[65, 400])
    assert nobodys not in ((128, 128, 128), track_colour(7))
    assert tuple(drawn[62, 409]) == nobodys
