"""`watchline eval reid`, run in this process as the command line runs it, and once in its own."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.command import watchline
from watchline.pipeline.cli.eval_reid import reid
from watchline.pipeline.cmc_plot import draw_cmc
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.evaluate import DEPTH, Scores
from watchline.reid.features import UNKNOWN, FeatureSet, write_features
from watchline.streams.errors import OutputError, StreamError, UsageError, WatchlineError

VARIANTS = ["cosine", "euclidean", "camera_centred", "multi_shot", "tracklets", "reranked", "combined"]
FIGURES = ["rank1", "rank5", "rank10", "rank20", "rank50", "mAP"]
SVG = "{http://www.w3.org/2000/svg}"

app = typer.Typer()
app.command()(reid)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Ten people, each seen by two cameras; one more that only asks; and a picture of junk."""
    rng = np.random.default_rng(3)
    people = rng.normal(size=(11, 8))
    path = tmp_path / "market.npz"
    np.savez(
        path,
        qn=np.array([f"{person:04d}_c1s1_000001_00.jpg" for person in range(1, 12)]),
        qf=people.astype(np.float16),
        gn=np.array([f"{person:04d}_c2s1_000002_00.jpg" for person in range(1, 11)] + ["-1_c2s1_000003_00.jpg"]),
        gf=(people + 0.3 * rng.normal(size=people.shape)).astype(np.float16),
    )
    return path


def run(*arguments: str | Path) -> str:
    """Runs a command that is to succeed, and returns what it prints."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: str | Path) -> WatchlineError:
    """Runs a command that is to be refused, and returns the error that the command line would print."""
    with pytest.raises(WatchlineError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def test_json_has_every_variant_with_every_figure_in_percent(market: Path) -> None:
    found = json.loads(run(market, "--json"))
    assert list(found) == VARIANTS
    for figures in found.values():
        assert list(figures)[: len(FIGURES)] == FIGURES
        assert all(0 <= figures[name] <= 100 for name in FIGURES)
        assert (figures["queries"], figures["unmatched"], figures["gallery"]) == (10, 1, 10)
    assert found["cosine"]["rank10"] == 100
    assert found["cosine"]["rank1"] > 60


def test_the_table_says_the_same_and_what_was_not_counted(market: Path) -> None:
    found, text = json.loads(run(market, "--json")), run(market)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()[:1]}
    for name in VARIANTS:
        assert rows[name][:6] == [f"{found[name][figure]:.2f}" for figure in FIGURES]
    assert "\n10 queries\nnot counted, their person seen by no other camera of the gallery: 1 query" in text
    assert "left out as junk (person -1): 1 picture\n" in text


def test_our_own_form_is_measured_where_it_says_who_and_where(tmp_path: Path) -> None:
    path, vectors = tmp_path / "own.npz", np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2]]
    model = EmbeddingModel("osnet", "ab", Kind.BODY, 4)
    write_features(path, FeatureSet.of(vectors, model))
    assert "does not say who is in the pictures" in str(refusal(path))
    person = np.array([1, 1, 2, 2, UNKNOWN], np.int32)
    write_features(path, FeatureSet.of(vectors, model, person_id=person))
    assert f"{path}: does not say which camera took 4" in str(refusal(path))
    write_features(path, FeatureSet.of(vectors, model, person_id=person, camera=["a", "b", "a", "b", ""]))
    text = run(path)
    assert "4 queries, each picture against all others" in text
    assert "left out, nobody said who it is: 1 picture\n" in text


def test_the_plot_has_a_curve_for_every_variant(tmp_path: Path, market: Path) -> None:
    out = tmp_path / "cmc.svg"
    run(market, "--plot", out)
    picture = ET.fromstring(out.read_text())
    curves = picture.findall(f"{SVG}polyline")
    assert len(curves) == len(VARIANTS)
    assert all(len(str(curve.get("points")).split()) == DEPTH for curve in curves)
    texts = [text.text for text in picture.findall(f"{SVG}text")]
    assert set(VARIANTS) <= set(texts)
    assert "market.npz" in texts


def test_a_curve_stays_within_the_axes_and_a_name_is_only_text() -> None:
    poor = Scores(np.linspace(0, 0.02, DEPTH), 0.001, 9, 0, 9)
    perfect = Scores(np.ones(DEPTH), 1.0, 9, 0, 9)
    for scores in ({"cosine": poor, "euclidean": perfect}, {"cosine": perfect}, {"cosine": poor}):
        picture = ET.fromstring(draw_cmc(f"<script>&{'x' * 99}", scores))
        assert picture.find(f"{SVG}script") is None
        for curve in picture.findall(f"{SVG}polyline"):
            points = [tuple(map(float, point.split(","))) for point in str(curve.get("points")).split()]
            assert all(56 <= x <= 476 and 64 <= y <= 372 for x, y in points)


@pytest.mark.parametrize(
    ("plot", "kind", "message"),
    [
        ("cmc.png", UsageError, "only .svg can be drawn"),
        ("nowhere/cmc.svg", UsageError, "make it first"),
        ("folder.svg", OutputError, "choose another --plot"),
    ],
)
def test_a_plot_that_cannot_be_written_is_refused(
    tmp_path: Path, market: Path, plot: str, kind: type[WatchlineError], message: str
) -> None:
    (tmp_path / "folder.svg").mkdir()
    error = refusal(market, "--plot", tmp_path / plot)
    assert isinstance(error, kind)
    assert message in str(error)


def test_a_file_in_which_nobody_is_seen_twice_says_so(tmp_path: Path) -> None:
    path = tmp_path / "alone.npz"
    names = [f"{person:04d}_c1s1_000001_00.jpg" for person in (1, 2)]
    np.savez(path, qn=names[:1], qf=np.ones((1, 2)), gn=names[1:], gf=np.ones((1, 2)))
    assert str(refusal(path)).startswith(f"{path}: no query has a picture of the same person from another camera")


def test_a_damaged_file_ends_in_one_line_and_no_traceback(tmp_path: Path, market: Path) -> None:
    assert isinstance(refusal(tmp_path / "missing.npz"), StreamError)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(market.read_bytes()[:-40])
    result = watchline("eval", "reid", cut)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"watchline: {cut}: no .npz archive, or cut off; make it again with watchline reid extract"
    ]
