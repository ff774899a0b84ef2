"""`python -m tests.bench.index`: an exact search beside NumPy and faiss, in turn in one run, one thread, by CPU time.

What is searched are mixes of real features with noise, rounded as the store rounds them. Every side's answer is checked
against float64 before any time is taken.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray

from tests.bench.table import table
from watchline.detectors.boxes import F32
from watchline.reid.block_index import BlockIndex
from watchline.reid.embeddings import EmbeddingModel, Embeddings, Kind
from watchline.reid.exact_index import ExactIndex
from watchline.reid.faiss_index import FaissIndex
from watchline.reid.index import Entries
from watchline.reid.top_k import TOP_K_BACKEND
from watchline.trackers.tracks import I64

ROOT: Final = Path(__file__).resolve().parent.parent.parent
K: Final = 10
MANY: Final = 32
CHUNK: Final = 20_000
BYTES_EACH: Final = 8_000  # of all sides together
LEAST_RECALL: Final = {"exact": 0.998, "rounded": 0.9}
ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
BARS_MS: Final = {(100_000, 1): 8.0, (1_000_000, 1): 75.0, (100_000, MANY): 60.0}

Search = Callable[[F32], I64]


@dataclass
class Side:
    """One way to search.

    Attributes:
        name: shown.
        kind: "exact" or "rounded": how much of the truth it must find.
        bytes_each: memory of a vector.
        search: keys (Q, 10) of queries (Q, D).
        cpu_ms: by number of queries, of each counted round.
        recall: against float64 on what was searched, and on what it was before it was rounded to float16.
    """

    name: str
    kind: str
    bytes_each: float
    search: Search
    cpu_ms: dict[int, list[float]] = field(default_factory=dict)
    recall: tuple[float, float] = (0.0, 0.0)


class Mixes:
    """Vectors like those of people: two real ones mixed, and noise.

    Args:
        real: (N, D) float32 of length 1.
        seed: chance.
    """

    def __init__(self, real: F32, seed: int) -> None:
        self._real, self._rng = real, np.random.default_rng(seed)

    def draw(self, count: int) -> F32:
        """Returns (count, D) of length 1."""
        first, second = (self._real[self._rng.integers(len(self._real), size=count)] for _ in range(2))
        share = self._rng.uniform(0, 0.5, (count, 1)).astype(np.float32)
        mixed = (1 - share) * first + share * second
        mixed += 0.02 * self._rng.standard_normal(mixed.shape, dtype=np.float32)
        return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


class Truth:
    """The 10 most similar by float64, collected chunk by chunk.

    Args:
        queries: (Q, D) float32.
    """

    def __init__(self, queries: F32) -> None:
        self._queries = _unit64(queries)
        self._best = np.full((len(queries), K), -np.inf)
        self.key: I64 = np.full((len(queries), K), -1, np.int64)

    def look(self, first: int, vectors: F32) -> None:
        """Takes (N, D) vectors into account, whose keys are `first` and on."""
        cosine = np.concatenate([self._best, self._queries @ _unit64(vectors).T], axis=1)
        keys = np.concatenate([self.key, np.tile(np.arange(first, first + len(vectors)), (len(self.key), 1))], axis=1)
        best = np.argsort(-cosine, axis=1, kind="stable")[:, :K]
        self._best, self.key = np.take_along_axis(cosine, best, 1), np.take_along_axis(keys, best, 1)

    def recall(self, key: I64) -> float:
        """Returns how many of the 10 were found, in [0, 1]."""
        return statistics.mean(len({*a} & {*b}) / K for a, b in zip(self.key.tolist(), key.tolist(), strict=True))

    @property
    def median_tenth(self) -> float:
        """The cosine of a tenth neighbour: how alike the data are to real ones."""
        return float(np.median(self._best[:, -1]))


def main() -> None:
    """Measures and prints a table for each size."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        again = [sys.executable, "-m", "tests.bench.index", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **ONE_THREAD})  # they are read when NumPy is loaded
    data = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.index", description=__doc__)
    parser.add_argument("--vectors", type=int, nargs="+", default=[100_000])
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds of each side")
    parser.add_argument("--features", type=Path, default=data / "reid" / "market150_osnet_feats.npz")
    parser.add_argument("--sides", nargs="+", help="these alone")
    arguments = parser.parse_args()
    with np.load(arguments.features) as file:
        real = np.concatenate([file["gf"], file["qf"]]).astype(np.float32)
    real /= np.linalg.norm(real, axis=1, keepdims=True)
    for count in arguments.vectors:
        need = count * BYTES_EACH
        if psutil.virtual_memory().available < need:
            sys.exit(f"{count:,} vectors: all sides together need {need / 1e9:.1f} GB of memory, and there is less")
        _measure(count, real, arguments.rounds, arguments.sides)


def _measure(count: int, real: F32, rounds: int, only: list[str] | None) -> None:
    queries = Mixes(real, seed=1).draw(MANY)
    rounded, before = Truth(queries), Truth(queries)
    sides = _sides(_chunks(count, real, rounded, before), count, real.shape[1])
    sides = [side for side in sides if not only or side.name in only]
    for side in sides:
        found = side.search(queries)
        side.recall = rounded.recall(found), before.recall(found)
        if side.recall[0] < LEAST_RECALL[side.kind]:
            sys.exit(f"{side.name}: recall@{K} {side.recall[0]:.4f}; no times, for its answers are wrong")
    for asked in (1, MANY):
        for turn in range(rounds + 1):
            for side in sides:
                first = turn % (MANY - asked + 1)
                start_s = time.process_time()
                side.search(queries[first : first + asked])
                if turn:  # the first warms caches
                    side.cpu_ms.setdefault(asked, []).append(1000 * (time.process_time() - start_s))
    print(f"{count:,} vectors of {real.shape[1]}, k {K}, cosine of a tenth neighbour {rounded.median_tenth:.2f}")
    print(_shown(sides), end="\n\n")
    for (vectors, asked), bar in BARS_MS.items():
        for side in sides:
            if vectors == count and side.name.startswith("ExactIndex"):
                got = statistics.median(side.cpu_ms[asked])
                print(f"{side.name}, {asked} queries: {got:.1f} ms of {bar:.0f}: {'yes' if got <= bar else 'NO'}")
    print(flush=True)


def _chunks(count: int, real: F32, rounded: Truth, before: Truth) -> Iterator[tuple[int, F32]]:
    """Yields the first key and the vectors of each chunk, as rounded as stored ones, and tells both truths."""
    mixes = Mixes(real, seed=2)
    for first in range(0, count, CHUNK):
        exact = mixes.draw(min(CHUNK, count - first))
        stored = exact.astype(np.float16).astype(np.float32)
        rounded.look(first, stored)
        before.look(first, exact)
        yield first, stored


def _sides(chunks: Iterator[tuple[int, F32]], count: int, dimension: int) -> list[Side]:
    import faiss

    model = EmbeddingModel("osnet", "0" * 64, Kind.BODY, dimension)
    ours: list[BlockIndex] = [ExactIndex(model), FaissIndex(model)]
    flat = faiss.IndexFlatIP(dimension)
    coarse = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    matrix = np.empty((count, dimension), np.float32)
    for first, vectors in chunks:
        unit = matrix[first : first + len(vectors)]
        np.divide(vectors, np.linalg.norm(vectors, axis=1, keepdims=True), out=unit)
        if not coarse.is_trained:
            coarse.train(unit)
        flat.add(unit)
        coarse.add(unit)
        for index in ours:
            index.add(_entries(model, first, vectors))
    wide = 4.0 * dimension
    exact, fifth = (index.counts.bytes / count for index in ours)
    return [
        Side("numpy", "exact", wide, lambda queries: _numpy(matrix, queries)),
        Side("faiss FlatIP", "exact", wide, lambda queries: _faiss(flat, queries)),
        Side("faiss SQ8", "rounded", wide / 4, lambda queries: _faiss(coarse, queries)),
        Side(f"ExactIndex ({TOP_K_BACKEND})", "exact", exact, lambda queries: _ours(ours[0], queries)),
        Side("FaissIndex", "rounded", fifth, lambda queries: _ours(ours[1], queries)),
    ]


def _entries(model: EmbeddingModel, first: int, vectors: F32) -> Entries:
    keys = np.arange(first, first + len(vectors))
    return Entries(model, keys, vectors, (keys % 50).astype(np.int32), tuple(map(str, range(50))), keys / 1, keys / 1)


def _numpy(matrix: F32, queries: F32) -> I64:
    cosine = matrix @ queries.T if len(queries) > 1 else (matrix @ queries[0])[:, None]
    found = []
    for column in np.ascontiguousarray(cosine.T):
        best = np.argpartition(column, len(column) - K)[-K:]
        found.append(best[np.argsort(-column[best], kind="stable")])
    return np.array(found)


def _faiss(index: Any, queries: F32) -> I64:
    found: I64 = index.search(queries, K)[1]
    return found


def _ours(index: BlockIndex, queries: F32) -> I64:
    return index.search(Embeddings(queries, np.arange(len(queries), dtype=np.int32), index.model), K).key


def _shown(sides: list[Side]) -> str:
    head = [
        "side",
        "1 query ms",
        "least",
        "x numpy",
        f"{MANY} queries ms",
        "least",
        "x numpy",
        "recall",
        "before f16",
        "B",
    ]
    rows = []
    for side in sides:
        cells = [side.name]
        for asked in (1, MANY):
            mine, numpys = (statistics.median(one.cpu_ms[asked]) for one in (side, sides[0]))
            cells += [f"{mine:.2f}", f"{min(side.cpu_ms[asked]):.2f}", f"{mine / numpys:.2f}"]
        rows.append([*cells, *(f"{recall:.4f}" for recall in side.recall), f"{side.bytes_each:.0f}"])
    return table(head, rows)


def _unit64(vectors: F32) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
