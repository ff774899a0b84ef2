"""Sightings as pages that a person looks at: a contact sheet of many tracks, and one track with all that is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.pipeline.annotate import clock_text, track_colour
from watchline.pipeline.store.asking import LIVE, utc_text
from watchline.pipeline.store.reading import WholeTrack, models_of
from watchline.pipeline.store.seam import Summary
from watchline.pipeline.store.sighting import StoredCrop
from watchline.pipeline.templating import picture, render
from watchline.reid.embeddings import Kind

MOST_CARDS: Final = 500  # on one page
MOST_PAGE_BYTES: Final = 32_000_000  # of pictures on one page; more makes browsers slow
_MOST_THUMBS = 4  # further pictures on a card
_GAP_S = 2.0  # a track unseen for longer is drawn with a break


@dataclass(frozen=True, slots=True)
class Card:
    """A track on the contact sheet."""

    summary: Summary
    colour: str
    name: str
    started: str
    length_s: float
    in_file: str  # where in its file it begins; "" for live
    described: str
    image: str
    face: str
    thumbs: tuple[str, ...]
    image_bytes: int


@dataclass(frozen=True, slots=True)
class Span:
    """A presence on the timeline: left and width in per cent, and the card it leads to."""

    card: Card
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Lane:
    """A camera's row of the timeline."""

    camera: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A picture at its place in the frame, pixels."""

    image: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """The way of a track's foot point over the frame, pixels.

    Attributes:
        width: of the frame in which it was seen last; places in frames of another size are scaled to it.
        height: likewise.
        lines: points of each unbroken way, as SVG has them.
        first: where it was first seen.
        last: where it was last seen.
        places: its pictures.
    """

    width: float
    height: float
    lines: tuple[str, ...]
    first: tuple[float, float]
    last: tuple[float, float]
    places: tuple[Place, ...]


def card_of(track: WholeTrack, describers: Mapping[Kind, str]) -> Card:
    """Returns a track as the sheet shows it: its best picture, a face, and some more in order of time.

    Args:
        track: with its pictures.
        describers: name of the model of each kind of vector.
    """
    summary = track.summary
    bodies = [crop for crop in track.crops if crop.kind is Kind.BODY]
    face = _best([crop for crop in track.crops if crop.kind is Kind.FACE])
    best = _best(bodies)
    others = [crop for crop in bodies if crop is not best]
    others = sorted(others, key=lambda crop: -crop.quality)[:_MOST_THUMBS]
    shown = [crop for crop in (best, face, *others) if crop is not None]
    return Card(
        summary=summary,
        colour=_colour(summary.track_id),
        name=f"{summary.camera}:{summary.track_id}",
        started=utc_text(summary.started_at),
        length_s=summary.end_pts_s - summary.start_pts_s,
        in_file="" if summary.provenance.source == LIVE else clock_text(summary.start_pts_s),
        described=", ".join(describers.get(kind, str(kind)) for kind in summary.vectors),
        image=picture(best.jpeg) if best else "",
        face=picture(face.jpeg) if face else "",
        thumbs=tuple(picture(crop.jpeg) for crop in sorted(others, key=lambda crop: crop.captured_at)),
        image_bytes=sum(len(crop.jpeg) * 4 // 3 for crop in shown),
    )


def pages(cards: Iterator[Card]) -> Iterator[list[Card]]:
    """Yields the cards of one page after the other, as many as a browser shows with ease; holds one page at a time."""
    page: list[Card] = []
    size_bytes = 0
    for card in cards:
        if page and (len(page) == MOST_CARDS or size_bytes + card.image_bytes > MOST_PAGE_BYTES):
            yield page
            page, size_bytes = [], 0
        page.append(card)
        size_bytes += card.image_bytes
    if page:
        yield page


def render_sheet(
    cards: Sequence[Card], store: str, selection: str, made: str, number: int = 1, newer: str = "", older: str = ""
) -> str:
    """Returns a contact sheet as HTML; it needs nothing but itself, and every text in it is escaped.

    Args:
        cards: newest first; may be empty.
        store: name of the store.
        selection: what was asked for, in words.
        made: when, as text.
        number: of the page.
        newer: file name of the page before; "" for none.
        older: of the page after it.
    """
    start = min((card.summary.started_at for card in cards), default=0.0)
    end = max((card.summary.ended_at for card in cards), default=0.0)
    return render(
        "sightings.html.j2",
        cards=cards,
        lanes=_lanes(cards, start, end),
        cameras=sorted({card.summary.camera for card in cards}),
        pictures=sum(card.summary.crops for card in cards),
        without_picture=sum(not card.image for card in cards),
        start=utc_text(start),
        end=utc_text(end),
        store=store,
        selection=selection,
        made=made,
        number=number,
        newer=newer,
        older=older,
    )


def render_track(track: WholeTrack, store: str) -> str:
    """Returns the page of one track as HTML: pictures, way, parts, models and provenance; likewise whole in itself."""
    summary = track.summary
    return render(
        "sightings_track.html.j2",
        s=summary,
        name=f"{summary.camera}:{summary.track_id}",
        colour=_colour(summary.track_id),
        store=store,
        live=summary.provenance.source == LIVE,
        started=utc_text(summary.started_at),
        ended=utc_text(summary.ended_at),
        crops=[
            (crop, picture(crop.jpeg), utc_text(crop.captured_at), clock_text(crop.pts_s))
            for crop in sorted(track.crops, key=lambda crop: crop.captured_at)
        ],
        drawing=drawing_of(track),
        parts=[(part, utc_text(part.started_at), utc_text(part.ended_at)) for part in track.parts],
        vectors=track.vectors,
        models=models_of(track),
        provenances=list(dict.fromkeys(part.provenance for part in track.parts)),
    )


def drawing_of(track: WholeTrack) -> Drawing | None:
    """Returns the way of a track; None where no box of it is kept."""
    width, height = track.frame
    path = track.path
    if not len(path):
        return None
    feet = np.stack([(path[:, 1] + path[:, 3]) / 2, path[:, 4]], axis=1)
    breaks = np.flatnonzero(np.diff(path[:, 0]) > _GAP_S) + 1
    return Drawing(
        width=width,
        height=height,
        lines=tuple(_points(line) for line in np.split(feet, breaks)),
        first=(round(float(feet[0, 0]), 1), round(float(feet[0, 1]), 1)),
        last=(round(float(feet[-1, 0]), 1), round(float(feet[-1, 1]), 1)),
        places=tuple(
            _place(crop, *track.scale_of(part))
            for part in track.parts
            for crop in part.crops
            if crop.jpeg and crop.kind is Kind.BODY
        ),
    )


def _place(crop: StoredCrop, across: float, down: float) -> Place:
    left, top, right, bottom = crop.xyxy
    return Place(
        picture(crop.jpeg),
        round(left * across, 1),
        round(top * down, 1),
        round(max((right - left) * across, 1), 1),
        round(max((bottom - top) * down, 1), 1),
    )


def _points(line: F32) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in line.tolist())


def _best(crops: Sequence[StoredCrop]) -> StoredCrop | None:
    return max(crops, key=lambda crop: crop.quality, default=None)


def _colour(track_id: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*track_colour(track_id))


def _lanes(cards: Sequence[Card], start: float, end: float) -> list[Lane]:
    length = max(end - start, 1e-3)
    lanes: dict[str, list[Span]] = {}
    for card in cards:
        width = max(100 * (card.summary.ended_at - card.summary.started_at) / length, 0.3)
        left = min(100 * (card.summary.started_at - start) / length, 100 - width)
        lanes.setdefault(card.summary.camera, []).append(Span(card, round(max(left, 0.0), 3), round(width, 3)))
    return [Lane(camera, tuple(lanes[camera])) for camera in sorted(lanes)]
