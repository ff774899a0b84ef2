"""Quality: what a picture's place and pixels say of its use, and the reason where it is of none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from watchline.reid.cutting import Cut, shrunk
from watchline.reid.quality import Flaw, Gate, Refusal, covered, frontal, is_cut, judge, sharpness

HEIGHT, WIDTH = 480, 640


def judged(*boxes: tuple[float, float, float, float], score: float = 0.9) -> list[tuple[Flaw, float]]:
    found = judge(
        np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), score, np.float32), HEIGHT, WIDTH, Gate()
    )
    return [(Flaw(int(flaw)), float(bound)) for flaw, bound in zip(found.flaw, found.bound, strict=True)]


@pytest.mark.parametrize(
    ("box", "score", "flaw"),
    [
        ((100, 100, 150, 240), 0.9, Flaw.NONE),
        ((100, 100, 120, 147), 0.9, Flaw.SMALL),
        ((100, 100, 115, 200), 0.9, Flaw.NARROW),
        ((100, -500, 150, 40), 0.9, Flaw.SMALL),  # only what lies in the picture counts
        ((-40, 100, 20, 240), 0.9, Flaw.CUT),  # a sliver
        ((100, 400, 160, 480), 0.9, Flaw.CUT),  # head and shoulders
        ((0, 100, 50, 240), 0.9, Flaw.NONE),  # at the border, but whole
        ((100, 100, 150, 240), 0.29, Flaw.FAINT),
        ((700, 500, 900, 900), 0.9, Flaw.SMALL),
    ],
)
def test_each_flaw_is_found(box: tuple[float, float, float, float], score: float, flaw: Flaw) -> None:
    ((found, bound),) = judged(box, score=score)
    assert found == flaw
    assert (bound > 0) == (flaw == Flaw.NONE)


def test_whoever_stands_nearer_hides_who_is_behind() -> None:
    behind, before = (100, 100, 160, 260), (110, 120, 190, 300)
    (flaw, bound), (other, _) = judged(behind, before)
    assert (flaw, bound, other) == (Flaw.HIDDEN, 0, Flaw.NONE)
    np.testing.assert_allclose(covered(np.array([behind, before], np.float32)), [50 * 140 / (60 * 160), 0], rtol=1e-5)


def test_a_little_hidden_is_worse_than_not_hidden() -> None:
    alone = judged((100, 100, 160, 260))[0][1]
    partly = judged((100, 100, 160, 260), (145, 120, 200, 300))[0][1]
    assert 0 < partly < alone


def test_larger_is_better_up_to_what_a_network_sees() -> None:
    bounds = [judged((100, 10, 100 + h / 2, 10 + h))[0][1] for h in (60, 120, 256, 400)]
    assert bounds[0] < bounds[1] < bounds[2] == pytest.approx(bounds[3])


def test_nobody_is_judged_to_nothing_and_a_box_of_no_numbers_is_refused() -> None:
    assert judged() == []
    (flaw, bound), (other, _) = judged((np.nan, np.nan, np.nan, np.nan), (100, 100, 150, 240))
    assert (flaw, bound, other) == (Flaw.SMALL, 0, Flaw.NONE)


def test_the_border_is_as_wide_as_a_networks_pixels() -> None:
    boxes = np.array([[10, 10, 638.5, 100], [10, 10, 630, 100], [1, 10, 50, 100], [10, 10, 50, 479]], np.float32)
    assert is_cut(boxes, HEIGHT, WIDTH).tolist() == [True, False, True, True]


def test_a_blurred_picture_is_less_sharp_than_the_same_one_at_any_size() -> None:
    crop = np.random.default_rng(1).integers(0, 255, (200, 100, 3), np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(crop, (0, 0), 6), np.uint8)
    assert 0.05 <= sharpness(blurred) < sharpness(crop) < 1
    assert sharpness(np.full((50, 30, 3), 90, np.uint8)) == 0.05


def test_of_two_reasons_the_one_that_came_nearer_is_told() -> None:
    reasons = [Refusal(Flaw.SMALL, 20), Refusal(Flaw.HIDDEN, 0.1), Refusal(Flaw.SMALL, 45), Refusal(Flaw.HIDDEN, 0.3)]
    assert max(reasons).words(Gate()) == "hidden by others: 70 % of it at best, 50 % is the most"
    for flaw in Flaw:
        assert bool(Refusal(flaw, 0.2).words(Gate())) == (flaw != Flaw.NONE)


def test_a_face_seen_from_the_side_is_worse() -> None:
    front = np.array([(0, 0), (10, 0), (5, 5), (2, 9), (8, 9)], np.float32)
    side = front + np.array([(0, 0), (0, 0), (5, 0), (0, 0), (0, 0)], np.float32)
    assert frontal(front) == 1.0
    assert 0 < frontal(side) < 0.5
    assert 0 < frontal(np.zeros((5, 2), np.float32)) <= 1


def test_what_is_cut_out_is_a_copy_of_what_lies_in_the_picture() -> None:
    frame = np.random.default_rng(2).integers(0, 255, (60, 80, 3), np.uint8)
    cut = Cut.of(np.array([-10.2, 20.4, 30.6, 99.0], np.float32), 60, 80)
    assert (cut.left, cut.top, cut.right, cut.bottom) == (0, 20, 31, 60)
    small, half = shrunk(cut.view(frame), 20, 100)
    whole, one = shrunk(cut.view(frame), 100, 100)
    assert (small.shape, half, one) == ((20, 16, 3), 0.5, 1.0)
    np.testing.assert_array_equal(whole, frame[20:60, 0:31])
    assert not np.shares_memory(whole, frame)
