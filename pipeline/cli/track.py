"""`watchline track`: follows the objects of a file of detections; no video, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchline.pipeline.cli.tracker_options import Backend, Name, Preset, Settings
from watchline.pipeline.files import write_whole
from watchline.pipeline.track_files import LAYOUTS, TimedStepper, read_detections, track_lines
from watchline.streams.errors import UsageError
from watchline.trackers.build import TrackerChoice, build_stepper, build_tracker
from watchline.trackers.settings import one_of


def track(
    detections: Annotated[Path, typer.Argument(metavar="DETECTIONS.txt", help="Boxes with scores, one a line.")],
    tracker: Name,
    preset: Preset = "default",
    settings: Settings = None,
    backend: Backend = "auto",
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
    choice = TrackerChoice(tracker, preset, tuple(settings or ()), backend)
    stepper = build_stepper(choice, fps) if preset == "reference" else TimedStepper(build_tracker(choice, 1 / fps), fps)
    one_of("form of boxes", boxes, LAYOUTS)
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
