"""The embedding benchmark cuts the same people on both sides, batch by batch, and compares before it tells a time."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bench.embedding import Turn, figures, least_cosine
from tests.bench.embedding_side import BATCH, Picture, Vectors, people_of, serve


def test_people_alone_are_cut_in_whole_pixels(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    frames = {"0": [[0, 0.9, 1.4, 2.6, 40.2, 90.0], [2, 0.9, 0, 0, 9, 9]], "10": []}
    file.write_text(json.dumps({"frames": frames}))
    assert people_of(file) == {0: [[1, 3, 40, 90]], 10: []}


def test_a_turn_describes_everybody_in_order_and_in_batches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sizes: list[int] = []

    def embed(pictures: list[Picture]) -> Vectors:
        sizes.append(len(pictures))
        return np.array([[picture[0, 0, 0], picture.shape[1]] for picture in pictures], np.float32)

    frames = [np.full((100, 100, 3), number, np.uint8) for number in range(5)]
    people = {0: [[0, 0, 30, 60]] * 5, 2: [[-8, 0, 40, 200]] * 6, 3: [[0, 0, 4, 60], [70, 0, 140, 60]], 4: []}
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{tmp_path / 'a.npy'}\n{tmp_path / 'b.npy'}\n"))
    serve(lambda: iter(frames), embed, people)
    assert sizes == [BATCH, 4] * 2
    vectors = np.load(tmp_path / "a.npy")
    assert vectors.tolist() == [[0, 30]] * 5 + [[2, 40]] * 6 + [[3, 30]]
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["crops"] for each in said] == [12, 12]
    assert all(each["cpu_s"] > 0 and each["peak_bytes"] > 1e6 for each in said)


def test_the_least_similar_pair_counts() -> None:
    ours = np.array([[1, 0], [1, 0]], np.float32)
    theirs = np.array([[1, 0], [0.6, 0.8]], np.float32)
    assert least_cosine(ours, theirs) == pytest.approx(0.6)
    with pytest.raises(AssertionError):
        least_cosine(ours, theirs[:1])


def test_figures_are_medians_and_the_highest_peak() -> None:
    none = np.zeros((0, 2), np.float32)
    turns = [Turn(100, cpu_s, 2 * cpu_s, peak * 1_000_000, none) for cpu_s, peak in ((1.0, 5), (4.0, 9), (2.0, 7))]
    assert figures(turns) == (50, 25, 9)
