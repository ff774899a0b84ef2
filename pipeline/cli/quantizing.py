"""`watchline models quantize`: a smaller model out of a float one, and what it loses."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from watchline.detectors.quantize import RUNTIMES, Recipe
from watchline.detectors.quantize_half import HALVES
from watchline.detectors.quantize_ranges import METHODS
from watchline.detectors.runtime import load_openvino
from watchline.pipeline.cli.catalog_options import CacheOption, FamilyOption, JsonOption, MirrorOption
from watchline.pipeline.cli.comparing import ClassesOption, ConfOption, as_record, checked_size, show, split
from watchline.pipeline.cli.progress import fetch_shown
from watchline.streams.errors import ModelError, UsageError

if TYPE_CHECKING:
    from watchline.pipeline.quantizing import Attempt

_DEFAULT_METHOD: Final = Recipe().method
_KINDS: Final = ("int8", *HALVES)
_DEFAULT_SIZE: Final = 640
_NO_GAIN: Final = 0.95  # of the time of the float model


def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that is here, or a file.")],
    calibrate: Annotated[
        list[str],
        typer.Option(
            "--calibrate",
            metavar="CLIP|DIR",
            help="Video, images, or a folder of either; several, too. For fp16 and bf16, which need no calibration, "
            "what both models are compared on.",
        ),
    ],
    cache: CacheOption,
    to: Annotated[str, typer.Option(metavar="NAME", help=f"Kind of its numbers: {', '.join(_KINDS)}.")] = "int8",
    runtime: Annotated[
        str,
        typer.Option(metavar="NAME", help=f"What it is made for, and compared on: {', '.join(RUNTIMES)}."),
    ] = RUNTIMES[0],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"How ranges are found: {', '.join(METHODS)}.",
            show_default=_DEFAULT_METHOD,
        ),
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="K",
            help="Also try calibration frames that are chosen from K clusters of four times as many, the same number "
            "of each; keep what is better.",
        ),
    ] = None,
    family: FamilyOption = "",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Else such as MODEL-int8.onnx or MODEL-int8-openvino.onnx, in the folder you are in."
        ),
    ] = None,
    imgsz: Annotated[
        str,
        typer.Option(metavar="N|HxW", help="Longest side of its input; or, of a checkpoint, the size to fix it to."),
    ] = "640",
    frames: Annotated[
        int, typer.Option(min=2, help="How many, spread over the clips: half calibrate, half compare; 16 bits: all do.")
    ] = 128,
    max_loss: Annotated[float, typer.Option(min=0, max=1, help="Most of the boxes that may be lost.")] = 0.02,
    keep: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=3,
            help="How much stays float: 0 the decoding alone (for openvino, all that is no convolution); 1 also the "
            "first tenth of the convolutions and all that is none; 2 also the last convolutions; 3 also the first "
            "quarter. Else the least that will do.",
        ),
    ] = None,
    classes: ClassesOption = "",
    conf: ConfOption = 0.25,
    force: Annotated[bool, typer.Option("--force", help="Write it whatever it lost.")] = False,
    mirror: MirrorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make an int8 model: a quarter of the file, less time and memory, and a little less found. Or one of 16 bits.

    Every clip is cut into parts: frames from the beginning of each calibrate, those at its end are held out, and on
    them it is compared with the float32 model. One that lost more of its boxes than --max-loss is not written. What
    comes after the last convolutions always stays float. A model that is made for one runtime runs on others, too.

    With --to fp16 or bf16 weights are stored in 16 bits: half the file, and what computes them is left to the runtime.

    \b
    Examples:
      watchline models quantize yolov8n --calibrate shop.mp4 --calibrate yard.mp4
      watchline models quantize yolov8n --calibrate shop.mp4 --runtime openvino --clusters 8
      watchline models quantize best.pt --calibrate clips/ --classes person --out best-int8.onnx
      watchline models quantize best.pt --calibrate shop.mp4 --imgsz 384x640 --method entropy --force
      watchline models quantize yolov8n --calibrate shop.mp4 --to fp16
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.compare import CompareOptions
    from watchline.pipeline.compare_sample import inputs_of
    from watchline.pipeline.files import write_whole
    from watchline.pipeline.quantizing import QuantizeOptions, halve
    from watchline.pipeline.quantizing import quantize as quantized

    _check_kind(to, method, clusters, keep)
    size, fixed = _sizes(imgsz)
    recipe = Recipe(method or _DEFAULT_METHOD, keep or 0, runtime)  # type: ignore[arg-type]  # checked there
    if runtime == "openvino":
        load_openvino()  # says at once where it is not installed
    name, out = Path(model).name, _writable(out or _default_out(model, to, runtime), model)
    inputs = [found for spec in calibrate for found in inputs_of(spec)]
    network = _network(model, cache, mirror, family, fixed)
    compared = CompareOptions(conf, size, split(classes))
    if to == "int8":
        options = QuantizeOptions(recipe, keep is None, clusters or 0, frames, max_loss, compared)
        best = quantized(name, network, inputs, options, _tell, _note)
    else:
        best = halve(name, network, inputs, to, recipe.runtime, frames, compared, _note)  # type: ignore[arg-type]  # as checked
    written = best.loss <= max_loss or force
    if written:
        write_whole(out, best.onnx)
    if as_json:
        typer.echo(json.dumps(_as_record(best, to, out if written else None), indent=2))
    else:
        show(best.comparison)
    _warn(best)
    if not written:
        more = "calibrate with more clips or another --method, or write it with --force"
        raise ModelError(
            f"{name}: {to} lost {best.loss:.1%} of its boxes, more than --max-loss {max_loss:g}; nothing "
            f"is written: {more if to == 'int8' else 'write it with --force'}"
        )
    if not as_json:
        typer.echo(f"{out}: {to}, {best.how}" if to == "int8" else f"{out}: {best.how}")


def _check_kind(to: str, method: str | None, clusters: int | None, keep: int | None) -> None:
    """Raises a `UsageError` for a kind that is none, or for options that it has no use for."""
    if to not in _KINDS:
        raise UsageError(f"--to {to}: want one of {', '.join(_KINDS)}")
    given = {"--method": method, "--clusters": clusters, "--keep": keep}
    useless = [name for name, value in given.items() if value is not None]
    if to in HALVES and useless:
        raise UsageError(f"--to {to}: nothing is calibrated, so {' and '.join(useless)} would do nothing; leave it out")


def _default_out(model: str, to: str, runtime: str) -> Path:
    """Returns where the result goes if nothing is said: what is made for another runtime has another name.

    >>> _default_out("models/yolov8n.pt", "int8", "openvino").name
    'yolov8n-int8-openvino.onnx'
    """
    made_for = f"-{runtime}" if to == "int8" and runtime != RUNTIMES[0] else ""
    return Path(f"{Path(model).stem}-{to}{made_for}.onnx")


def _writable(out: Path, model: str) -> Path:
    """Returns `out`, if a file can be there that is not the model itself.

    Raises:
        UsageError: it cannot.
    """
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name a file, such as {out / 'model-int8.onnx'}")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out.exists() and Path(model).exists() and out.samefile(model):
        raise UsageError(f"--out {out}: is the model itself; choose another name")
    return out


def _as_record(best: Attempt, to: str, out: Path | None) -> dict[str, object]:
    """Returns what was made as JSON has it."""
    record: dict[str, object] = {
        "to": to,
        "recipe": asdict(best.recipe) if best.recipe else None,
        "clusters": best.clusters,
        "out": str(out) if out else None,
        **as_record(best.comparison),
    }
    if best.rival:
        record["rival"] = {"clusters": best.rival.clusters, "boxes": as_record(best.rival.comparison)["boxes"]}
    return record


def _warn(best: Attempt) -> None:
    """Says what a person should know before using the result."""
    from watchline.pipeline.quantizing import FEW_BOXES

    boxes, (a, b) = best.comparison.boxes.boxes_a, (best.comparison.a, best.comparison.b)
    if boxes < FEW_BOXES:
        _say(f"watchline: only {boxes} box{'es' * (boxes != 1)} to compare: too few to trust; give more clips")
    if best.rival:
        _say(_judged(best, best.rival))
    if best.recipe and b.cpu_ms > _NO_GAIN * a.cpu_ms:
        _say(
            f"watchline: int8 is not faster here ({b.cpu_ms:.1f} ms a frame, float {a.cpu_ms:.1f} ms): its "
            "convolutions are small or a channel each; the float model may serve better"
        )


def _judged(best: Attempt, rival: Attempt) -> str:
    """Says whether clusters paid, on the frames that both were compared on."""
    with_clusters, without = (best, rival) if best.clusters else (rival, best)
    x, y = with_clusters.comparison.boxes, without.comparison.boxes
    return (
        f"watchline: {with_clusters.clusters} clusters {'pay' if best is with_clusters else 'do not pay'}: recall "
        f"{x.recall:.3f}, precision {x.precision:.3f}; without {y.recall:.3f}, {y.precision:.3f}"
    )


def _note(text: str) -> None:
    _say(f"watchline: {text}")


def _tell(attempt: Attempt) -> None:
    boxes, took = attempt.comparison.boxes, attempt.comparison.b
    _say(
        f"{attempt.how}: recall {boxes.recall:.3f}, precision {boxes.precision:.3f}, "
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
