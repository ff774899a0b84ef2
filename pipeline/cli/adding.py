"""`watchline models add` and `remove`: models of the user's own."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from watchline.detectors import added
from watchline.detectors.card import ModelCard
from watchline.detectors.catalog import UrlSource
from watchline.detectors.fetch import fetch_new
from watchline.detectors.importer.description import hash_file
from watchline.detectors.manifest import Manifest
from watchline.pipeline.cli.catalog_options import CacheOption, FamilyOption, ManifestOption
from watchline.pipeline.cli.progress import bytes_shown
from watchline.pipeline.model import ModelFile, imports, network_of
from watchline.streams.errors import ModelError, OutputError, UsageError


def add(
    source: Annotated[str, typer.Argument(metavar="URL|FILE", help="An .onnx, or a checkpoint (.pt, .pth).")],
    cache: CacheOption,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What to call it; else the file's own name.", show_default=False)
    ] = "",
    family: FamilyOption = "",
    classes: Annotated[
        str, typer.Option(metavar="A,B", help="Names of its classes, in its order, where it does not name them.")
    ] = "",
    licence: Annotated[str, typer.Option(metavar="SPDX", help="Licence of its weights, such as AGPL-3.0-only.")] = "",
    sha256: Annotated[
        str, typer.Option(metavar="HEX", help="What the file must be; else it is pinned as it is found now.")
    ] = "",
    manifest: ManifestOption = None,
) -> None:
    """Add a model of your own, to be used by its name from then on.

    It is copied or fetched, tried out in a process of its own, and pinned: a file of another sha256 is refused later.
    What it does not say itself, options or a manifest must: docs/models.md has the form.

    \b
    Examples:
      watchline models add best.pt --name yard
      watchline models add plates.onnx --family yolov8 --classes plate --licence MIT
      watchline models add https://models.example/faces.onnx --manifest faces.toml
      watchline run gate.mp4 --model yard
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    said = Manifest.read(manifest) if manifest else Manifest()
    given = {"family": family, "licence": licence, "sha256": sha256.lower()}
    given_classes = [part.strip() for part in classes.split(",") if part.strip()]
    try:
        options = Manifest.of({k: v for k, v in {**given, "classes": given_classes}.items() if v})
    except ModelError as error:
        raise UsageError(f"--{error}") from error
    said = replace(said, **{k: getattr(options, k) for k in (*given, "classes") if getattr(options, k)})
    file_name = source.rpartition("/")[2].partition("?")[0] if "://" in source else Path(source).name
    suffix = Path(file_name).suffix.lower()
    if suffix not in added.SUFFIXES:
        raise UsageError(f"{file_name or source}: want a file that ends in {', '.join(added.SUFFIXES)}")
    name = name or added.name_of(file_name)
    added.check_name(name, cache)
    target = cache / f"{name}{suffix}"
    try:
        pinned = _bring(source, target, said.sha256)
        card = _tried(target, said, cache)
        # An address with a password or token in it is not written down; the file can then not be fetched again.
        address = source if "://" in source and str(UrlSource(source)) == source else ""
        entry = added.store(name, target, pinned, address, said, card, cache)
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink()
        raise
    typer.echo(f"{name}: a {card.family} {card.task} model, {_count(len(card.labels))}, licence {entry.licence}")
    typer.echo(f"  {target}")
    if not said.sha256:
        _say(f"watchline: {name} is pinned to sha256 {pinned}, as it was found now; another file will be refused")
    if entry.licence == "not stated":
        _say(f"watchline: {name} states no licence; find out whether you may use it, and add it with --licence")


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that was added.")], cache: CacheOption
) -> None:
    """Remove a model that was added: its file and its manifest.

    \b
    Example:
      watchline models remove yard
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    for path in added.remove(name, cache):
        typer.echo(f"removed {path}")


def _bring(source: str, target: Path, sha256: str) -> str:
    """Brings the file into the cache and returns its SHA-256, which must be `sha256` where that is not empty."""
    if "://" in source:
        try:
            url = UrlSource(source)
        except ValueError as error:
            raise UsageError(str(error)) from error
        with bytes_shown(target.name) as (progress, _):
            return fetch_new(url, target, sha256, progress)
    path = Path(source)
    found = hash_file(path)
    if sha256 not in ("", found):
        raise ModelError(f"{path}: its sha256 is {found}, expected {sha256}; bring the right file")
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, part)
        part.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}") from error
    return found


def _tried(path: Path, said: Manifest, cache: Path) -> ModelCard:
    """Returns what the model is, once it has been imported and started."""
    from watchline.detectors.engine import OnnxEngine
    from watchline.detectors.heads.registry import head_of

    card = OnnxEngine(network_of(ModelFile(path, said), imports(cache)), "cpu").card
    if card.task != "embed":
        head_of(card)
    return card


def _count(classes: int) -> str:
    return f"{classes} class{'es' * (classes != 1)}"


def _say(text: str) -> None:
    typer.echo(text, err=True)
