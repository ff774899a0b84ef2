"""Sightings as tables and lines in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from watchline.pipeline.annotate import clock_text
from watchline.pipeline.store.asking import LIVE, utc_text
from watchline.pipeline.store.reading import WholeTrack, models_of
from watchline.pipeline.store.seam import Summary
from watchline.reid.embeddings import EmbeddingModel, Kind

if TYPE_CHECKING:
    from watchline.pipeline.store.counting import Facts, Weight

_PIPE_COLUMNS = 300  # where no terminal sets a width, nothing is cut
_IDS_FROM_COLUMNS = 130  # a terminal narrower than this has no room for ids
_ALL_FROM_COLUMNS = 100  # nor one narrower than this for what matters less


def plain(text: str) -> str:
    """Returns `text` so that a terminal takes nothing in it for a command.

    >>> plain("dock" + chr(27) + "[2J")
    'dock?[2J'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def show_list(summaries: Sequence[Summary], describers: Mapping[Kind, str]) -> None:
    """Prints a table of tracks, with the columns that there is need of and room for."""
    width = _width()
    columns = {
        "time (UTC)": [utc_text(each.started_at) for each in summaries],
        "at": [_at(each) for each in summaries],
        "track": [plain(f"{each.camera}:{each.track_id}") for each in summaries],
        "label": [plain(each.label) for each in summaries],
        "length": [f"{each.end_pts_s - each.start_pts_s:.1f} s" for each in summaries],
        "frames": [str(each.frames) for each in summaries],
        "quality": [f"{each.quality:.2f}" if each.crops else "-" for each in summaries],
        "crops": [str(each.crops) for each in summaries],
        "described by, or why not": [_described(each, describers) for each in summaries],
        "id": [each.ids[0] for each in summaries],
    }
    if not any(columns["at"]):
        del columns["at"]
    if width < _IDS_FROM_COLUMNS:
        del columns["id"]
    if width < _ALL_FROM_COLUMNS:
        del columns["label"], columns["frames"]
    rows = list(zip(*columns.values(), strict=True))
    numbers = {"length", "frames", "quality", "crops"}
    table(list(columns), rows, width, numbers, whole={"time (UTC)", "at", "id"})


def show_track(track: WholeTrack) -> None:
    """Prints all that is known of one track."""
    s = track.summary
    kinds = [crop.kind for crop in track.crops]
    pictures = ", ".join(f"{kinds.count(kind)} {kind}" for kind in Kind if kind in kinds)
    lines = [
        ("seen", f"{utc_text(s.started_at)} to {utc_text(s.ended_at)}, by the clock {s.clock}"),
        ("length", f"{s.end_pts_s - s.start_pts_s:.1f} s, {s.frames} frames"),
        ("source", f"{s.provenance.source}{'' if s.provenance.source == LIVE else f' at {_at(s)}'}"),
        ("quality", f"{s.quality:.2f}, best score {s.best_score:.2f}"),
        ("crops", pictures or f"none: {s.reason or 'they are no longer kept'}"),
        ("path", f"{len(track.path)} boxes" if len(track.path) else "none, or no longer kept"),
        *(("described by", _model(model)) for model in models_of(track)),
        *(
            line
            for p in dict.fromkeys(part.provenance for part in track.parts)
            for line in (
                ("detector", f"{p.detector}, sha256 {p.detector_sha256}"),
                ("tracker", p.tracker),
                ("configuration", f"sha256 {p.config_sha256}"),
                ("watchline", p.version),
            )
        ),
    ]
    typer.echo(plain(f"{s.camera}:{s.track_id} {s.label}"))
    for name, value in lines:
        typer.echo(f"  {name:14}{plain(value)}")
    table(
        ["id", "part", "time (UTC)", "length", "frames", "crops", "vectors"],
        [
            [
                part.sighting_id,
                str(part.part),
                utc_text(part.started_at),
                f"{part.end_pts_s - part.start_pts_s:.1f} s",
                str(part.frames),
                str(sum(bool(crop.jpeg) for crop in part.crops)),
                str(len(part.vectors)),
            ]
            for part in track.parts
        ],
        _width(),
        numbers={"part", "length", "frames", "crops", "vectors"},
        whole={"id", "time (UTC)"},
    )


def show_facts(path: Path, facts: Facts, models: Sequence[tuple[EmbeddingModel, int]]) -> None:
    """Prints what a store holds."""
    weight = facts.whole
    files = ", ".join(f"{plain(name)} {size(count)}" for name, count in facts.files.items())
    typer.echo(f"{path}: schema {facts.schema}; {files}")
    typer.echo(weight_text(weight))
    if not weight.sightings:
        return
    table(
        ["camera", "tracks", "sightings", "oldest (UTC)", "newest (UTC)"],
        [
            [
                plain(each.camera),
                str(each.tracks),
                str(each.sightings),
                utc_text(each.started_at),
                utc_text(each.ended_at),
            ]
            for each in facts.cameras
        ],
        _width(),
        numbers={"tracks", "sightings"},
        whole={"oldest (UTC)", "newest (UTC)"},
    )
    table(
        ["kind", "stored", "bytes"],
        [
            ["crops", str(weight.crops), size(weight.crop_bytes)],
            ["vectors", str(weight.vectors), size(weight.vector_bytes)],
            ["paths", str(weight.paths), size(weight.path_bytes)],
        ],
        _width(),
        numbers={"stored", "bytes"},
    )
    if models:
        table(
            ["model", "of", "numbers", "vectors", "sha256"],
            [[plain(m.name), m.kind, str(m.dimension), str(many), m.sha256] for m, many in models],
            _width(),
            numbers={"numbers", "vectors"},
        )


def weight_text(weight: Weight) -> str:
    """Returns how much there is, and of which time, in words."""
    if not weight.sightings:
        return "no sighting"
    return (
        f"{count(weight.tracks, 'track')} in {count(weight.sightings, 'sighting')}, {count(weight.crops, 'crop')}, "
        f"{count(weight.vectors, 'vector')}, from {utc_text(weight.started_at)} to {utc_text(weight.ended_at)}"
    )


def count(number: int, what: str) -> str:
    """Returns a number and its noun.

    >>> count(1, "crop"), count(2, "crop")
    ('1 crop', '2 crops')
    """
    return f"{number} {what}{'s' * (number != 1)}"


def size(count_bytes: int) -> str:
    """Returns a number of bytes as people read it.

    >>> size(999), size(1_500_000)
    ('999 B', '1.5 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count_bytes >= factor:
            return f"{count_bytes / factor:.1f} {unit}"
    return f"{count_bytes} B"


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    numbers: Collection[str] = (),
    whole: Collection[str] = (),
) -> None:
    """Prints a table; columns in `numbers` stand right, those in `whole` are never broken."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        shown.add_column(
            head,
            justify="right" if head in numbers else "left",
            no_wrap=head in whole or head in numbers,
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*row)
    Console(highlight=False, markup=False, emoji=False, width=width).print(shown)


def _width() -> int:
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else _PIPE_COLUMNS


def _at(summary: Summary) -> str:
    return "" if summary.provenance.source == LIVE else clock_text(summary.start_pts_s)


def _described(summary: Summary, describers: Mapping[Kind, str]) -> str:
    names = ", ".join(describers.get(kind, str(kind)) for kind in summary.vectors)
    return plain(names or summary.reason) or "-"


def _model(model: EmbeddingModel) -> str:
    return f"{model.name} ({model.kind}, {model.dimension} numbers), sha256 {model.sha256}"
