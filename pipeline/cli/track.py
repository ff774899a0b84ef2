"""`watchline track`: follows the objects of a file of detections; no video, no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import typer

from watchline.pipeline.files import write_whole
from watchline.pipeline.track_files import LAYOUTS, TimedStepper, read_detections, track_lines
from watchline.streams.errors import UsageError
from watchline.trackers.build import BACKENDS, Backend, byte_track, life_s, oc_sort
from watchline.trackers.byte_track import ByteTrackOptions
from watchline.trackers.byte_track_reference import ByteTrackReference
from watchline.trackers.native_byte_track import NATIVE
from watchline.trackers.native_reference import NativeByteTrackReference, NativeOcSortReference
from watchline.trackers.oc_sort import OcSortOptions
from watchline.trackers.oc_sort_reference import OcSortReference
from watchline.trackers.reference_options import ByteTrackReferenceOptions, OcSortReferenceOptions
from watchline.trackers.rows import FrameStepper

_TRACKERS: Final = ("bytetrack", "ocsort")
_PRESETS: Final = ("default", "reference")
_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def track(
    detections: Annotated[Path, typer.Argument(metavar="DETECTIONS.txt", help="Boxes with scores, one a line.")],
    tracker: Annotated[str, typer.Option(metavar="NAME", help="How objects are followed: bytetrack or ocsort.")],
    preset: Annotated[
        str,
        typer.Option(metavar="NAME", help="default: our best; reference: the published program to the last digit."),
    ] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the tracker; may be given several times."),
    ] = None,
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="What runs it: auto, native or python; the answers are the same.")
    ] = "auto",
    fps: Annotated[float, typer.Option(min=0.001, max=1000, help="Frames a second of the sequence.")] = 30.0,
    boxes: Annotated[
        str, typer.Option(metavar="FORM", help="tlwh: frame,id,x,y,w,h,score,...; xyxy: frame,x1,y1,x2,y2,score.")
    ] = "tlwh",
    frames: Annotated[
        int | None, typer.Option(min=1, help="Length of the sequence, where it goes on after the last detection.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Else standard output.")] = None,
) -> None:
    """Follow the objects of a file of detections and write frame,id,x,y,w,h,score.

    Every frame from 1 to the last is stepped, empty ones too. The rows of a frame come out in the tracker's
    order, numbers in full float64 precision. Preset reference takes the options of the published programs:
    track_thresh, track_buffer, match_thresh, mot20, frame_rate (--fps, if left out); det_thresh, max_age,
    min_hits, iou_threshold, delta_t, inertia, use_byte.

    \b
    Examples:
      watchline track det/det.txt --tracker bytetrack
      watchline track det.csv --boxes xyxy --tracker ocsort --preset reference --set use_byte=true --out tracks.txt
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    _one_of("--tracker", tracker, _TRACKERS)
    _one_of("--preset", preset, _PRESETS)
    _one_of("--backend", backend, BACKENDS)
    stepper = _make(tracker, preset, settings or (), fps, backend)  # type: ignore[arg-type]  # checked above
    _one_of("--boxes", boxes, LAYOUTS)
    found = read_detections(detections, boxes)  # type: ignore[arg-type]  # checked above
    if frames is not None and frames < found.last_frame:
        raise UsageError(
            f"--frames {frames}: {detections} has detections up to frame {found.last_frame}; give that many"
        )
    lines = [f"{line}\n" for line in track_lines(found, stepper, frames or found.last_frame)]
    if out is None:
        typer.echo("".join(lines), nl=False)
    else:
        write_whole(out, "".join(lines))
    if isinstance(stepper, TimedStepper) and stepper.dropped:
        typer.echo(f"watchline: {detections}: {stepper.dropped} boxes without area left out", err=True)


def _make(
    tracker: str, preset: str, settings: Sequence[str], fps: float, backend: Backend
) -> FrameStepper | TimedStepper:
    native = NATIVE if backend == "auto" else backend == "native"
    if (tracker, preset) == ("bytetrack", "reference"):
        values = parse_settings(ByteTrackReferenceOptions, settings, "bytetrack, preset reference")
        published = ByteTrackReferenceOptions(**({"frame_rate": fps} | values))
        return NativeByteTrackReference(published) if native else ByteTrackReference(published)
    if tracker == "ocsort" and preset == "reference":
        program = OcSortReferenceOptions(**parse_settings(OcSortReferenceOptions, settings, "ocsort, preset reference"))
        return NativeOcSortReference(program) if native else OcSortReference(program)
    if tracker == "ocsort":
        values = parse_settings(OcSortOptions, settings, "ocsort, preset default")
        return TimedStepper(oc_sort(OcSortOptions(**({"lost_s": life_s(1 / fps)} | values)), backend), fps)
    values = parse_settings(ByteTrackOptions, settings, "bytetrack, preset default")
    options = ByteTrackOptions(**({"lost_s": life_s(1 / fps)} | values))
    return TimedStepper(byte_track(options, backend), fps)


def _one_of(option: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise UsageError(f'{option} "{value}"{_near(value, known)} known: {", ".join(known)}')
    return value


def _near(name: str, known: Sequence[str]) -> str:
    return "".join(f', did you mean "{match}"?' for match in get_close_matches(name, known, n=1)) or ";"


def parse_settings(options: type, settings: Sequence[str], what: str) -> dict[str, Any]:
    """Returns the values of `settings`, texts name=value, as the fields of the dataclass `options` want them.

    Args:
        options: a dataclass with fields of bool, int, float or a Literal of texts.
        settings: later ones win.
        what: whose options they are, for messages.

    Raises:
        UsageError: no "=", an unknown name (the nearest is suggested), or a value of another type.

    >>> parse_settings(OcSortReferenceOptions, ["use_byte=yes", "max_age=12"], "ocsort")
    {'use_byte': True, 'max_age': 12}
    """
    kinds, values = get_type_hints(options), dict[str, Any]()
    names = [field.name for field in dataclasses.fields(options)]
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            raise UsageError(f'--set "{setting}": want NAME=VALUE, such as {names[0]}=...')
        if name not in names:
            raise UsageError(f"--set {name}: no such option of {what}{_near(name, names)} known: {', '.join(names)}")
        values[name] = _value(f"--set {name}", text, kinds[name])
    return values


def _value(where: str, text: str, kind: Any) -> bool | int | float | str:
    if kind is bool:
        return _TRUTH[_one_of_values(where, text.lower(), tuple(_TRUTH))]
    if get_origin(kind) is Literal:
        return _one_of_values(where, text, get_args(kind))
    try:
        return int(text) if kind is int else float(text)
    except ValueError as error:
        raise UsageError(f'{where}: "{text}" is no {"whole " if kind is int else ""}number') from error


def _one_of_values(where: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise UsageError(f'{where}: "{text}" is none of {", ".join(known)}')
    return text
