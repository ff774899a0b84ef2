"""`watchline models quantize`: an int8 model out of a float one, and what it loses."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from watchline.detectors.quantize_ranges import METHODS
from watchline.pipeline.cli.catalog_options import CacheOption, FamilyOption, JsonOption, MirrorOption
from watchline.pipeline.cli.comparing import ClassesOption, ConfOption, as_record, checked_size, show, split
from watchline.pipeline.cli.progress import fetch_shown
from watchline.streams.errors import ModelError, UsageError

if TYPE_CHECKING:
    from watchline.pipeline.quantizing import Attempt

_DEFAULT_METHOD: Final = "percentile"
_DEFAULT_SIZE: Final = 640
_NO_GAIN: Final = 0.95  # of the time of the float model


def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that is here, or a file.")],
    calibrate: Annotated[
        list[str],
        typer.Option("--calibrate", metavar="CLIP|DIR", help="Video, images, or a folder of either; several, too."),
    ],
    cache: CacheOption,
    method: Annotated[
        str, typer.Option(metavar="NAME", help=f"How ranges are found: {', '.join(METHODS)}.")
    ] = _DEFAULT_METHOD,
    family: FamilyOption = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Else MODEL-int8.onnx, in the folder you are in.")
    ] = None,
    imgsz: Annotated[
        str,
        typer.Option(metavar="N|HxW", help="Longest side of its input; or, of a checkpoint, the size to fix it to."),
    ] = "640",
    frames: Annotated[
        int, typer.Option(min=2, help="How many, spread over the clips: half calibrate, half compare.")
    ] = 128,
    max_loss: Annotated[float, typer.Option(min=0, max=1, help="Most of the boxes that may be lost.")] = 0.02,
    keep: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=3,
            help="How much stays float: 0 the decoding alone; 1 also the first tenth of the convolutions and all that "
            "is no convolution; 2 also the last convolutions; 3 also the first quarter. Else the least that will do.",
        ),
    ] = None,
    classes: ClassesOption = "",
    conf: ConfOption = 0.25,
    force: Annotated[bool, typer.Option("--force", help="Write it whatever it lost.")] = False,
    mirror: MirrorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make an int8 model: a quarter of the file, less time and memory, and a little less found.

    Every second frame calibrates it; on the others it is compared with the float model. One that lost more of its
    boxes than --max-loss is not written. What comes after the last convolutions always stays float.

    \b
    Examples:
      watchline models quantize yolov8n --calibrate shop.mp4 --calibrate yard.mp4
      watchline models quantize best.pt --calibrate clips/ --classes person --out best-int8.onnx
      watchline models quantize best.pt --calibrate shop.mp4 --imgsz 384x640 --method entropy --force
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.detectors.quantize import Recipe
    from watchline.pipeline.compare import CompareOptions
    from watchline.pipeline.quantizing import QuantizeOptions, inputs_of, write
    from watchline.pipeline.quantizing import quantize as quantized

    size, fixed = _sizes(imgsz)
    recipe = Recipe(method, keep or 0)  # type: ignore[arg-type]  # checked there
    network = _network(model, cache, mirror, family, fixed)
    out = out or Path(f"{Path(model).stem}-int8.onnx")
    options = QuantizeOptions(recipe, keep is None, frames, max_loss, CompareOptions(conf, size, split(classes)))
    inputs = [found for spec in calibrate for found in inputs_of(spec)]
    best = quantized(Path(model).name, network, inputs, options, _tell)
    written = best.loss <= max_loss or force
    if written:
        write(best.onnx, out)
    if as_json:
        record = {"recipe": asdict(best.recipe), "out": str(out) if written else None, **as_record(best.comparison)}
        typer.echo(json.dumps(record, indent=2))
    else:
        show(best.comparison)
    _warn(best)
    if not written:
        raise ModelError(
            f"{Path(model).name}: int8 lost {best.loss:.1%} of its boxes, more than --max-loss {max_loss:g}; nothing "
            "is written: calibrate with more clips or another --method, or write it with --force"
        )
    if not as_json:
        typer.echo(f"{out}: int8, {best.recipe}")


def _warn(best: Attempt) -> None:
    """Says what a person should know before using the result."""
    from watchline.pipeline.quantizing import FEW_BOXES

    boxes, (a, b) = best.comparison.boxes.boxes_a, (best.comparison.a, best.comparison.b)
    if boxes < FEW_BOXES:
        _say(f"watchline: only {boxes} box{'es' * (boxes != 1)} to compare: too few to trust; give more clips")
    if b.cpu_ms > _NO_GAIN * a.cpu_ms:
        _say(
            f"watchline: int8 is not faster here ({b.cpu_ms:.1f} ms a frame, float {a.cpu_ms:.1f} ms): its "
            "convolutions are small or a channel each; the float model may serve better"
        )


def _tell(attempt: Attempt) -> None:
    boxes, took = attempt.comparison.boxes, attempt.comparison.b
    _say(
        f"{attempt.recipe}: recall {boxes.recall:.3f}, precision {boxes.precision:.3f}, "
        f"{len(attempt.onnx) / 1e6:.2f} MB, {took.cpu_ms:.1f} ms a frame"
    )


def _sizes(imgsz: str) -> tuple[int, tuple[int, int] | None]:
    """Returns the longest side of an input, and the height and width to fix it to, if any.

    >>> _sizes("384x640")
    (640, (384, 640))
    """
    sides = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", imgsz)
    if not sides:
        raise UsageError(f"--imgsz {imgsz}: want a longest side in pixels, such as 640, or height x width")
    height, width = int(sides[1]), int(sides[2] or sides[1])
    fixed = (height, width) if sides[2] else None
    return (_DEFAULT_SIZE if fixed else checked_size(height)), fixed


def _network(model: str, cache: Path, mirror: str, family: str, fixed: tuple[int, int] | None) -> Path:
    """Returns the float network, fixed to a size where one is asked for."""
    from watchline.detectors.importer.convert import import_checkpoint
    from watchline.pipeline.model import ModelFile, find_model, imports, network_of

    found = find_model(model, cache, partial(fetch_shown, cache=cache, mirror=mirror), detects=True)
    suffix = found.path.suffix.lower()
    if suffix == ".xml":
        raise UsageError(f"{found.path}: an OpenVINO network; turn it into ONNX first, with `watchline models import`")
    if fixed is None or suffix == ".onnx":
        if fixed:
            raise UsageError(
                f"--imgsz {fixed[0]}x{fixed[1]}: only a checkpoint can be fixed to a size; give one number"
            )
        said = replace(found.said, family=family) if family else found.said
        return network_of(ModelFile(found.path, said), imports(cache))
    return import_checkpoint(found.path, imports(cache), fixed)


def _say(text: str) -> None:
    typer.echo(text, err=True)
