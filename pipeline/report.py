"""report.html: one self-contained page that a person looks at after a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from watchline.pipeline.album import Album, Card
from watchline.pipeline.annotate import clock_text, ink_on, track_colour
from watchline.pipeline.recognition import people_line
from watchline.pipeline.summary import Summary
from watchline.pipeline.templating import picture, render

_LANE_PX, _LEAST_LANE_PX, _LANES_PX = 18.0, 6.0, 560.0  # height of a lane, and of all before lanes get thinner
_LABELLED_LANE_PX, _LABEL_SHARE = 13.0, 0.045  # a bar thinner, or shorter than this share of the time, bears no id
_LANE_GAP = 0.004  # share of the time that parts two tracks in a lane
_LEAST_BAR = 0.003  # share of the time; what is shorter could not be seen
_MOST_TICKS = 7  # as many as a telephone has room for
_TICK_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, slots=True)
class _Tick:
    """A labelled place on an axis."""

    percent: float
    text: str


@dataclass(frozen=True, slots=True)
class _Bar:
    """One unbroken presence; left and width in per cent of the time shown."""

    left: float
    width: float


@dataclass(frozen=True, slots=True)
class _Track:
    """A track as the page shows it: a card, and bars in a lane of the timeline."""

    card: Card
    label: str
    colour: str
    ink: str
    image: str  # data URI; "" for none
    face: str  # likewise, of its face
    first: str
    last: str
    seen_s: float
    video_s: float
    lane: int
    bars: tuple[_Bar, ...]
    whole: _Bar
    labelled: bool


@dataclass(frozen=True, slots=True)
class _Span:
    """The time that the page shows."""

    start_s: float
    length_s: float

    def percent(self, pts_s: float) -> float:
        """Returns where a time lies, in per cent."""
        return round(100 * (pts_s - self.start_s) / self.length_s, 3)

    def bar(self, first_s: float, last_s: float) -> _Bar:
        """Returns the bar of a presence, wide enough to be seen and within the picture."""
        width = max(self.percent(last_s) - self.percent(first_s), 100 * _LEAST_BAR)
        return _Bar(round(min(self.percent(first_s), 100 - width), 3), round(width, 3))

    def ticks(self) -> list[_Tick]:
        """Returns a few labelled times at round values."""
        least = self.length_s / _MOST_TICKS
        step = next((s for s in _TICK_STEPS_S if s >= least), math.ceil(least / 86400) * 86400)
        first = math.ceil(self.start_s / step)
        times = [i * step for i in range(first, math.floor((self.start_s + self.length_s) / step) + 1)]
        cut = -1 if step < 1 else -3  # "00:01.5" or "00:02"
        return [_Tick(self.percent(time_s), clock_text(time_s)[:cut]) for time_s in times]


def render_report(summary: Summary, album: Album) -> str:
    """Returns the page as HTML; it needs nothing but itself, and every text in it is escaped."""
    span = _span(album)
    tracks = _tracks(album, span)
    lanes = 1 + max((track.lane for track in tracks), default=0)
    top, points = _counts(album, span)
    return render(
        "report.html.j2",
        s=summary,
        people_line=people_line(summary.sightings) if summary.sightings else "",
        name=Path(summary.input.path).name or summary.input.path,
        tracks=tracks,
        without_card=album.without_card,
        covered=clock_text(span.length_s),
        ticks=span.ticks(),
        lanes=lanes,
        lane_px=round(min(_LANE_PX, max(_LEAST_LANE_PX, _LANES_PX / lanes)), 1),
        counts_points=points,
        counts_top=top,
        bin_s=album.counts.bin_s,
        sketched=any(track.image and track.card.sketch for track in tracks),
    )


def _span(album: Album) -> _Span:
    start_s = album.counts.start_s or 0.0
    return _Span(start_s, max(album.counts.end_s - start_s, 0.1))


def _tracks(album: Album, span: _Span) -> list[_Track]:
    """Returns the tracks in the order of first sight, each in the first lane that is free."""
    lane_ends: list[float] = []
    placed: list[tuple[Card, _Bar, int]] = []
    for card in album.cards:
        whole = span.bar(card.first_s, card.last_s)
        lane = next((i for i, end in enumerate(lane_ends) if end + 100 * _LANE_GAP <= whole.left), len(lane_ends))
        lane_ends[lane : lane + 1] = [whole.left + whole.width]
        placed.append((card, whole, lane))
    thin = len(lane_ends) * _LABELLED_LANE_PX > _LANES_PX
    return [_track(card, album.labels, span, whole, lane, thin) for card, whole, lane in placed]


def _track(card: Card, labels: Sequence[str], span: _Span, whole: _Bar, lane: int, thin: bool) -> _Track:
    colour = track_colour(card.track_id)
    return _Track(
        card=card,
        label=labels[card.class_id],
        colour="#{:02x}{:02x}{:02x}".format(*colour),
        ink="#{:02x}{:02x}{:02x}".format(*ink_on(colour)),
        image=picture(card.view.jpeg),
        face=picture(card.face.jpeg),
        first=clock_text(card.first_s),
        last=clock_text(card.last_s),
        seen_s=sum(last - first for first, last in card.intervals),
        video_s=round(max(0.0, card.first_s - span.start_s), 2),
        lane=lane,
        bars=tuple(span.bar(first, last) for first, last in card.intervals),
        whole=whole,
        labelled=not thin and whole.width >= 100 * _LABEL_SHARE,
    )


def _counts(album: Album, span: _Span) -> tuple[int, str]:
    """Returns the top of the axis, even so that its half is whole too, and the area's outline in per cent."""
    means = album.counts.means()
    top = 2 * math.ceil(max([1.0, *(count for _, count in means)]) / 2)
    if not means:
        return top, ""
    half_bin_s = album.counts.bin_s / 2
    steps = [(span.percent(means[0][0] - half_bin_s), means[0][1])]
    steps += [(span.percent(time_s), count) for time_s, count in means]
    steps.append((100.0, means[-1][1]))
    outline = [f"{min(max(x, 0.0), 100.0):.2f},{100 - 100 * count / top:.2f}" for x, count in steps]
    return top, " ".join(["0,100", *outline, "100,100"])
