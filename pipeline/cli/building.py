"""`watchline models build`: TensorRT engines ahead of their first use."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.pipeline.cli.catalog_options import (
    CacheOption,
    FamilyOption,
    JsonOption,
    ManifestOption,
    MirrorOption,
    image_size,
)
from watchline.streams.errors import ModelError, OutputError, UsageError

if TYPE_CHECKING:
    from watchline.detectors.card import ModelCard
    from watchline.detectors.engine_cache import EngineCache, Entry
    from watchline.detectors.gpu import Platform

_SIZE = (384, 640)  # what a picture of 16:9 becomes in a run
_STRETCHED = (640, 640)  # what any picture becomes for a network that wants it bent
_MOST_BATCH = 64
_MOST_SIDE = 4096
_TOLD_EVERY_S = 10.0


def build(
    cache: CacheOption,
    model: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A model file, or a name of `models list`.")] = "",
    device: Annotated[
        str, typer.Option(metavar="NAME", help="tensorrt (half precision) or tensorrt-f32.")
    ] = "tensorrt",
    imgsz: Annotated[
        str,
        typer.Option(metavar="HxW|N", help=f"Input size, pixels; else the network's own, or {_SIZE[0]}x{_SIZE[1]}."),
    ] = "",
    batch: Annotated[
        str, typer.Option(metavar="MIN,OPT,MAX", help="Least (1 for use in a run), usual and most frames a call.")
    ] = "1,8,8",
    force: Annotated[bool, typer.Option("--force", help="Build anew what is there, or failed before.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show the engines that are here, and end.")] = False,
    remove: Annotated[
        str, typer.Option(metavar="NAME", help="Remove an engine that --list names, and end.", show_default=False)
    ] = "",
    family: FamilyOption = "",
    manifest: ManifestOption = None,
    mirror: MirrorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Build the TensorRT engine of a model for this machine's GPU, which takes minutes.

    Else `--device tensorrt` builds it at first use, while CUDA serves. An engine is for one GPU, driver, TensorRT,
    ONNX Runtime, network and input size; what differs in any of them is built anew.

    \b
    Examples:
      watchline models build yolov8n
      watchline models build best.onnx --imgsz 640 --batch 1,4,16
      watchline models build --list
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.detectors.engine_cache import EngineCache
    from watchline.detectors.opening import engines_folder

    engines = EngineCache(engines_folder(cache), say=_say)
    if listed:
        _show(engines.entries(), as_json)
    elif remove:
        _remove(engines, remove)
    else:
        if not model:
            raise UsageError("models build: name a model file, or a name that `watchline models list` shows")
        started = time.monotonic()
        wanted = _wanted(device, imgsz, batch)
        network, said = _network(model, cache, mirror, family, manifest)
        entry, is_new = _built(network, said, wanted, engines, force=force)
        _tell(entry, is_new, time.monotonic() - started, as_json)


@dataclasses.dataclass(frozen=True, slots=True)
class _Wanted:
    """What the engine is to be: checked before a model is fetched for it.

    Attributes:
        device: "tensorrt" or "tensorrt-f32".
        size: height and width, pixels; None for the network's own, or the usual.
        batch: least, usual and most frames a call.
        platform: what it is for.
    """

    device: str
    size: tuple[int, int] | None
    batch: tuple[int, int, int]
    platform: Platform


def _wanted(device: str, imgsz: str, batch: str) -> _Wanted:
    from watchline.detectors.gpu import find_platform
    from watchline.detectors.tensorrt import PRECISIONS

    if device not in PRECISIONS:
        raise UsageError(f"--device {device}: want {' or '.join(PRECISIONS)}; other devices have nothing to build")
    return _Wanted(device, image_size(imgsz), _batch(batch), find_platform())


def _network(model: str, cache: Path, mirror: str, family: str, manifest: Path | None) -> tuple[Path, str]:
    """Returns the ONNX file that is meant, fetched or imported if need be, and its family where it does not say it."""
    from watchline.detectors.manifest import Manifest
    from watchline.pipeline.cli.progress import fetch_shown
    from watchline.pipeline.model import find_model, imports, network_of

    found = find_model(model, cache, lambda entry: fetch_shown(entry, cache, mirror))
    said = Manifest.read(manifest) if manifest else found.said
    said = dataclasses.replace(said, family=family) if family else said
    network = network_of(dataclasses.replace(found, said=said), imports(cache))
    if network.suffix.lower() == ".xml":
        raise UsageError(f"{model}: an OpenVINO network runs on the CPU; build the ONNX of `watchline models import`")
    return network, said.wanted if network == found.path else ""


def _built(
    network: Path,
    family: str,
    wanted: _Wanted,
    engines: EngineCache,
    *,
    force: bool,
) -> tuple[Entry, bool]:
    """Returns the engine, and whether it was built now."""
    from watchline.detectors.importer.description import hash_file
    from watchline.detectors.opening import open_engine
    from watchline.detectors.tensorrt import TensorRtWorkshop, build_in_child

    on_cpu = open_engine(network, "cpu", family)
    card, size = on_cpu.card, _size(wanted.size, on_cpu.fixed_size, on_cpu.card)
    del on_cpu
    workshop = TensorRtWorkshop(
        (network, hash_file(network)),
        card,
        wanted.device,
        wanted.platform,
        engines,
        build_in_child(card),
        batch=wanted.batch,
    )
    key = workshop.key(size)
    entry = None if force or engines.failure(key) else engines.find(key)
    if entry is not None:
        return entry, False
    frames = f"{key.batch[0]} to {key.batch[2]} frames"
    _say(f"{network.name}: building for {key.gpu}, {size[0]}x{size[1]}, {key.precision}, {frames}")
    with _elapsed():
        return workshop.make(size), True


def _size(asked: tuple[int, int] | None, fixed: tuple[int, int] | None, card: ModelCard) -> tuple[int, int]:
    """Returns the size to build for: what a run would feed the network, unless another was asked for."""
    size = asked or fixed or (_STRETCHED if card.placement == "stretch" else _SIZE)
    if fixed:
        if size != fixed:
            raise UsageError(
                f"--imgsz {size[0]}x{size[1]}: this network takes {fixed[0]}x{fixed[1]} alone; leave --imgsz out"
            )
        return fixed
    stride = max(card.strides, default=32)
    if any(side % stride or side > _MOST_SIDE for side in size):
        raise UsageError(f"--imgsz {size[0]}x{size[1]}: want multiples of {stride}, at most {_MOST_SIDE}")
    return size


def _batch(text: str) -> tuple[int, int, int]:
    """Returns least, usual and most frames.

    >>> _batch("1,4,16")
    (1, 4, 16)
    """
    parts = re.fullmatch(r"(\d{1,3}),(\d{1,3}),(\d{1,3})", text.replace(" ", ""))
    least, usual, most = map(int, parts.groups()) if parts else (0, 0, 0)
    if not 1 <= least <= usual <= most <= _MOST_BATCH:
        raise UsageError(f"--batch {text}: want three rising numbers from 1 to {_MOST_BATCH}, such as 1,4,8")
    return least, usual, most


@contextmanager
def _elapsed() -> Iterator[None]:
    """Tells every few seconds how long it has taken: TensorRT does not say how much is left."""
    done, started = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(_TOLD_EVERY_S):
            _say(f"still building, {time.monotonic() - started:.0f} s; most networks take 1 to 10 minutes")

    thread = threading.Thread(target=tell, name="watchline-elapsed", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tell(entry: Entry, is_new: bool, took_s: float, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_record(entry) | {"built_now": is_new, "took_s": round(took_s, 1)}, indent=2))
        return
    how = f"built in {entry.build_s:.0f} s" if is_new else "was here already (--force builds it anew)"
    _say(f"{entry.folder.name}: {how}, {entry.size_bytes / 1e6:.1f} MB")
    typer.echo(entry.folder)


def _show(entries: list[Entry], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_record(entry) for entry in entries], indent=2))
        return
    for entry in entries:
        key = entry.key
        what = f"{key.precision}, {key.batch[0]} to {key.batch[2]} frames, {entry.size_bytes / 1e6:.1f} MB"
        on = f"{key.gpu}, driver {key.driver}, TensorRT {key.tensorrt}, onnxruntime {key.onnxruntime}"
        typer.echo(f"{entry.folder.name}  {what}, for {on}")


def _record(entry: Entry) -> dict[str, object]:
    facts = {"name": entry.folder.name, "path": str(entry.folder), "size_bytes": entry.size_bytes}
    return facts | {"build_s": entry.build_s, "key": dataclasses.asdict(entry.key)}


def _remove(engines: EngineCache, name: str) -> None:
    entry = next((entry for entry in engines.entries() if entry.folder.name == name), None)
    if entry is None:
        raise ModelError(f"no engine {name!r}; `watchline models build --list` shows them")
    if not engines.remove(entry):
        raise OutputError(f"cannot remove {entry.folder}; permit writing there")
    typer.echo(f"removed {entry.folder}")


def _say(text: str) -> None:
    print(f"watchline: {text}", file=sys.stderr)  # noqa: T201
