"""`watchline models`: what can be fetched, what is here, and what a model file is."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from watchline.detectors import added
from watchline.detectors.catalog import Catalog, Entry
from watchline.detectors.fetch import State, state
from watchline.detectors.importer.convert import describe, import_checkpoint
from watchline.detectors.importer.description import ModelDescription
from watchline.detectors.manifest import Manifest
from watchline.pipeline.cli.adding import add, remove
from watchline.pipeline.cli.benching import bench
from watchline.pipeline.cli.building import build
from watchline.pipeline.cli.catalog_options import (
    CacheOption,
    FamilyOption,
    JsonOption,
    ManifestOption,
    MirrorOption,
    image_size,
)
from watchline.pipeline.cli.comparing import compare
from watchline.pipeline.cli.progress import fetch_shown
from watchline.pipeline.cli.quantizing import quantize
from watchline.pipeline.model import ModelFile, find_model, imports, network_of
from watchline.streams.errors import ModelError, OutputError

app = typer.Typer(
    no_args_is_help=True,
    help="List, fetch, check, import and inspect models.",
    epilog="Files are kept in the cache folder of this user. A file whose sha256 is not the catalog's is refused.",
)
app.command()(add)
app.command()(remove)
app.command()(bench)
app.command()(build)
app.command()(compare)
app.command()(quantize)


@app.command("list")
def list_files(cache: CacheOption, as_json: JsonOption = False) -> None:
    """List the models and clips that watchline can fetch, and which are here.

    \b
    Examples:
      watchline models list
      watchline models list --json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from rich.console import Console
    from rich.table import Table

    files = [(entry, state(entry, cache)) for entry in _all(cache)]
    if as_json:
        records = [dataclasses.asdict(e) | {"state": s, "path": str(cache / e.file)} for e, s in files]
        typer.echo(json.dumps(records, indent=2))
        return
    table = Table("name", "kind", "task", "size", "licence", "here", box=None, header_style="bold")
    for entry, found in files:
        here = {State.OK: "yes", State.MISSING: "no", State.DAMAGED: "damaged"}[found]
        table.add_row(entry.name, entry.kind, entry.task or "-", _megabytes(entry.size_bytes), entry.licence, here)
    Console(highlight=False).print(table)


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names that `models list` shows.")],
    cache: CacheOption,
    mirror: MirrorOption = "",
) -> None:
    """Fetch models and clips into the cache, and print their paths.

    What is there and whole is left as it is. A broken download goes on where it stopped.

    \b
    Examples:
      watchline models pull yolov8n bikes
      watchline models pull yolov8n --mirror /mnt/models
      watchline models pull yolov8n --cache ./models    # then carry ./models to a site without internet
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    for entry in [added.find(name, cache) for name in names]:
        typer.echo(fetch_shown(entry, cache, mirror))


@app.command()
def verify(
    cache: CacheOption,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="What to check; all of the catalog where none is named.")
    ] = None,
) -> None:
    """Check the cached files against the catalog's sha256: ok, missing or damaged.

    Ends with exit status 1 if any is damaged.

    \b
    Examples:
      watchline models verify
      watchline models verify yolov8n
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    damaged = []
    for entry in [added.find(name, cache) for name in names] if names else _all(cache):
        found = state(entry, cache)
        typer.echo(f"{entry.name:12}  {found:8}  {cache / entry.file}")
        if found is State.DAMAGED:
            damaged.append(entry.name)
    if damaged:
        names_text = " ".join(damaged)
        raise ModelError(f"damaged: {names_text}; `watchline models pull {names_text}` fetches again")


@app.command("import")
def import_model(
    model: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A checkpoint, or a name that is here.")],
    cache: CacheOption,
    imgsz: Annotated[
        str,
        typer.Option(metavar="HxW|N", help="Fix the input size, in pixels, height first; else the model takes any."),
    ] = "",
    batch: Annotated[
        int, typer.Option(metavar="N", min=0, help="Fix how many pictures a call brings; 0: any number.")
    ] = 0,
    raw_heads: Annotated[
        bool, typer.Option("--raw-heads", help="End at the last convolutions: for engines that decode by themselves.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to put a copy of the result.")] = None,
) -> None:
    """Turn a checkpoint (.pt) into an ONNX model, and print its path.

    The checkpoint is read without running any code in it.

    \b
    Examples:
      watchline models import yolov8n.pt
      watchline models import best.pt --imgsz 384x640 --out best.onnx
      watchline models import best.pt --imgsz 640 --batch 8 --raw-heads --out best-raw.onnx
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    source = find_model(model, cache, _cached(cache)).path
    made = import_checkpoint(source, imports(cache), image_size(imgsz), batch, raw=raw_heads)
    typer.echo(_copy(made, out) if out else made)


@app.command()
def info(
    model: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A model file, or a name that is here.")],
    cache: CacheOption,
    family: FamilyOption = "",
    manifest: ManifestOption = None,
    imgsz: Annotated[
        str, typer.Option(metavar="HxW|N", help="Tell its work for this size, in pixels; else for its own, or 640x640.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Say what a model file is, and whether watchline can use it.

    An .onnx is tried in a process of its own, then loaded, and run on one grey picture.

    \b
    Examples:
      watchline models info yolov8n
      watchline models info best.pt --imgsz 384x640 --json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    found = find_model(model, cache, _cached(cache))
    said = Manifest.read(manifest) if manifest else found.said
    said = dataclasses.replace(said, family=family) if family else said
    description = describe(found.path, image_size(imgsz))
    if description.format == "onnx" or (description.format == "openvino ir" and said.family):
        description = _looked_at(description, said, imports(cache))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(description), indent=2, default=str))
    else:
        typer.echo(_as_text(description))


def _looked_at(description: ModelDescription, said: Manifest, cache: Path) -> ModelDescription:
    """Returns the description of a model with what its metadata and outputs say, as `watchline run` sees it."""
    from watchline.detectors.heads.registry import head_of
    from watchline.detectors.opening import open_engine

    try:
        network = network_of(ModelFile(description.path, said), cache)
        card = open_engine(network, "cpu", said.wanted if network == description.path else "").card
        head_of(card)
    except ModelError as error:
        reason = str(error).removeprefix(f"{description.path}: ").removeprefix(f"{description.path.name}: ")
        return dataclasses.replace(description, supported=False, reason=reason)
    return dataclasses.replace(
        description,
        family=card.family,
        task=card.task,
        labels=card.labels,
        strides=card.strides,
        licence=card.licence,
        supported=True,
        reason="",
    )


def _all(cache: Path) -> list[Entry]:
    """Returns what the catalog holds, then what was added."""
    return [*Catalog.load(), *(added.find(name, cache) for name in added.added(cache))]


def _cached(cache: Path) -> Callable[[Entry], Path]:
    """Returns what finds the file of a catalog entry in `cache`, and fetches nothing."""

    def obtain(entry: Entry) -> Path:
        if state(entry, cache) is not State.OK:
            raise ModelError(f"{entry.name} is not in {cache}; fetch it with `watchline models pull {entry.name}`")
        return cache / entry.file

    return obtain


def _copy(made: Path, out: Path) -> Path:
    part = out.with_name(f"{out.name}.part")
    try:
        shutil.copyfile(made, part)
        part.replace(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}; the model is at {made}") from error
    return out


def _as_text(description: ModelDescription) -> str:
    """Returns one line a field; long lists are cut, with their length."""
    lines = []
    for field in dataclasses.fields(description):
        value = getattr(description, field.name)
        if isinstance(value, tuple):
            shown = ", ".join(map(str, value[:8]))
            value = f"{shown}, ... ({len(value)} in all)" if len(value) > 8 else shown
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        if value not in ("", 0.0):
            lines.append(f"{field.name.replace('_', ' '):12}  {value}")
    return "\n".join(lines)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
