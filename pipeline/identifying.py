"""Who is it? The pictures of a gallery that are most like those that are asked for, by cosine, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32
from watchline.reid.describe import mean_of
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.features import DISTRACTOR, FeatureSet
from watchline.reid.top_k import nearest
from watchline.streams.errors import StreamError

CSV_COLUMNS: Final = (
    *("query", "query_file", "query_track_id", "rank", "similarity", "name", "file", "camera", "time_s", "track_id"),
    *("person_id", "same_person", "pictures", "x1", "y1", "x2", "y2"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """What is searched, or asked for: tracks, each one vector of its pictures, and pictures on their own.

    Attributes:
        features: the pictures.
        vectors: (M, D) float32, each of length 1; zeros for a picture whose vector has no direction.
        rows: of each, its rows in `features`.
        keys: of each, what tells it from all others; equal where it is the same track, or the same picture.
    """

    features: FeatureSet
    vectors: F32
    rows: tuple[I32, ...]
    keys: tuple[tuple[object, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def best_row(self, subject: int) -> int:
        """Returns the row of the picture of highest quality; the first where nobody says."""
        rows = self.rows[subject]
        return int(rows[np.nan_to_num(self.features.quality[rows], nan=-1.0).argmax()])

    def nearest_row(self, subject: int, vector: F32) -> int:
        """Returns the row of the picture that is most like `vector` (D,)."""
        rows = self.rows[subject]
        return int(rows[(self.features.vectors[rows] @ vector).argmax()])


@dataclass(frozen=True, slots=True)
class Match:
    """One answer.

    Attributes:
        subject: in the gallery.
        row: of its picture that is most like the query.
        similarity: cosine, in [-1, 1].
    """

    subject: int
    row: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answers to one query, the most like it first.

    Attributes:
        subject: among the queries.
        row: of its picture of highest quality.
        matches: at most as many as were asked for.
    """

    subject: int
    row: int
    matches: tuple[Match, ...]


def subjects_of(features: FeatureSet, what: str) -> Subjects:
    """Returns what there is to compare: pictures of one track, in one file and camera, are folded into one.

    Args:
        features: pictures.
        what: the file or folder that they are of, for the error.

    Raises:
        StreamError: there is no picture.
    """
    if not len(features):
        raise StreamError(f"{what}: holds no picture of a person; nothing can be compared with it")
    unit = features.unit()
    found: dict[tuple[object, ...], list[int]] = {}
    for row, key in enumerate(_keys(features)):
        found.setdefault(key, []).append(row)
    rows = tuple(np.array(each, np.int32) for each in found.values())
    vectors = [unit[each[0]] if len(each) == 1 else mean_of(unit[each], features.model).vector for each in rows]
    return Subjects(replace(features, vectors=unit), np.stack(vectors), rows, tuple(found))


def _keys(features: FeatureSet) -> Iterator[tuple[object, ...]]:
    """Yields of each row what it shares with the other pictures of its track, and with nothing else."""
    columns = (features.file, features.camera, features.track_id, features.box, features.time_s)
    # A file is the same however it is named: with its folder, or from it.
    whole = {file: str(Path(file).absolute()) if file else "" for file in np.unique(features.file).tolist()}
    for row, (named, camera, track, box, time_s) in enumerate(zip(*(each.tolist() for each in columns), strict=True)):
        file = whole[named]
        if track >= 0:
            yield "track", file, camera, track
        elif file:
            place = (-1.0 if math.isnan(value) else value for value in (*box, time_s))
            yield "picture", file, *place
        else:
            yield "row", features, row  # itself, not its id: that of one that is gone may be given anew


def rank(gallery: Subjects, query: Subjects, top: int) -> list[Ranking]:
    """Returns for each query the gallery's subjects that are most like it; a query is no answer to itself.

    Args:
        gallery: what is searched.
        query: what is asked for, of the same model.
        top: answers a query, at most.
    """
    place = {key: i for i, key in enumerate(gallery.keys)}
    # One more than is wanted: it may be the query itself.
    similarity, subject = nearest(gallery.vectors, query.vectors, top + 1)
    rankings = []
    for i, found in enumerate(zip(subject.tolist(), similarity.tolist(), strict=True)):
        itself = place.get(query.keys[i])
        others = [(each, like) for each, like in zip(*found, strict=True) if each != itself][:top]
        matches = tuple(_match(gallery, query.vectors[i], each, like) for each, like in others)
        rankings.append(Ranking(i, query.best_row(i), matches))
    return rankings


def _match(gallery: Subjects, vector: F32, subject: int, similarity: float) -> Match:
    # A sum may end a hair above 1.
    return Match(subject, gallery.nearest_row(subject, vector), min(1.0, max(-1.0, similarity)))


def record_of(subjects: Subjects, subject: int, row: int) -> dict[str, Any]:
    """Returns what is known of one picture, as JSON has it; null where nobody says."""
    features = subjects.features
    person, track = int(features.person_id[row]), int(features.track_id[row])
    box = [_number(value) for value in features.box[row]]
    return {
        "name": str(features.names[row]),
        "file": str(features.file[row]) or None,
        "camera": str(features.camera[row]) or None,
        "time_s": _number(features.time_s[row]),
        "track_id": track if track >= 0 else None,
        "person_id": person if person > DISTRACTOR else None,
        "box": None if None in box else box,
        "quality": _number(features.quality[row]),
        "pictures": len(subjects.rows[subject]),
    }


def ranking_record(gallery: Subjects, query: Subjects, ranking: Ranking) -> dict[str, Any]:
    """Returns one query and its answers, as JSON has them."""
    asked = record_of(query, ranking.subject, ranking.row)
    results = []
    for number, match in enumerate(ranking.matches, 1):
        found = record_of(gallery, match.subject, match.row)
        results.append({"rank": number, "similarity": round(match.similarity, 6), **found, "same_person": None})
        # Nobody is "another person" who was not named: distractors are people, too.
        if asked["person_id"] is not None and found["person_id"] is not None:
            results[-1]["same_person"] = asked["person_id"] == found["person_id"]
    return {"query": asked, "results": results}


def model_record(model: EmbeddingModel) -> dict[str, Any]:
    """Returns what made the vectors, as JSON has it."""
    return {"name": model.name, "sha256": model.sha256 or None, "kind": str(model.kind), "dimension": model.dimension}


def csv_rows(records: Sequence[dict[str, Any]]) -> Iterator[list[object]]:
    """Yields the rows of a table, its head first: one for each answer; empty where nobody says."""
    yield list(CSV_COLUMNS)
    for record in records:
        asked = record["query"]
        for found in record["results"]:
            values = {
                **found,
                **{f"query_{name}": asked[name] for name in ("file", "track_id")},
                "query": asked["name"],
                **dict(zip(("x1", "y1", "x2", "y2"), found["box"] or (), strict=False)),
            }
            yield ["" if (value := values.get(name)) is None else value for name in CSV_COLUMNS]


def _number(value: float | np.floating[Any]) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None  # JSON knows no infinity
