"""The contact sheet: one self-contained page with every query beside its answers, for a person to judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from watchline.pipeline.annotate import clock_text
from watchline.pipeline.contact_pictures import Grounds, Missing, Wanted, find_pictures, wanted
from watchline.pipeline.identifying import Ranking, Subjects, ranking_record
from watchline.pipeline.model import label_of
from watchline.pipeline.templating import render
from watchline.reid.embeddings import EmbeddingModel

MOST_PICTURES: Final = 2_000  # of one page: about 15 MB


@dataclass(frozen=True, slots=True)
class Side:
    """The gallery or the queries.

    Attributes:
        subjects: what there is.
        name: as the page calls it.
        grounds: where its pictures may be taken from.
    """

    subjects: Subjects
    name: str
    grounds: Grounds


@dataclass(frozen=True, slots=True)
class _Card:
    """A picture as the page shows it.

    Attributes:
        known: what is known of it; see `identifying.record_of`.
        label: which file it is, without the folders of this machine.
        image: data URI, or why there is none.
        time: as a clock shows it; "" where nobody says.
    """

    known: dict[str, Any]
    label: str
    image: str | Missing
    time: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """The page.

    Attributes:
        html: the page; it needs nothing but itself, and every text in it is escaped.
        outside: names of the files that it may not show pictures of, each once.
        hidden: pictures that are not shown for that.
    """

    html: str
    outside: tuple[str, ...]
    hidden: int


def render_sheet(
    gallery: Side,
    query: Side,
    rankings: Sequence[Ranking],
    model: EmbeddingModel,
    on_progress: Callable[[int], None] = lambda _found: None,
) -> Sheet:
    """Returns the page.

    Args:
        gallery: what was searched.
        query: what was asked for.
        rankings: the answers.
        model: what made the vectors.
        on_progress: called with the number of pictures that were dealt with so far.
    """
    shown = _shown(rankings)
    sources = [_sources(gallery, query, ranking) for ranking in shown]
    found = find_pictures((each for row in sources for each in row if isinstance(each, Wanted)), on_progress)
    rows = []
    for ranking, asked in zip(shown, sources, strict=True):
        record = ranking_record(gallery.subjects, query.subjects, ranking)
        known = (record["query"], *record["results"])
        images = (found.get(each, Missing.GONE) if isinstance(each, Wanted) else each for each in asked)
        rows.append([_card(about, image) for about, image in zip(known, images, strict=True)])
    cards = [card for row in rows for card in row]
    outside = [card.known["file"] for card in cards if card.image is Missing.OUTSIDE]
    html = render(
        "contact.html.j2",
        gallery=gallery,
        query=query,
        rows=rows,
        hidden=len(rankings) - len(shown),
        missing=sum(card.image is Missing.GONE for card in cards),
        outside=len(outside),
        model=model,
    )
    return Sheet(html, tuple(dict.fromkeys(outside)), len(outside))


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


def _sources(gallery: Side, query: Side, ranking: Ranking) -> list[Wanted | Missing]:
    """Returns where the picture of the query is to be found, then those of its answers; or why they are not."""
    answers = (wanted(gallery.subjects.features, match.row, gallery.grounds) for match in ranking.matches)
    return [wanted(query.subjects.features, ranking.row, query.grounds), *answers]


def _card(known: dict[str, Any], image: str | Missing) -> _Card:
    named = known["file"] or known["name"]
    return _Card(known, label_of(named) or "not known", image, _time_text(known["time_s"]))


def _time_text(time_s: float | None) -> str:
    return "" if time_s is None else clock_text(time_s)
