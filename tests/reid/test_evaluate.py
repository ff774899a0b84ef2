"""CMC and mean average precision: beside a twin that does just what the protocol says, one query at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from watchline.reid.evaluate import BLOCK, DEPTH, Labels, Scores, measure
from watchline.streams.errors import UsageError


def labels(*pairs: tuple[int, int]) -> Labels:
    """Labels of (person, camera)."""
    table = np.array(pairs, np.int32).reshape(-1, 2)
    return Labels(table[:, 0].copy(), table[:, 1].copy())


def scores_of(likes: Any, query: Labels, gallery: Labels) -> Scores:
    table = np.asarray(likes, np.float32)
    return measure(lambda rows: table[rows], query, gallery)


def twin(likes: NDArray[np.float32], query: Labels, gallery: Labels) -> tuple[list[int], list[float]]:
    """The rank of the first right picture, and the average precision, of each query that counts."""
    firsts, precisions = [], []
    for q in range(len(query)):
        ranked = []
        for g in range(len(gallery)):
            same_person = gallery.person[g] == query.person[q]
            if not (same_person and gallery.camera[g] == query.camera[q]):
                ranked.append((-likes[q, g], bool(same_person)))
        right = [is_right for _, is_right in sorted(ranked)]  # at equal likeness False stands first
        if any(right):
            firsts.append(right.index(True) + 1)
            hits = [sum(right[: i + 1]) / (i + 1) for i in range(len(right)) if right[i]]
            precisions.append(sum(hits) / len(hits))
    return firsts, precisions


@st.composite
def trials(draw: st.DrawFn) -> tuple[NDArray[np.float32], Labels, Labels]:
    """Few people, cameras and likenesses, so that ties, lonely queries and distractors are common."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    q, g = draw(st.integers(1, 6)), draw(st.integers(1, 70))
    query = labels(*zip(rng.integers(1, 4, q).tolist(), rng.integers(0, 3, q).tolist(), strict=True))
    gallery = labels(*zip(rng.integers(0, 4, g).tolist(), rng.integers(0, 3, g).tolist(), strict=True))
    levels = draw(st.sampled_from([2, 5, 1000]))
    return rng.integers(0, levels, (q, g)).astype(np.float32), query, gallery


@settings(deadline=None, max_examples=200)
@given(trials())
def test_any_trial_is_worth_what_the_twin_says(trial: tuple[NDArray[np.float32], Labels, Labels]) -> None:
    firsts, precisions = twin(*trial)
    if not firsts:
        with pytest.raises(UsageError):
            scores_of(*trial)
        return
    scores = scores_of(*trial)
    assert scores.cmc == pytest.approx([np.mean([first <= r for first in firsts]) for r in range(1, DEPTH + 1)])
    assert scores.mean_ap == pytest.approx(np.mean(precisions))
    assert scores.queries == len(firsts)
    assert scores.queries + scores.unmatched == len(trial[1])


def test_a_perfect_ranking_is_worth_everything_and_the_reverse_little() -> None:
    query, gallery = labels((1, 0)), labels((1, 1), (2, 1), (1, 2), (3, 0))
    best = scores_of([[9, 1, 8, 2]], query, gallery)
    assert (best.rank(1), best.mean_ap) == (1, 1)
    worst = scores_of([[1, 9, 2, 8]], query, gallery)
    assert [worst.rank(depth) for depth in (1, 2, 3)] == [0, 0, 1]
    assert worst.mean_ap == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_the_same_person_from_the_same_camera_counts_neither_for_nor_against() -> None:
    query, gallery = labels((1, 0)), labels((1, 0), (1, 0), (1, 1))
    scores = scores_of([[9, 8, 1]], query, gallery)
    assert (scores.rank(1), scores.mean_ap, scores.queries) == (1, 1, 1)


def test_a_distractor_ahead_costs_a_rank() -> None:
    scores = scores_of([[9, 1]], labels((1, 0)), labels((0, 0), (1, 1)))
    assert (scores.rank(1), scores.rank(2), scores.mean_ap) == (0, 1, 0.5)


def test_another_person_from_the_querys_camera_is_wrong_all_the_same() -> None:
    scores = scores_of([[9, 1]], labels((1, 0)), labels((2, 0), (1, 1)))
    assert scores.rank(1) == 0


def test_a_query_without_a_right_picture_is_not_counted() -> None:
    scores = scores_of([[5, 5], [1, 9]], labels((7, 0), (1, 0)), labels((2, 1), (1, 1)))
    assert (scores.queries, scores.unmatched, scores.rank(1)) == (1, 1, 1)
    with pytest.raises(UsageError, match="from another camera"):
        scores_of([[1]], labels((1, 0)), labels((1, 0)))


def test_at_equal_likeness_the_wrong_one_stands_first() -> None:
    for order in ([(1, 1), (2, 1)], [(2, 1), (1, 1)]):
        assert scores_of([[5, 5]], labels((1, 0)), labels(*order)).rank(1) == 0


def test_what_is_found_beyond_the_last_rank_counts_for_precision_only() -> None:
    gallery = labels(*[(2, 1)] * DEPTH, (1, 1))
    scores = scores_of([[*range(DEPTH, 0, -1), 0]], labels((1, 0)), gallery)
    assert scores.cmc.max() == 0
    assert scores.mean_ap == pytest.approx(1 / (DEPTH + 1))


def test_queries_are_compared_in_blocks_and_each_once() -> None:
    seen: list[tuple[int, int]] = []

    def likeness(rows: slice) -> NDArray[np.float32]:
        seen.append((rows.start, rows.stop))
        return np.ones((rows.stop - rows.start, 1), np.float32)

    count = 2 * BLOCK + 3
    assert measure(likeness, labels(*[(1, 0)] * count), labels((1, 1))).queries == count
    assert seen == [(0, BLOCK), (BLOCK, 2 * BLOCK), (2 * BLOCK, count)]
