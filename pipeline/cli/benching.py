"""`watchline models bench`: what a model costs here, alone and beside its original."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.detectors.manifest import Manifest
from watchline.pipeline.cli.catalog_options import CacheOption, DeviceOption, FamilyOption, ManifestOption, MirrorOption
from watchline.streams.errors import OutputError, UsageError

if TYPE_CHECKING:
    from watchline.pipeline.bench.measure import Plan, Subject

_MOST_BATCH = 256
_MOST_SECONDS = 600.0


def bench(
    model: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A model file, or a name of `models list`.")],
    cache: CacheOption,
    against: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="The original, run by ultralytics: this runs the code in that file."),
    ] = None,
    against_python: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="A Python that has ultralytics, such as original/bin/python."),
    ] = None,
    batch: Annotated[str, typer.Option(metavar="N,N", help="Frames a network call, each measured for itself.")] = "1",
    device: DeviceOption = "auto",
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads of each side.")] = 1,
    imgsz: Annotated[
        str, typer.Option(metavar="HxW|N", help="Input size, pixels; else the network's own, or as 640 in a run.")
    ] = "",
    source: Annotated[
        str, typer.Option("--input", metavar="CLIP", help="Take pictures from this; else they are made.")
    ] = "",
    seconds: Annotated[float, typer.Option(metavar="S", help="How long each row of the table is timed.")] = 5.0,
    family: FamilyOption = "",
    manifest: ManifestOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead of a table.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the rows into this file too.")] = None,
    mirror: MirrorOption = "",
) -> None:
    """Measure what a model costs on this machine: speed, latency, processor time and memory.

    Two rows for each batch size: the network alone, and the whole detector, from a picture in memory to its boxes.
    Every side and batch size is a process of its own, so that its memory is its own.

    With --against the original checkpoint takes turns with ours, on the same pictures, and the boxes of both are
    compared. Its Python is yours to make, once:

    \b
      python3 -m venv original && original/bin/pip install ultralytics

    \b
    Examples:
      watchline models bench yolov8n --input yard.mp4
      watchline models bench yolov8n --input yard.mp4 --imgsz 384x640 --batch 1,2,4 --plot yolov8n.svg
      watchline models bench best.onnx --against best.pt --against-python original/bin/python --input yard.mp4
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    plan = _plan(against, against_python, batch, device, threads, imgsz, source, seconds)
    if as_json and as_markdown:
        raise UsageError("--json and --markdown exclude each other; give one of them")
    if plot is not None and plot.suffix.lower() != ".svg":
        raise UsageError(f"--plot {plot}: want a file that ends in .svg")
    subject = _subject(model, cache, mirror, family, manifest)
    from watchline.pipeline.bench import show
    from watchline.pipeline.bench.measure import measure

    sheet = measure(subject, plan, lambda text: typer.echo(f"watchline: {text}", err=True))
    if plot is not None:
        from watchline.pipeline.bench.plot import draw

        try:
            plot.write_text(draw(sheet), "utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {plot}: {error.strerror}") from error
    if as_json:
        typer.echo(sheet.to_json())
    elif as_markdown:
        typer.echo(show.markdown(sheet))
    else:
        show.terminal(sheet)


def _plan(
    against: Path | None,
    python: Path | None,
    batch: str,
    device: str,
    threads: int,
    imgsz: str,
    source: str,
    seconds: float,
) -> Plan:
    from watchline.detectors.opening import devices_of
    from watchline.pipeline.bench.measure import Plan
    from watchline.pipeline.cli.catalog_options import image_size

    devices_of(device)
    if not (math.isfinite(seconds) and 0 < seconds <= _MOST_SECONDS):
        raise UsageError(f"--seconds {seconds:g}: want more than 0 and at most {_MOST_SECONDS:g}")
    if against is not None and python is None:
        raise UsageError(
            "--against needs --against-python, a Python that has ultralytics; make one: "
            "python3 -m venv original && original/bin/pip install ultralytics"
        )
    if python is not None and against is None:
        raise UsageError("--against-python runs the checkpoint that --against names; give --against too")
    for option, path in (("--against", against), ("--against-python", python)):
        if path is not None and not path.is_file():
            raise UsageError(f"{option} {path}: no such file")
    return Plan(
        batches=_batches(batch),
        device=device,
        threads=threads,
        size=image_size(imgsz),
        clip=source,
        seconds=seconds,
        against=against,
        python=python,
    )


def _batches(text: str) -> tuple[int, ...]:
    """Returns the batch sizes, each once, in the order given.

    >>> _batches("1,4,1")
    (1, 4)
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[1-9]\d{0,2}", part) and int(part) <= _MOST_BATCH for part in parts):
        raise UsageError(f"--batch {text}: want whole numbers from 1 to {_MOST_BATCH}, such as 1,2,4")
    return tuple(dict.fromkeys(map(int, parts)))


def _subject(model: str, cache: Path, mirror: str, family: str, manifest: Path | None) -> Subject:
    """Returns the model that is meant, fetched or imported if need be."""
    from watchline.detectors.importer.description import hash_model
    from watchline.pipeline.bench.measure import Subject
    from watchline.pipeline.cli.progress import fetch_shown
    from watchline.pipeline.model import find_model, imports, network_of

    found = find_model(model, cache, lambda entry: fetch_shown(entry, cache, mirror))
    said = Manifest.read(manifest) if manifest else found.said
    said = replace(said, family=family) if family else said
    network = network_of(replace(found, said=said), imports(cache))
    # What is said of an ONNX is written into the copy that is run; an OpenVINO network is run as it is.
    return Subject(Path(model).name, hash_model(found.path), network, said.wanted if network == found.path else "")
