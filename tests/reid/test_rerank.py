"""Re-ranking beside a twin that builds the matrices of the paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchline.detectors.boxes import F32
from watchline.reid.features import unit
from watchline.reid.rerank import rerank


def twin(vectors: F32, k1: int, k2: int, weight: float) -> F32:
    """The paper's distance of all rows to all rows, from dense matrices and sets."""
    n = len(vectors)
    likes = vectors @ vectors.T
    distance = (1 - likes) / (1 - likes).max(axis=1, keepdims=True)
    np.fill_diagonal(likes, np.inf)
    nearest = np.argsort(-likes, axis=1, kind="stable")

    def mutual(row: int, k: int) -> set[int]:
        return {int(other) for other in nearest[row, : k + 1] if row in nearest[other, : k + 1]}

    code = np.zeros((n, n))
    for row in range(n):
        first = mutual(row, k1)
        grown = set(first)
        for other in first:
            near = mutual(other, round(k1 / 2))
            if 3 * len(near & first) > 2 * len(near):
                grown |= near
        members = sorted(grown)
        code[row, members] = np.exp(-distance[row, members])
        code[row] /= code[row].sum()
    code = np.stack([code[nearest[row, :k2]].mean(axis=0) for row in range(n)])
    lesser = np.minimum(code[:, None], code[None]).sum(axis=2)
    result: F32 = (1 - weight) * (1 - lesser / (2 - lesser)) + weight * distance
    return result


@st.composite
def crowds(draw: st.DrawFn) -> F32:
    """Vectors in some clusters of unlike width."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, people = draw(st.integers(2, 60)), draw(st.integers(1, 8))
    centre = rng.normal(size=(people, 6))
    who = rng.integers(0, people, count)
    return unit((centre[who] + rng.normal(size=(count, 6)) * rng.uniform(0.1, 1)).astype(np.float32))


@settings(deadline=None, max_examples=120)
@given(
    crowds(), st.sampled_from([(20, 6), (20, 1), (7, 3), (5, 2), (1, 1), (100, 6)]), st.sampled_from([0.0, 0.3, 1.0])
)
def test_neighbourhoods_alone_give_what_the_whole_matrices_give(
    vectors: F32, k: tuple[int, int], weight: float
) -> None:
    count = len(vectors)
    query, gallery = np.arange(count // 2), np.arange(count // 2, count)
    found = -rerank(vectors, query, gallery, *k, weight)(slice(0, len(query)))
    assert found == pytest.approx(twin(vectors, *k, weight)[np.ix_(query, gallery)], abs=2e-5)


def test_queries_may_be_rows_of_the_gallery() -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32))
    everyone = np.arange(40)
    likeness = rerank(vectors, everyone, everyone)
    assert -likeness(slice(5, 9)) == pytest.approx(twin(vectors, 20, 6, 0.3)[5:9], abs=2e-5)


def test_equal_pictures_are_ranked_without_a_word() -> None:
    vectors = unit(np.ones((30, 4), np.float32))
    found = rerank(vectors, np.arange(3), np.arange(3, 30))(slice(0, 3))
    assert found.shape == (3, 27)
    assert np.isfinite(found).all()
