"""The contact sheet: one self-contained page with every query beside its answers, for a person to judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from watchline.pipeline.annotate import clock_text
from watchline.pipeline.contact_pictures import Wanted, find_pictures, wanted
from watchline.pipeline.identifying import Ranking, Subjects, ranking_record
from watchline.pipeline.templating import render
from watchline.reid.embeddings import EmbeddingModel

MOST_PICTURES: Final = 2_000  # of one page: about 15 MB


@dataclass(frozen=True, slots=True)
class Side:
    """The gallery or the queries.

    Attributes:
        subjects: what there is.
        spec: as the user named it.
        folder: from which names of files in it may be meant.
    """

    subjects: Subjects
    spec: str
    folder: Path


@dataclass(frozen=True, slots=True)
class _Card:
    """A picture as the page shows it.

    Attributes:
        known: what is known of it; see `identifying.record_of`.
        label: which file it is, short.
        image: data URI; "" where the picture is not there.
        time: as a clock shows it; "" where nobody says.
    """

    known: dict[str, Any]
    label: str
    image: str
    time: str


def render_sheet(
    gallery: Side,
    query: Side,
    rankings: Sequence[Ranking],
    model: EmbeddingModel,
    on_progress: Callable[[int], None] = lambda _found: None,
) -> str:
    """Returns the page as HTML; it needs nothing but itself, and every text in it is escaped.

    Args:
        gallery: what was searched.
        query: what was asked for.
        rankings: the answers.
        model: what made the vectors.
        on_progress: called with the number of pictures that were dealt with so far.
    """
    shown = _shown(rankings)
    sources = [_sources(gallery, query, ranking) for ranking in shown]
    found = find_pictures((each for row in sources for each in row if each is not None), on_progress)
    rows = []
    for ranking, asked in zip(shown, sources, strict=True):
        record = ranking_record(gallery.subjects, query.subjects, ranking)
        known = (record["query"], *record["results"])
        images = (found.get(each, "") if each else "" for each in asked)
        rows.append([_card(about, image) for about, image in zip(known, images, strict=True)])
    return render(
        "contact.html.j2",
        gallery=gallery,
        query=query,
        rows=rows,
        hidden=len(rankings) - len(shown),
        missing=sum(not card.image for row in rows for card in row),
        model=model,
        model_label=Path(model.name).name or model.name,
    )


def picture_count(rankings: Sequence[Ranking]) -> int:
    """Returns how many pictures the page shows at most."""
    return sum(1 + len(ranking.matches) for ranking in _shown(rankings))


def _shown(rankings: Sequence[Ranking]) -> list[Ranking]:
    shown: list[Ranking] = []
    room = MOST_PICTURES
    for ranking in rankings:
        room -= 1 + len(ranking.matches)
        if room < 0 and shown:
            break
        shown.append(ranking)
    return shown


def _sources(gallery: Side, query: Side, ranking: Ranking) -> list[Wanted | None]:
    """Returns where the picture of the query is to be found, then those of its answers."""
    answers = (wanted(gallery.subjects.features, match.row, gallery.folder) for match in ranking.matches)
    return [wanted(query.subjects.features, ranking.row, query.folder), *answers]


def _card(known: dict[str, Any], image: str) -> _Card:
    named = known["file"] or known["name"]
    label = Path(named).name or named or "not known"
    return _Card(known, label, image, "" if known["time_s"] is None else clock_text(known["time_s"]))
