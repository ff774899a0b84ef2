"""`watchline reid`: pictures of people into features, and who in a gallery is most like whom."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from watchline.detectors.opening import devices_of
from watchline.pipeline.cli.catalog_options import CacheOption, DeviceOption, FamilyOption, MirrorOption
from watchline.pipeline.cli.extraction import MODEL, Extracted, Extraction, Means, say
from watchline.pipeline.cli.identification import Outputs, Question, answer
from watchline.pipeline.files import writing
from watchline.streams.errors import OutputError, UsageError

app = typer.Typer(no_args_is_help=True, help="Describe pictures of people, and find who is most like whom.")

_PARTIAL = 3
_INTERRUPTED = 130
_FEATURES = ".npz"
_BEST = 5

DetectorOption = Annotated[
    str, typer.Option("--detector", metavar="NAME|FILE", help="What finds the people of a video.")
]
BestOption = Annotated[
    int | None,
    typer.Option("--best", min=1, max=1000, help=f"Pictures of each track of a video, the best ones; else {_BEST}."),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Every picture of everybody in every frame of a video, good or not.")
]
FpsOption = Annotated[
    float, typer.Option("--fps", min=0, help="Look at so many frames a second of a video at most; 0: all.")
]


@app.callback()
def _group() -> None:
    pass


@app.command("extract")
def extract(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Pictures, folders of pictures, lists (CSV, JSON), videos.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz", help="Where the features go.")],
    cache: CacheOption,
    query: Annotated[
        list[str] | None,
        typer.Option("--query", metavar="INPUT", help="One more input, marked as what is asked for; several, too."),
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="What describes the pictures.")] = MODEL,
    family: FamilyOption = "",
    detector: DetectorOption = "yolov8n",
    best: BestOption = None,
    every: AllOption = False,
    fps: FpsOption = 0.0,
    device: DeviceOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as a line of JSON; no progress.")] = False,
    mirror: MirrorOption = "",
) -> None:
    """Describe pictures of people by vectors, and keep them in a file of features.

    Of a video, people are found and followed, and the best pictures of each track are described. A folder is
    searched with all below it, and each picture in it is a person. A list has a row a picture: path (from the
    list's folder), and where known x1, y1, x2, y2 (pixels), person_id, camera, time_s. Names in the form of
    Market-1501, such as 0002_c1s1_000451_03.jpg, say person and camera.

    \b
    Examples:
      watchline reid extract shop.mp4 yard.mp4 --out gallery.npz
      watchline reid extract crops/ missing.jpg --out people.npz
      watchline reid extract bounding_box_test/ --query query/ --out market.npz

    \b
    Exit codes:
      0  all pictures described
      1  nothing usable came of it
      2  wrong usage
      3  partial: some pictures or inputs could not be read; each is named
    130  interrupted; nothing is written
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    _check_out(out, overwrite=overwrite)
    means = _means(model, family, detector, best, every, fps, device, cache, mirror, quiet=as_json)
    started_s = time.monotonic()
    with _nothing_half(out):
        done = Extraction(means).run([*((spec, False) for spec in inputs), *((spec, True) for spec in query or ())])
        _write(out, done)
    _tell(out, done, time.monotonic() - started_s, as_json=as_json)
    raise typer.Exit(0 if done.is_whole else _PARTIAL)


@app.command("identify")
def identify(
    gallery: Annotated[
        str, typer.Option("--gallery", "-g", metavar="X", help="Who is known: features (.npz), or as for extract.")
    ],
    query: Annotated[str, typer.Option("--query", "-q", metavar="Y", help="Who is asked for: the same.")],
    cache: CacheOption,
    top: Annotated[int, typer.Option("--top", "-k", min=1, max=1000, help="Answers a query.")] = 10,
    as_json: Annotated[
        str, typer.Option("--json", metavar="FILE|-", help="Write the answers as JSON; - prints them.")
    ] = "",
    as_csv: Annotated[
        str, typer.Option("--csv", metavar="FILE|-", help="Write the answers as a table; - prints it.")
    ] = "",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures to look at.")
    ] = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder whose pictures may be in the page; several, too. A file of features may name any file of this "
            "machine, so of those that it names none else is shown.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help=f"What describes pictures; else what made the features, or {MODEL}."),
    ] = "",
    family: FamilyOption = "",
    detector: DetectorOption = "yolov8n",
    best: BestOption = None,
    every: AllOption = False,
    fps: FpsOption = 0.0,
    device: DeviceOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    mirror: MirrorOption = "",
) -> None:
    """Rank the people of a gallery by how much they are like those that are asked for.

    Pictures of one track count as one: their mean is compared, and the picture shown is the one most like the query.
    The order is by cosine, over all of the gallery. A track or a picture is no answer to itself. Of a file that holds
    both queries and a gallery, each option takes its own.

    Similarity orders pictures; it does not say how sure it is that two show one person.

    \b
    Examples:
      watchline reid identify --gallery gallery.npz --query missing.jpg --html sheet.html --pictures .
      watchline reid identify --gallery yard.mp4 --query shop.mp4 --top 5 --json answers.json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    if "-" == as_json == as_csv:
        raise UsageError("--json - and --csv -: only one of them can be printed; give the other a file")
    _check_pictures(pictures or (), html)
    named = {"--json": as_json, "--csv": as_csv, "--html": str(html or "")}
    outputs = {option: Path(name) for option, name in named.items() if name not in ("", "-")}
    _check_outputs(outputs, overwrite=overwrite)
    quiet = "-" in (as_json, as_csv)
    means = _means(model, family, detector, best, every, fps, device, cache, mirror, quiet=quiet)
    with _nothing_half(*outputs.values()):
        is_whole = answer(Question(gallery, query, top, means), Outputs(as_json, as_csv, html, tuple(pictures or ())))
    raise typer.Exit(0 if is_whole else _PARTIAL)


def _means(
    model: str,
    family: str,
    detector: str,
    best: int | None,
    every: bool,
    fps: float,
    device: str,
    cache: Path,
    mirror: str,
    *,
    quiet: bool,
) -> Means:
    import cv2

    devices_of(device)
    if every and best:
        raise UsageError("--all and --best exclude each other; give one of them")
    if not math.isfinite(fps):
        raise UsageError(f"--fps {fps}: want a number")
    # What it has to say of a damaged picture comes as our own line.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return Means(model, family, detector, 0 if every else best or _BEST, fps, device, cache, mirror, quiet)


def _check_out(out: Path, *, overwrite: bool) -> None:
    """Refuses a file that cannot or may not be written, before the work is done."""
    if out.suffix.lower() != _FEATURES:
        raise UsageError(f"--out {out}: want a name that ends in {_FEATURES}")
    _check_file("--out", out, overwrite=overwrite)


def _check_outputs(outputs: Mapping[str, Path], *, overwrite: bool) -> None:
    if len({path.absolute() for path in outputs.values()}) < len(outputs):
        raise UsageError(f"{' and '.join(outputs)}: one file for two of them; name several")
    for option, path in outputs.items():
        _check_file(option, path, overwrite=overwrite)


def _check_file(option: str, path: Path, *, overwrite: bool) -> None:
    with writing(path, option):  # also of a name too long to be one
        if path.is_dir():
            raise UsageError(f"{option} {path}: is a folder; name a file in it")
        if path.exists() and not overwrite:
            raise UsageError(f"{option} {path}: is there already; choose another, or replace it with --overwrite")
        if not path.parent.is_dir():
            raise OutputError(f"{option} {path}: there is no folder {path.parent}; make it, or choose another")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{option} {path}: cannot write (permission denied); allow writing there or choose another")


def _check_pictures(folders: Sequence[Path], html: Path | None) -> None:
    if folders and html is None:
        raise UsageError("--pictures: says whose pictures may be in the page; give --html, too")
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--pictures {folder}: there is no such folder; name one")


@contextmanager
def _nothing_half(*files: Path) -> Iterator[None]:
    """An interrupt leaves no part of a file behind."""
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends now; another one would only spoil that
        for file in files:
            file.with_name(file.name + ".part").unlink(missing_ok=True)
        say("interrupted; nothing is left half written")
        raise typer.Exit(_INTERRUPTED) from None


def _write(out: Path, done: Extracted) -> None:
    from watchline.reid.features import write_features

    write_features(out, done.features)


def _tell(out: Path, done: Extracted, wall_s: float, *, as_json: bool) -> None:
    from watchline.pipeline.identifying import model_record

    features = done.features
    tracked = features.track_id >= 0
    tracks = len({*zip(features.file[tracked], features.camera[tracked], features.track_id[tracked], strict=True)})
    if as_json:
        record = {
            "out": str(out),
            "status": "complete" if done.is_whole else "partial",
            "pictures": len(features),
            "tracks": tracks,
            "model": model_record(features.model),
            "problems": done.problems.told(),
            "wall_s": round(wall_s, 3),
        }
        typer.echo(json.dumps(record))
        return
    of = f" of {tracks} {_plural(tracks, 'track')}" if tracks else ""
    count, model = len(features), features.model
    typer.echo(
        f"{out}: {count} {_plural(count, 'picture')}{of}, {model.dimension} numbers each by {model.name}, "
        f"in {wall_s:.1f} s"
    )


def _plural(count: int, word: str) -> str:
    return word + "s" * (count != 1)
