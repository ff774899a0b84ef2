"""FaissIndex: the same search in a fifth of the memory, not exact: a byte for each number, with the extra `faiss`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.reid.block_index import BLOCK_ROWS, Block, BlockIndex
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.top_k import U8, Bool, merge
from watchline.streams.errors import UsageError
from watchline.trackers.tracks import I64

_RANGE: Final = 6.0  # standard deviations of a rotated number: one in a billion is beyond them, and is cut off
_SEED: Final = 8


class FaissIndex(BlockIndex):
    """Finds most of the most similar vectors; similarities are of the rounded vectors.

    Faiss rounds by a range of values that it usually learns from the first vectors. In a rotated space every unit
    vector has numbers of about 1 / sqrt(D), so the range is known before there is any vector, and stays right.

    Args:
        model: what makes the vectors.
        most: vectors that it may hold.
        block_rows: vectors in a block.

    Raises:
        UsageError: faiss is not installed.
    """

    def __init__(self, model: EmbeddingModel, most: int = 2_000_000, block_rows: int = BLOCK_ROWS) -> None:
        super().__init__(model, most, block_rows)
        self._faiss = _load()
        dimension = model.dimension
        spread = np.random.default_rng(_SEED).standard_normal((dimension, dimension))
        self._rotation: F32 = np.linalg.qr(spread)[0].astype(np.float32)
        self._codec = _quantizer(self._faiss, dimension)

    def _new_block(self, rows: int) -> Block:
        return _FaissBlock(self._faiss, rows, self.model.dimension)

    def _coded(self, unit: F32) -> tuple[NDArray[Any], ...]:
        return (self._codec.sa_encode(self._asked(unit)),)

    def _asked(self, unit: F32) -> F32:
        return np.ascontiguousarray(unit @ self._rotation)


class _FaissBlock(Block):
    """Its codes lie in a faiss index whose memory is written to directly: so what is removed is overwritten, too."""

    def __init__(self, faiss: Any, rows: int, dimension: int) -> None:
        self._faiss, self._index = faiss, _quantizer(faiss, dimension)
        self._index.codes.resize(rows * dimension)
        flat: U8 = faiss.rev_swig_ptr(self._index.codes.data(), rows * dimension)
        super().__init__(rows, flat.reshape(rows, dimension))

    def improve(self, queries: F32, wanted: Bool, similarity: F32, hit_key: I64) -> None:
        """Replaces hits by better ones among the rows."""
        parameters = None
        if len(wanted):
            bits = np.packbits(wanted, bitorder="little")  # faiss reads them where they lie, as long as it searches
            selector = self._faiss.IDSelectorBitmap(len(bits), self._faiss.swig_ptr(bits))
            parameters = self._faiss.SearchParameters(sel=selector)
        self._index.ntotal, k = self.count, min(similarity.shape[1], self.count)
        with _one_thread(self._faiss):
            near, at = self._index.search(queries, k, params=parameters)
        for row in range(len(queries)):
            found = at[row] >= 0
            merge(similarity[row], hit_key[row], near[row][found], self.key[at[row][found]])


@contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    """Lets faiss use the calling thread alone; OpenMP keeps that number for each thread that calls, not for all."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _load() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise UsageError(
            "faiss is not installed; `pip install 'watchline[faiss]'`, or use the exact index, which needs nothing more"
        ) from error
    return faiss


def _quantizer(faiss: Any, dimension: int) -> Any:
    """Returns an empty index that rounds each number to a byte, in the range of rotated unit vectors."""
    index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT)
    most = np.full(dimension, min(1.0, _RANGE / np.sqrt(dimension)), np.float32)
    index.train(np.stack([-most, most]))
    return index
