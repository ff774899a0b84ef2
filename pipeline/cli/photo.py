"""`watchline photo`: a photo of a missing person, looked at before anything is searched."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.detectors.opening import devices_of
from watchline.pipeline.cli.catalog_options import CacheOption, DeviceOption, JsonOption, MirrorOption
from watchline.streams.errors import OutputError, UsageError

if TYPE_CHECKING:
    from watchline.pipeline.cases.photos import Photo
    from watchline.pipeline.cases.shots import Shot
    from watchline.pipeline.cases.subjects import Found, PhotoSubject

app = typer.Typer(no_args_is_help=True, help="Look at a photo of a missing person: who is in it, is it good enough?")

DetectorOption = Annotated[str, typer.Option("--detector", metavar="NAME|FILE", help="What finds people.")]
ReidModelOption = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="Try what describes people, such as osnet-x0-25.", show_default=False)
]
FaceDetectorOption = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="Look for faces too, by this model, such as yunet.", show_default=False)
]
FaceModelOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="Try what describes faces, such as sface; needs --face-detector.",
        show_default=False,
    ),
]
PersonOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Who is meant, where several are found; 1 is the leftmost.")
]
WholeOption = Annotated[
    bool, typer.Option("--whole", help="The photo was cut out around the person before: take all of it.")
]


@app.callback()
def _group() -> None:
    pass


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A photo: JPEG, PNG or WebP.", show_default=False)],
    cache: CacheOption,
    person: PersonOption = None,
    whole: WholeOption = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE.jpg", help="Write the photo with numbered boxes there.", show_default=False
        ),
    ] = None,
    detector: DetectorOption = "yolov8n",
    reid_model: ReidModelOption = "",
    face_detector: FaceDetectorOption = "",
    face_model: FaceModelOption = "",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    mirror: MirrorOption = "",
) -> None:
    """Find who is in a photo, and say how good it is to search with and what would help.

    Nothing is searched, and nothing is kept: only --out writes a file. People
    are numbered from left to right; where there are several, --person says who
    is meant. A small picture of a person's shape, such as one that was cut out
    of a camera's, is taken whole where nobody is found in it, or one person
    who takes up nearly all of it.

    Quality runs from 0 to 1: size, sharpness, and how much of the person is
    seen. It says how much there is to compare, not who it is.

    \b
    Examples:
      watchline photo check missing.jpg
      watchline photo check party.png --out marked.jpg
      watchline photo check party.png --person 2 --face-detector yunet

    \b
    Exit codes:
      0  somebody is found who can be searched with; of several, who is meant
         must still be said
      1  the photo cannot be read, nobody is in it, or who is meant cannot be
         searched with
      2  wrong usage
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.cases.marking import marked
    from watchline.pipeline.cases.photos import read_photo
    from watchline.pipeline.cases.subjects import choose
    from watchline.pipeline.files import write_whole

    devices_of(device)
    _check_options(person, whole, out, face_detector, face_model, overwrite=overwrite)
    _keep_photo(file, out)
    photo = read_photo(file)
    models = _Models(detector, face_detector, reid_model, face_model, cache, mirror, device)
    found = models.find(photo, whole=whole)
    several = person is None and len(found.subjects) > 1
    taken = None if several else choose(found, person, photo)
    shots = models.describe(photo, taken) if taken and taken.usable else ()
    if out is not None:
        write_whole(out, marked(photo.rgb, found.subjects, taken.number if taken else None))
    tell = _record if as_json else _text
    typer.echo(tell(photo, found, taken, shots, out))
    if not any(subject.usable for subject in ([taken] if taken else found.subjects)):
        if not face_detector:
            typer.echo("watchline: nobody looked for faces; one may do: --face-detector yunet", err=True)
        raise typer.Exit(1)


class _Models:
    """The networks that were asked for, each opened when it is needed."""

    def __init__(
        self, detector: str, face_detector: str, body: str, face: str, cache: Path, mirror: str, device: str
    ) -> None:
        from watchline.pipeline.cli.progress import fetch_shown

        self._detector, self._face_detector, self._body, self._face = detector, face_detector, body, face
        self._cache, self._device = cache, device
        self._obtain = partial(fetch_shown, cache=cache, mirror=mirror)

    def find(self, photo: Photo, *, whole: bool) -> Found:
        """Returns who is in the photo."""
        from watchline.pipeline.cases.opening import open_finder

        finder = open_finder(self._detector, self._face_detector, self._cache, self._obtain, self._device)
        return finder.find(photo, whole=whole)

    def describe(self, photo: Photo, subject: PhotoSubject) -> tuple[Shot, ...]:
        """Returns what the models make of somebody; nothing where none was asked for."""
        if not (self._body or self._face):
            return ()
        from watchline.pipeline.cases.shots import shots_of
        from watchline.pipeline.embedding import open_embedder
        from watchline.reid.embeddings import Kind

        body, face = (
            open_embedder(name, self._cache, self._obtain, self._device, kind) if name else None
            for name, kind in ((self._body, Kind.BODY), (self._face, Kind.FACE))
        )
        return shots_of(photo, subject, body, face)


def _check_options(
    person: int | None, whole: bool, out: Path | None, face_detector: str, face_model: str, *, overwrite: bool
) -> None:
    """Refuses what makes no sense, before any work is done."""
    if whole and person is not None:
        raise UsageError(f"--whole and --person {person} exclude each other; give one of them")
    if face_model and not face_detector:
        raise UsageError(f"--face-model {face_model}: nothing looks for faces; give --face-detector too, such as yunet")
    if out is None:
        return
    if out.suffix.lower() not in (".jpg", ".jpeg"):
        raise UsageError(f"--out {out}: want a name that ends in .jpg")
    if not out.parent.is_dir():
        raise OutputError(f"--out {out}: there is no folder {out.parent}; make it, or choose another")
    if out.exists() and (out.is_dir() or not overwrite):
        cure = "name a file in it" if out.is_dir() else "choose another, or replace it with --overwrite"
        raise UsageError(f"--out {out}: is {'a folder' if out.is_dir() else 'there already'}; {cure}")


def _keep_photo(file: Path, out: Path | None) -> None:
    """Refuses to write over the photo itself, whatever else may be replaced: it may be the only one."""
    if out is not None and out.exists() and file.exists() and out.samefile(file):
        raise UsageError(f"--out {out}: is the photo itself; choose another name")


def _record(photo: Photo, found: Found, taken: PhotoSubject | None, shots: tuple[Shot, ...], out: Path | None) -> str:
    """Returns the answer as a line of JSON."""
    from watchline.pipeline.cases.photo_words import record_of

    return json.dumps({**record_of(photo, found, taken, shots), "out": str(out) if out else None})


def _text(photo: Photo, found: Found, taken: PhotoSubject | None, shots: tuple[Shot, ...], out: Path | None) -> str:
    """Returns the answer for a person."""
    from watchline.pipeline.cases.photo_words import lines_of

    lines = lines_of(photo, found, taken, shots)
    if out:
        lines.append(f"marked picture: {out}")
    elif taken is None:
        lines.append("--out marked.jpg shows the numbers in the picture")
    return "\n".join(lines)
