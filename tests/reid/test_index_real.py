"""The indexes on features of real people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.reid.index_kit import ask, entries, model_of, plain_answer
from watchline.detectors.boxes import F32
from watchline.reid.block_index import BlockIndex
from watchline.reid.exact_index import ExactIndex
from watchline.reid.faiss_index import FaissIndex

pytestmark = pytest.mark.data


def _features(data_dir: Path) -> tuple[F32, F32, list[str]]:
    """Returns queries, and a gallery with the camera of each picture, as its file's name has it."""
    path = data_dir / "reid" / "market150_osnet_feats.npz"
    if not path.exists():
        pytest.skip(f"no {path.name} in the test data")
    with np.load(path) as file:
        queries, gallery = (file[name].astype(np.float32) for name in ("qf", "gf"))
        cameras = [str(name).split("_")[1][:2] for name in file["gn"]]
    queries, gallery = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (queries, gallery))
    return queries, gallery, cameras


@pytest.mark.parametrize(("kind", "least"), [(ExactIndex, 1.0), (FaissIndex, 0.97)])
def test_it_finds_what_float64_finds_in_all_cameras_and_in_some(
    data_dir: Path, kind: type[BlockIndex], least: float
) -> None:
    if kind is FaissIndex:
        pytest.importorskip("faiss")
    queries, gallery, cameras = _features(data_dir)
    index = kind(model_of(512), block_rows=1000)
    index.add(entries(range(len(gallery)), gallery, cameras))
    for chosen in (None, ["c1", "c3"]):
        keys = np.flatnonzero([chosen is None or camera in chosen for camera in cameras])
        want = plain_answer(queries, keys, gallery[keys], 10)
        got = index.search(ask(queries), 10, cameras=chosen).key.tolist()
        assert np.mean([len({*a} & {*b}) / 10 for a, b in zip(got, want, strict=True)]) >= least
