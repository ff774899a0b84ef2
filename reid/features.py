"""Files of features: vectors of pictures of people, what each is of, and the model that made them.

A file is a NumPy archive (.npz) that `numpy.load` opens too, without pickles. Each member is a column:

    about      one JSON text: form, version, and the model (name, sha256, kind, dimension)
    vectors    (N, D) float32
    box, time_s, track_id, quality, person_id, query: as in `FeatureSet`
    names, file, camera    (N,) int32, numbers of texts
    text       (B,) uint8, all texts, each once, one after the other in UTF-8
    text_ends  (T,) int64, where in `text` each one ends

Archives of the Market-1501 form are read as well: `qf` and `gf` are features of queries and gallery as the network
gave them, `qn` and `gn` the names of their pictures (`market_name` takes them apart).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Self, TypeAlias
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.detectors.detections import I32
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.npz import MOST_BYTES, Archive, Damage, text_memory
from watchline.streams.errors import OutputError, StreamError

Text: TypeAlias = NDArray[np.object_]  # of str: NumPy's own text takes for each as much as the longest
Flags: TypeAlias = NDArray[np.bool_]

DISTRACTOR: Final = 0  # person_id: none of the people that are asked for
JUNK: Final = -1  # person_id: a picture that counts neither for nor against; left out
UNKNOWN: Final = -2  # person_id: nobody said who it is; left out likewise

_FORM, _VERSION = "watchline-features", 2
_TEXTS: Final = ("names", "file", "camera")
_MARKET_FORM: Final = ("qf", "qn", "gf", "gn")
_MARKET_NAME = re.compile(r"(?P<person>-?\d{1,9})_(?P<recording>(?P<camera>c\d{1,4})s\d{1,6})_")
LONGEST_TEXT: Final = 4096  # characters: as long as a path may be
_WIDEST: Final = 16384  # numbers in a vector


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSet:
    """Vectors of N pictures of people, and what each picture is.

    Attributes:
        vectors: (N, D) float32, finite, as the model gave them: see `unit`.
        names: (N,) text, what a person calls the picture: the name of its file, or of the video with a time.
        file: (N,) text, the picture or video that it was cut from; "" where not known.
        camera: (N,) text; "" where not known.
        box: (N, 4) float32, xyxy pixels in the whole frame; NaN where not known.
        time_s: (N,) float64, seconds since the start of `file`; NaN where not known.
        track_id: (N,) int64, of the track in `file` and `camera`; -1 for a picture on its own.
        quality: (N,) float32 in [0, 1], how good the picture is; NaN where not known.
        person_id: (N,) int32, who it is, from 1; else DISTRACTOR, JUNK or UNKNOWN.
        query: (N,) bool, the picture is asked for; the others are the gallery.
        model: what made the vectors; its `sha256` is "" where the file does not say.

    Raises:
        ValueError: a wrong dtype or shape, or a vector that is not finite.
    """

    vectors: F32
    names: Text
    file: Text
    camera: Text
    box: F32
    time_s: NDArray[np.float64]
    track_id: NDArray[np.int64]
    quality: F32
    person_id: I32
    query: Flags
    model: EmbeddingModel

    def __post_init__(self) -> None:
        n = len(self.vectors)
        expect("vectors", self.vectors, np.float32, (n, self.model.dimension))
        for name in _TEXTS:
            text = getattr(self, name)
            if text.dtype.kind != "O" or text.shape != (n,) or not all(isinstance(each, str) for each in text):
                raise ValueError(f"{name}: want text ({n},), got {text.dtype} {text.shape}")
        expect("box", self.box, np.float32, (n, 4))
        expect("time_s", self.time_s, np.float64, (n,))
        expect("track_id", self.track_id, np.int64, (n,))
        expect("quality", self.quality, np.float32, (n,))
        expect("person_id", self.person_id, np.int32, (n,))
        expect("query", self.query, np.bool_, (n,))
        finite = np.isfinite(self.vectors).all(axis=1)
        if not finite.all():
            raise ValueError(f"vectors: row {int((~finite).argmax())} holds NaN or infinity")

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def of(
        cls,
        vectors: F32,
        model: EmbeddingModel,
        *,
        names: Sequence[str] | Text | None = None,
        file: Sequence[str] | Text | None = None,
        camera: Sequence[str] | Text | None = None,
        box: F32 | None = None,
        time_s: NDArray[np.float64] | None = None,
        track_id: NDArray[np.int64] | None = None,
        quality: F32 | None = None,
        person_id: I32 | None = None,
        query: Flags | None = None,
    ) -> Self:
        """Returns a set in which every column that is not given says "not known"; `query` is False."""
        n = len(vectors)

        def texts(given: Sequence[str] | Text | None) -> Text:
            return np.full(n, "", object) if given is None else np.array(given, dtype=object)

        return cls(
            vectors,
            texts(names),
            texts(file),
            texts(camera),
            np.full((n, 4), np.nan, np.float32) if box is None else box,
            np.full(n, np.nan) if time_s is None else time_s,
            np.full(n, -1, np.int64) if track_id is None else track_id,
            np.full(n, np.nan, np.float32) if quality is None else quality,
            np.full(n, UNKNOWN, np.int32) if person_id is None else person_id,
            np.zeros(n, np.bool_) if query is None else query,
            model,
        )

    def take(self, rows: NDArray[np.integer] | Flags) -> Self:
        """Returns the set of `rows`: numbers of rows, or a mask (N,)."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return type(self)(**columns, model=self.model)

    def unit(self) -> F32:
        """Returns (N, D) float32: the vectors scaled to length 1; a vector of zeros stays."""
        return unit(self.vectors)


_COLUMNS: Final = tuple(field.name for field in fields(FeatureSet) if field.name != "model")


def unit(vectors: F32) -> F32:
    """Returns (N, D) float32: `vectors` scaled to length 1; one of zeros stays."""
    # Scaled by the largest number first: squares of very large or small numbers leave float32's range.
    largest = np.abs(vectors).max(axis=1, initial=0, keepdims=True)
    scaled: F32 = np.divide(vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    np.divide(scaled, length, out=scaled, where=length > 0)
    return scaled


def market_name(name: str) -> tuple[int, str, str] | None:
    """Returns person, camera and recording of a picture that is named as in Market-1501; None for other names.

    >>> market_name("0002_c1s1_000451_03.jpg")
    (2, 'c1', 'c1s1')
    """
    found = _MARKET_NAME.match(name)
    return (int(found["person"]), found["camera"], found["recording"]) if found else None


def write_features(path: Path, features: FeatureSet) -> None:
    """Writes `features` to `path`, whole or not at all.

    Raises:
        OutputError: the system refuses, or a text is too long; what was there before stays.
    """
    for name in _TEXTS:
        longest = max(map(len, getattr(features, name)), default=0)
        if longest > LONGEST_TEXT:
            raise OutputError(f"{path}: a {name} of {longest} characters is too long; want {LONGEST_TEXT} at most")
    about = json.dumps({"form": _FORM, "version": _VERSION, "model": asdict(features.model)})
    plain = {name: getattr(features, name) for name in _COLUMNS if name not in _TEXTS}
    members = {"about": np.array(about), **plain, **_numbered(features)}
    size = sum(column.nbytes for column in members.values())
    size += text_memory(len(members["text_ends"]), len(members["text"]), len(_TEXTS) * len(features))
    if size > MOST_BYTES or len(about) > LONGEST_TEXT:
        what = "the model's name" if len(about) > LONGEST_TEXT else f"{size >> 20} MiB of features"
        raise OutputError(f"{path}: {what} would be too much to be read again; write several files")
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            with ZipFile(file, "w") as archive:
                for name, column in members.items():
                    _add(archive, name, column)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        reason = (error.strerror or str(error)).lower()
        raise OutputError(
            f"{path}: cannot write ({reason}); free the disk, allow writing there or choose another"
        ) from error


def _numbered(features: FeatureSet) -> dict[str, NDArray[np.generic]]:
    """Returns all texts, each once, and the columns of texts as numbers of these: a path may be that of all rows."""
    numbers: dict[str, int] = {}
    columns = {
        name: np.array([numbers.setdefault(text, len(numbers)) for text in getattr(features, name)], np.int32)
        for name in _TEXTS
    }
    parts = [text.encode("utf-8", "surrogatepass") for text in numbers]  # names of files need be no UTF-8
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return {**columns, "text": np.frombuffer(b"".join(parts), np.uint8), "text_ends": ends}


def _add(archive: ZipFile, name: str, column: NDArray[np.generic]) -> None:
    # Vectors do not shrink; names and numbers, which are much alike, do.
    archive.compression = ZIP_STORED if name == "vectors" else ZIP_DEFLATED
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.asarray(column, order="C"), version=(1, 0), allow_pickle=False)


def read_features(path: Path, most_bytes: int = MOST_BYTES) -> FeatureSet:
    """Returns what a file of features holds: watchline's own form, or the Market-1501 form.

    Args:
        path: of the file.
        most_bytes: of memory that its columns may take; a file that says more is refused before any is taken.

    Raises:
        StreamError: no such file, or it is damaged, foreign, of a later version, too large, or holds what no
            features are.
    """
    try:
        with Archive(path, most_bytes) as archive:
            if "about" in archive.names:
                return _read_own(archive)
            if set(_MARKET_FORM) <= archive.names:
                return _read_market(archive)
            raise Damage("neither watchline's features nor of the Market-1501 form (qf, qn, gf, gn)")
    except (Damage, ValueError) as problem:
        raise StreamError(f"{path}: {problem}; make it again with watchline reid extract") from problem
    except OSError as error:
        raise StreamError(f"{path}: cannot read ({(error.strerror or str(error)).lower()}); check the name") from error


def _read_own(archive: Archive) -> FeatureSet:
    try:
        about = json.loads(str(archive.text("about", (), LONGEST_TEXT)))
        if about["form"] != _FORM:
            raise ValueError(about["form"])
        version, said = int(about["version"]), about["model"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Damage("damaged, or not written by watchline (`about` says nothing known)") from error
    if version != _VERSION:
        raise Damage(f"features of version {version}, known here: {_VERSION}")
    try:
        model = EmbeddingModel(str(said["name"]), str(said["sha256"]), Kind(said["kind"]), int(said["dimension"]))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Damage("damaged: `about` names no model") from error
    vectors = archive.numbers("vectors", (-1, -1), np.float32)
    _refuse_wide(vectors)
    if vectors.shape[1] != model.dimension:
        raise Damage(f"damaged: vectors of {vectors.shape[1]} numbers, its model makes {model.dimension}")
    n, texts = len(vectors), archive.texts("text", "text_ends", LONGEST_TEXT)
    names, file, camera = (archive.chosen(name, n, texts) for name in _TEXTS)
    return FeatureSet(
        vectors,
        names=names,
        file=file,
        camera=camera,
        box=archive.numbers("box", (n, 4), np.float32),
        time_s=archive.numbers("time_s", (n,), np.float64),
        track_id=archive.numbers("track_id", (n,), np.int64),
        quality=archive.numbers("quality", (n,), np.float32),
        person_id=archive.numbers("person_id", (n,), np.int32),
        query=archive.numbers("query", (n,), np.bool_),
        model=model,
    )


def _read_market(archive: Archive) -> FeatureSet:
    """Returns queries, then gallery. A track is a person's pictures in one recording; a distractor has none."""
    query, gallery = (archive.numbers(name, (-1, -1), np.float32) for name in ("qf", "gf"))
    _refuse_wide(query)
    if query.shape[1] != gallery.shape[1]:
        raise Damage(f"damaged: qf has vectors of {query.shape[1]} numbers, gf of {gallery.shape[1]}")
    counts = ("qn", len(query)), ("gn", len(gallery))
    names = np.concatenate([archive.text(name, (n,), LONGEST_TEXT) for name, n in counts])
    found = [market_name(name) for name in names.tolist()]
    for name, parts in zip(names.tolist(), found, strict=True):
        if parts is None:
            raise Damage(f"{name[:80]!r}: no picture's name of Market-1501, want such as 0002_c1s1_000451_03.jpg")
    known = [parts for parts in found if parts is not None]
    person = np.array([parts[0] for parts in known], np.int32)
    return FeatureSet.of(
        np.concatenate([query, gallery]),
        EmbeddingModel("not said", "", Kind.BODY, query.shape[1]),
        names=names,
        file=[parts[2] for parts in known],
        camera=[parts[1] for parts in known],
        track_id=np.where(person > DISTRACTOR, person, -1).astype(np.int64),
        person_id=person,
        query=np.arange(len(names)) < len(query),
    )


def _refuse_wide(vectors: F32) -> None:
    if not 0 < vectors.shape[1] <= _WIDEST:
        raise Damage(f"vectors of {vectors.shape[1]} numbers; want 1 to {_WIDEST}")
