"""Pictures of people into features: from folders, lists and single pictures, and what videos give beside them."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.pipeline.cropping import Box, cut, read_picture
from watchline.pipeline.picture_lists import Still
from watchline.reid.describe import BodyEmbedder
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.features import UNKNOWN, FeatureSet
from watchline.reid.quality import Gate, sharpness
from watchline.streams.errors import StreamError, UsageError
from watchline.streams.frame import U8

MOST_ROWS: Final = 1_000_000  # of one file of features: 2 GB where a vector has 512 numbers
MOST_NAMED: Final = 20  # problems told in full

_CHUNK: Final = 16  # pictures a worker takes at once
_CHUNK_BYTES: Final = 64 << 20  # of decoded pictures that wait in a worker, about
_NO_BOX: Final[Box] = (math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a picture, beside its vector; fields as in `FeatureSet`."""

    name: str
    file: str
    camera: str = ""
    box: Box = _NO_BOX
    time_s: float = math.nan
    track_id: int = -1
    quality: float = math.nan
    person_id: int = UNKNOWN
    query: bool = False


@dataclass(slots=True)
class Problems:
    """What went wrong and could be lived with: the first few in full, the others counted."""

    count: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Takes one more."""
        self.count += 1
        if len(self.lines) < MOST_NAMED:
            self.lines.append(line)

    def told(self) -> list[str]:
        """Returns the lines to show.

        >>> Problems(count=3, lines=["a.jpg: is empty"]).told()
        ['a.jpg: is empty', 'and 2 more']
        """
        hidden = self.count - len(self.lines)
        return [*self.lines, *([f"and {hidden} more"] if hidden else [])]


class FeatureRows:
    """Rows and their vectors, in the order in which they came; used by one thread at a time.

    Args:
        model: what makes the vectors.
        most: rows at most.
    """

    def __init__(self, model: EmbeddingModel, most: int = MOST_ROWS) -> None:
        self.model = model
        self._most = most
        self._rows: list[Row] = []
        self._vectors: list[F32] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Sequence[Row], vectors: F32) -> None:
        """Takes N rows and their (N, D) vectors.

        Raises:
            UsageError: that is more than one file may hold.
        """
        if len(self._rows) + len(rows) > self._most:
            raise UsageError(f"more than {self._most} pictures for one file; take the input in parts, or --best 1")
        self._rows += rows
        self._vectors.append(vectors)

    def features(self) -> FeatureSet:
        """Returns all of it."""
        rows = self._rows
        none = np.empty((0, self.model.dimension), np.float32)
        return FeatureSet.of(
            np.concatenate([none, *self._vectors]),
            self.model,
            names=[row.name for row in rows],
            file=[row.file for row in rows],
            camera=[row.camera for row in rows],
            box=np.array([row.box for row in rows], np.float32).reshape(-1, 4),
            time_s=np.array([row.time_s for row in rows], np.float64),
            track_id=np.array([row.track_id for row in rows], np.int64),
            quality=np.array([row.quality for row in rows], np.float32),
            person_id=np.array([row.person_id for row in rows], np.int32),
            query=np.array([row.query for row in rows], np.bool_),
        )


@dataclass(frozen=True, slots=True)
class _Described:
    """What came of a few pictures, in their order."""

    asked: int
    rows: list[Row]
    vectors: F32
    problems: list[str]
    small: int


def extract_stills(
    stills: Sequence[Still],
    embedder: BodyEmbedder,
    found: FeatureRows,
    problems: Problems,
    stop: threading.Event,
    *,
    query: bool = False,
    workers: int = 1,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> int:
    """Describes pictures, several at a time; the result is in their order, whatever `workers` is.

    Args:
        stills: what to describe.
        embedder: describes.
        found: takes what came of it.
        problems: takes a line for each picture that cannot be read.
        stop: set it to end early; the rest is left out.
        query: mark them as asked for.
        workers: threads.
        on_progress: called with the number of pictures that were looked at so far.

    Returns:
        How many are smaller than a picture of a track may be.

    Raises:
        UsageError: more than a file may hold.
        ModelError: the network failed.
    """
    done = small = 0
    for described in _in_order(stills, embedder, stop, query, workers):
        found.add(described.rows, described.vectors)
        for line in described.problems:
            problems.add(line)
        done += described.asked
        small += described.small
        on_progress(done)
    return small


def _in_order(
    stills: Sequence[Still], embedder: BodyEmbedder, stop: threading.Event, query: bool, workers: int
) -> Iterator[_Described]:
    """Yields what comes of each chunk; a few are under way or wait, never more."""
    under_way: deque[Future[_Described]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="describe")
    try:
        for start in range(0, len(stills), _CHUNK):
            if stop.is_set():
                break
            under_way.append(pool.submit(_describe, stills[start : start + _CHUNK], embedder, stop, query))
            if len(under_way) > workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _describe(stills: Sequence[Still], embedder: BodyEmbedder, stop: threading.Event, query: bool) -> _Described:
    rows: list[Row] = []
    vectors = [embedder.embed([])]
    crops: list[U8] = []
    small, least = 0, Gate()
    reader = _Reader()
    for still in stills:
        if stop.is_set():
            break
        crop = reader.read(still)
        if crop is None:
            continue
        crops.append(crop)
        small += crop.shape[0] < least.least_height_px or crop.shape[1] < least.least_width_px
        rows.append(_row(still, crop, query))
        if sum(crop.nbytes for crop in crops) > _CHUNK_BYTES:
            vectors.append(embedder.embed(crops))
            crops = []
    vectors.append(embedder.embed(crops))
    return _Described(len(stills), rows, np.concatenate(vectors), reader.problems, small)


def _row(still: Still, crop: U8, query: bool) -> Row:
    return Row(
        name=still.name,
        file=str(still.path),
        camera=still.camera,
        box=still.box or _NO_BOX,
        time_s=still.time_s,
        quality=min(1.0, crop.shape[0] / Gate().full_height_px) * sharpness(crop),
        person_id=still.person_id,
        query=query,
    )


class _Reader:
    """Reads pictures; a file with several boxes, one after the other, is decoded once.

    Attributes:
        problems: a line for each that could not be read.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._path: object = None
        self._found: U8 | None = None

    def read(self, still: Still) -> U8 | None:
        """Returns (H, W, 3) uint8 RGB; None if it cannot be read."""
        try:
            if still.path != self._path:
                self._path, self._found = still.path, None
                self._found = read_picture(still.path)
            if self._found is None or still.box is None:  # its problem was told before
                return self._found
            return cut(self._found, still.box, str(still.path)).copy()
        except StreamError as error:
            self.problems.append(str(error))
            return None
