"""report.html: one self-contained page that a person looks at after a run."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from watchline.pipeline.album import Album, Card
from watchline.pipeline.annotate import clock_text as clock, track_colour as colour_of
from watchline.pipeline.summary import Summary

_CHART_WIDTH = 1000.0
_COUNTS_HEIGHT = 120.0
_ROW_HEIGHT, _LEAST_ROW_HEIGHT, _MOST_TIMELINE_HEIGHT = 16.0, 2.0, 900.0
_LABELLED_ROW = 11.0  # lower rows have no room for an id
_TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MOST_TICKS = 10


@dataclass(frozen=True, slots=True)
class _CardView:
    """A card as the page shows it."""

    track_id: int
    label: str
    colour: str
    image: str  # data URI, "" for none
    first: str
    last: str
    first_s: float
    seen_s: float
    frames: int
    score: float


@dataclass(frozen=True, slots=True)
class _Bar:
    """One unbroken presence of a track in the timeline, in SVG units."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    title: str


@dataclass(frozen=True, slots=True)
class _Label:
    """A text of a chart, in SVG units."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class _Span:
    """The time that the charts show."""

    start_s: float
    end_s: float

    def x(self, pts_s: float) -> float:
        """Returns where a time lies, SVG units."""
        return round((pts_s - self.start_s) / (self.end_s - self.start_s) * _CHART_WIDTH, 2)

    def ticks(self) -> list[_Label]:
        """Returns at most ten labelled times, at round values."""
        length = self.end_s - self.start_s
        step = next((s for s in _TICK_STEPS_S if length / s <= _MOST_TICKS), _TICK_STEPS_S[-1])
        first = int(-(-self.start_s // step))
        times = [i * step for i in range(first, int(self.end_s // step) + 1)][: 10 * _MOST_TICKS]
        return [_Label(self.x(time_s), 0.0, clock(time_s).partition(".")[0]) for time_s in times]


def render_report(summary: Summary, album: Album) -> str:
    """Returns the page as HTML; it needs nothing but itself, and every text in it is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("watchline.pipeline"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = album.cards
    span = _span(album, cards)
    bars, labels, timeline_height = _timeline(cards, album.labels, span)
    counts_line, counts_top = _counts(album, span)
    return environment.get_template("report.html.j2").render(
        s=summary,
        name=Path(summary.input.path).name or summary.input.path,
        cards=[_card_view(card, album.labels) for card in cards],
        without_card=album.without_card,
        ticks=span.ticks(),
        bars=bars,
        bar_labels=labels,
        chart_width=_CHART_WIDTH,
        timeline_height=timeline_height,
        counts_height=_COUNTS_HEIGHT,
        counts_line=counts_line,
        counts_top=counts_top,
        bin_s=album.counts.bin_s,
    )


def _card_view(card: Card, labels: Sequence[str]) -> _CardView:
    image = f"data:image/jpeg;base64,{base64.b64encode(card.crop).decode()}" if card.crop else ""
    return _CardView(
        track_id=card.track_id,
        label=labels[card.class_id],
        colour=_css(card.track_id),
        image=image,
        first=clock(card.first_s),
        last=clock(card.last_s),
        first_s=card.first_s,
        seen_s=sum(last - first for first, last in card.intervals),
        frames=card.frames,
        score=card.best_score,
    )


def _css(track_id: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour_of(track_id))


def _span(album: Album, cards: Sequence[Card]) -> _Span:
    means = album.counts.means()
    start_s = min([time_s for time_s, _ in means] + [card.first_s for card in cards], default=0.0)
    end_s = max([time_s for time_s, _ in means] + [card.last_s for card in cards], default=1.0)
    return _Span(start_s, max(end_s, start_s + 1.0))


def _timeline(cards: Sequence[Card], labels: Sequence[str], span: _Span) -> tuple[list[_Bar], list[_Label], float]:
    """Returns a row a track: bars, ids where a row has room for one, and the height of all."""
    row = max(_LEAST_ROW_HEIGHT, min(_ROW_HEIGHT, _MOST_TIMELINE_HEIGHT / max(1, len(cards))))
    bars, ids = [], []
    for i, card in enumerate(cards):
        for first_s, last_s in card.intervals:
            title = f"#{card.track_id} {labels[card.class_id]} {clock(first_s)} to {clock(last_s)}"
            width = max(2.0, span.x(last_s) - span.x(first_s))
            bars.append(_Bar(span.x(first_s), i * row, width, row * 0.8, _css(card.track_id), title))
        if row >= _LABELLED_ROW:
            ids.append(_Label(span.x(card.first_s), (i + 0.62) * row, f"#{card.track_id}"))
    return bars, ids, round(max(1, len(cards)) * row, 1)


def _counts(album: Album, span: _Span) -> tuple[str, float]:
    """Returns the points of the area under the mean counts, and the count at its top."""
    means = album.counts.means()
    top = max([1.0, *(count for _, count in means)])
    points = [(span.x(time_s), _COUNTS_HEIGHT * (1 - count / top)) for time_s, count in means]
    if not points:
        return "", top
    outline = [(points[0][0], _COUNTS_HEIGHT), *points, (points[-1][0], _COUNTS_HEIGHT)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in outline), top
