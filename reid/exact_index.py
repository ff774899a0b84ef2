"""ExactIndex: the k most similar vectors without approximation, from a float32 matrix in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.reid.block_index import BLOCK_ROWS, Block, BlockIndex
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.top_k import U8, Bool, encode, padded, padded_width, top_k
from watchline.trackers.tracks import I64


class ExactIndex(BlockIndex):
    """Finds the most similar vectors, all of them, always: the same ones on every processor.

    A vector takes 5 bytes for each of its numbers: a float32, and a byte by which most are ruled out without reading
    the rest: memory is what a search waits for.

    Args:
        model: what makes the vectors.
        most: vectors that it may hold.
        block_rows: vectors in a block.
    """

    def __init__(self, model: EmbeddingModel, most: int = 2_000_000, block_rows: int = BLOCK_ROWS) -> None:
        super().__init__(model, most, block_rows)
        self._width = padded_width(model.dimension)

    def _new_block(self, rows: int) -> Block:
        return _ExactBlock(rows, self._width)

    def _coded(self, unit: F32) -> tuple[NDArray[Any], ...]:
        rows = self._asked(unit)
        return rows, *encode(rows)

    def _asked(self, unit: F32) -> F32:
        return padded(unit)


class _ExactBlock(Block):
    def __init__(self, rows: int, width: int) -> None:
        self._vectors: F32 = np.zeros((rows, width), np.float32)
        self._codes: U8 = np.zeros((rows, width), np.uint8)
        self._scale: F32 = np.zeros(rows, np.float32)
        self._rest: F32 = np.zeros(rows, np.float32)
        super().__init__(rows, self._vectors, self._codes, self._scale, self._rest)

    def improve(self, queries: F32, wanted: Bool, similarity: F32, hit_key: I64) -> None:
        """Replaces hits by better ones among the rows."""
        used = slice(self.count)
        coded = (self._codes[used], self._scale[used], self._rest[used])
        top_k(self._vectors[used], *coded, self.key[used], wanted, queries, similarity, hit_key)
