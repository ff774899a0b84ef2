"""`watchline models compare`: two models on the same frames."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.detectors.layout import FAMILIES
from watchline.pipeline.cli.catalog_options import CacheOption, DeviceOption, FamilyOption, JsonOption, MirrorOption
from watchline.pipeline.cli.progress import fetch_shown
from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from watchline.pipeline.compare import Candidate, Comparison

ImgszOption = Annotated[int, typer.Option(help="Longest side of an input that is left open, a multiple of 32.")]
ClassesOption = Annotated[str, typer.Option(metavar="A,B", help="Classes to look at, such as person,car; else all.")]
ConfOption = Annotated[float, typer.Option(min=0.01, max=1, help="Least score of what counts as found.")]


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The model to go by: a name, or a file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model that is compared to it.")],
    clips: Annotated[
        list[str],
        typer.Option("--input", "-i", metavar="CLIP|DIR", help="Video, images, or a folder of either; several, too."),
    ],
    cache: CacheOption,
    frames: Annotated[int, typer.Option(min=1, help="How many, in runs that lie evenly over the clips.")] = 200,
    imgsz: ImgszOption = 640,
    classes: ClassesOption = "",
    conf: ConfOption = 0.25,
    device: DeviceOption = "auto",
    family: FamilyOption = "",
    mirror: MirrorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say how far model B finds and follows what model A does, and what each takes.

    Both look at the same frames, each in a process of its own, in turn. Recall is the share of A's boxes that B has,
    precision the share of B's that A has; boxes are the same where their class is and they overlap by 0.5 (or 0.9).
    Frames are taken in runs, one after the other as the clip has them, and tracks are followed through each run.

    \b
    Examples:
      watchline models compare yolov8n yolov8n-int8.onnx --input shop.mp4
      watchline models compare yolov8n yolov8s --input shop.mp4 --input yard.mp4 --classes person --json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.compare import CompareOptions
    from watchline.pipeline.compare import compare as compared
    from watchline.pipeline.compare_sample import inputs_of, spread

    options = CompareOptions(conf, checked_size(imgsz), split(classes))
    if family and family not in FAMILIES:
        raise UsageError(f"--family {family}: want one of {', '.join(FAMILIES)}")
    inputs = [found for spec in clips for found in inputs_of(spec)]
    side_a, side_b = (candidate(name, cache, mirror, device, family) for name in (a, b))
    result = compared(side_a, side_b, spread(inputs, frames), options)
    if as_json:
        typer.echo(json.dumps(as_record(result), indent=2))
    else:
        show(result)


def candidate(name: str, cache: Path, mirror: str, device: str, family: str) -> Candidate:
    """Returns the model that `name` means, fetched and imported if need be; `family` is for one that does not say."""
    from watchline.pipeline.compare import Candidate
    from watchline.pipeline.model import load_model

    model = load_model(name, cache, partial(fetch_shown, cache=cache, mirror=mirror))
    return Candidate(Path(name).name, model.onnx, device, family)


def checked_size(imgsz: int) -> int:
    """Returns `imgsz`, if a network can take it.

    Raises:
        UsageError: it is no multiple of 32, or out of range.
    """
    if not 32 <= imgsz <= 4096 or imgsz % 32:
        raise UsageError(f"--imgsz {imgsz}: want a multiple of 32 from 32 to 4096")
    return imgsz


def split(names: str) -> tuple[str, ...]:
    """Returns the names in a list with commas.

    >>> split("person, car")
    ('person', 'car')
    """
    return tuple(name.strip() for name in names.split(",") if name.strip())


def as_record(result: Comparison) -> dict[str, object]:
    """Returns a comparison with its shares, as JSON has it."""
    record = dataclasses.asdict(result)
    for name in ("recall", "precision", "recall_tight", "precision_tight"):
        record["boxes"][name] = getattr(result.boxes, name)
    record["tracks"]["recall"] = result.tracks.recall
    return record


def show(result: Comparison) -> None:
    """Prints a comparison as small tables."""
    boxes, tracks, suggested = result.boxes, result.tracks, result.suggested
    _table(
        ("model", "file", "wall a frame", "CPU a frame", "memory"),
        [
            (
                side.name,
                f"{side.file_bytes / 1e6:.2f} MB",
                f"{side.wall_ms:.1f} ms",
                f"{side.cpu_ms:.1f} ms",
                f"{side.peak_bytes / 1e6:.0f} MB",
            )
            for side in (result.a, result.b)
        ],
    )
    a, b = result.a, result.b
    for side in (a, b):
        typer.echo(f"{side.name} ran on {side.runtime}, {side.provider}")
        for change in side.fallbacks:
            typer.echo(f"{side.name}: {change.left} gave way to {change.taken}: {change.reason}")
    typer.echo(
        f"{b.name} takes {_ratio(b.file_bytes, a.file_bytes)} of the file, {_ratio(b.cpu_ms, a.cpu_ms)} of the "
        f"processor and {_ratio(b.peak_bytes, a.peak_bytes)} of the memory of {a.name}"
    )
    _table(
        (f"{result.frames} frames in {_count(result.runs, 'run')}", "recall", "precision"),
        [
            (f"boxes at {boxes.score:g}, IoU 0.5", f"{boxes.recall:.3f}", f"{boxes.precision:.3f}"),
            (f"boxes at {boxes.score:g}, IoU 0.9", f"{boxes.recall_tight:.3f}", f"{boxes.precision_tight:.3f}"),
            ("found at any score", f"{boxes.found_fainter:.3f}", ""),
            (
                f"boxes at {suggested.score:g} of {b.name}, IoU 0.5",
                f"{suggested.recall:.3f}",
                f"{suggested.precision:.3f}",
            ),
            (f"tracks ({tracks.matched} of {tracks.tracks_a})", f"{tracks.recall:.3f}", ""),
        ],
    )
    typer.echo(
        f"{boxes.matched} of {boxes.boxes_a} boxes matched, mean IoU {boxes.mean_iou:.3f}; score shift mean "
        f"{boxes.score_shift:.3f}, p95 {boxes.score_shift_p95:.3f}, bias {boxes.score_bias:+.3f}"
    )
    typer.echo(f"suggested for {b.name}: --conf {suggested.score:g}; tracker low_score {suggested.low_score:g}")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole:.2f}x"
