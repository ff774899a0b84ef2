"""Which pictures an input names: a picture, a folder of them, or a list in CSV or JSON with a box and more a row."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.pipeline.cropping import Box
from watchline.pipeline.picture_headers import PICTURE_SUFFIXES, UNREAD_SUFFIXES
from watchline.reid.features import JUNK, LONGEST_TEXT, UNKNOWN, market_name
from watchline.streams.errors import StreamError, UsageError
from watchline.streams.images import MAX_FILE_BYTES, only_images

LIST_SUFFIXES: Final = (".csv", ".json")
FEATURES_SUFFIX: Final = ".npz"
MOST_PICTURES: Final = 1_000_000

_BOX: Final = ("x1", "y1", "x2", "y2")
_COLUMNS: Final = ("path", *_BOX, "person_id", "camera", "time_s")
_MOST_PERSON: Final = 2**31 - 1
_FARTHEST_PX: Final = 10_000_000  # float32, as features have boxes, tells every pixel up to there


@dataclass(frozen=True, slots=True)
class Still:
    """A picture of one person, as an input names it.

    Attributes:
        path: of its file.
        name: what a person calls it: its path below the folder that was named, or as a list has it.
        box: where the person is, xyxy pixels of the picture turned upright; None: everywhere.
        person_id: who it is; UNKNOWN where nobody says.
        camera: "" where nobody says.
        time_s: NaN where nobody says.
    """

    path: Path
    name: str
    box: Box | None = None
    person_id: int = UNKNOWN
    camera: str = ""
    time_s: float = math.nan


def is_video(spec: str) -> bool:
    """Returns whether an input is none of those that name pictures one by one, and so a video."""
    path = Path(spec)
    return not path.is_dir() and path.suffix.lower() not in {*LIST_SUFFIXES, *PICTURE_SUFFIXES, *UNREAD_SUFFIXES}


def stills_of(spec: str, say: Callable[[str], None], problem: Callable[[str], None]) -> list[Still]:
    """Returns the pictures that an input names, those of a folder in natural order.

    Names in the Market-1501 form say person and camera; columns of a list go before that.

    Args:
        spec: a picture, a folder, or a list.
        say: told what a user should know and can live with.
        problem: told of pictures that are left out.

    Raises:
        StreamError: there is nothing of the kind, or a list that makes no sense; says which line.
        UsageError: more than `MOST_PICTURES`.
    """
    path = Path(spec)
    try:
        if path.is_dir():
            return _in_folder(path, problem)
        if path.suffix.lower() in LIST_SUFFIXES:
            return _in_list(path, say)
        path.stat()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StreamError(f"{spec}: cannot be read ({reason}); check the name and its permissions") from error
    return [_named(path, path.name)]


def _named(path: Path, name: str) -> Still:
    told = market_name(path.name)
    return Still(path, name, person_id=told[0], camera=told[1]) if told else Still(path, name)


def _in_folder(folder: Path, problem: Callable[[str], None]) -> list[Still]:
    found: list[Path] = []
    for at, folders, names in os.walk(folder, onerror=_refuse):
        folders.sort()
        found += (Path(at, name) for name in names)
        _bound(folder, len(found))
    images = [path for path in only_images(found) if path.suffix.lower() in PICTURE_SUFFIXES]
    shown = (path.suffix.lower() for path in found if not path.name.startswith("."))
    unread = Counter(suffix for suffix in shown if suffix in UNREAD_SUFFIXES)
    left_out = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items()))
    if not images:
        kinds = ", ".join(sorted(suffix.lstrip(".") for suffix in PICTURE_SUFFIXES))
        told = f"{folder}: the folder holds no picture ({kinds})"
        if unread:
            raise StreamError(f"{told}, but {left_out}, which are not read here; save them as JPEG or PNG")
        raise StreamError(f"{told}; name one that does, a list or a video")
    if unread:
        problem(f"{folder}: left out, for they are not read here: {left_out}; save them as JPEG or PNG")
    return [_named(path, str(path.relative_to(folder))) for path in images]


def _refuse(error: OSError) -> None:
    raise error


def _bound(where: Path, count: int) -> None:
    if count > MOST_PICTURES:
        raise UsageError(f"{where}: names more than {MOST_PICTURES} pictures; take it in parts")


def _in_list(path: Path, say: Callable[[str], None]) -> list[Still]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise StreamError(f"{path}: has more than {MAX_FILE_BYTES} bytes; take it in parts")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StreamError(f"{path}: no text (byte {error.start}); want a list in CSV or JSON, in UTF-8") from error
    if not text.strip():
        raise StreamError(f"{path}: is empty; want a list in CSV, its first line {','.join(_COLUMNS)}, or in JSON")
    rows = _json_rows(path, text) if path.suffix.lower() == ".json" else _csv_rows(path, text)
    stills, unused = [], set[str]()
    for where, row in rows:
        unused |= row.keys() - set(_COLUMNS)
        stills.append(_still(path.parent, row, f"{path}: {where}"))
        _bound(path, len(stills))
    if not stills:
        raise StreamError(f"{path}: the list names no picture; want a row each, with its path")
    if unused:
        shown = ", ".join(sorted(unused)[:8])
        say(f"{path}: not used: {shown[:200]}; known are {', '.join(_COLUMNS)}")
    return stills


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    head = text.partition("\n")[0]
    between = max(",;\t", key=head.count)  # spreadsheets write semicolons where the comma is part of numbers
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=between)
    try:
        names = [name.strip() for name in next(reader, [])]
        if "path" not in names or len(set(names)) < len(names):
            shown = ",".join(names)[:80]
            known = ", ".join(_COLUMNS[1:])
            raise StreamError(f"{path}: line 1: {shown!r}: want names of columns, each once: path, and of {known}")
        for values in reader:
            if any(value.strip() for value in values):
                if len(values) != len(names):
                    raise StreamError(f"{path}: line {reader.line_num}: {len(values)} values, want {len(names)}")
                yield f"line {reader.line_num}", dict(zip(names, values, strict=True))
    except csv.Error as error:
        raise StreamError(f"{path}: line {reader.line_num}: {error}; mend the line") from error


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "too deep, or a number without end"
        raise StreamError(f"{path}: no JSON ({reason}); mend it") from error
    if not isinstance(rows, list):
        raise StreamError(f'{path}: want an array: [{{"path": "a.jpg"}}, ...]')
    for number, row in enumerate(rows, 1):
        if isinstance(row, str):
            row = {"path": row}
        if not isinstance(row, dict):
            raise StreamError(f"{path}: row {number}: want an object with a path, or a path")
        yield f"row {number}", row


def _still(folder: Path, row: Mapping[str, object], where: str) -> Still:
    named = row.get("path")
    if not isinstance(named, str) or not named.strip() or not _is_file_name(named):
        raise StreamError(f"{where}: path is {_shown(named)}; want the name of a picture's file")
    sides = [_number(row, name, where) for name in _BOX]
    given = [side for side in sides if side is not None]
    if given and (len(given) < len(_BOX) or not (given[0] < given[2] and given[1] < given[3])):
        box = ", ".join("?" if side is None else f"{side:g}" for side in sides)
        raise StreamError(f"{where}: the box is {box}; want x1, y1, x2 and y2, or none, with x1 < x2 and y1 < y2")
    if any(abs(side) > _FARTHEST_PX for side in given):
        raise StreamError(f"{where}: the box reaches to {max(given, key=abs):g}; want pixels, {_FARTHEST_PX} at most")
    told = market_name(Path(named).name) or (UNKNOWN, "", "")
    person = _number(row, "person_id", where)
    if person is not None and not (person == int(person) and JUNK <= person <= _MOST_PERSON):
        raise StreamError(f"{where}: person_id is {person:g}; want a whole number from {JUNK}")
    told_camera, time_s = row.get("camera"), _number(row, "time_s", where)
    camera = "" if told_camera is None else str(told_camera).strip()
    for name, text in (("path", named), ("camera", camera)):
        if len(text) > LONGEST_TEXT:  # else told when all the work is done: no file of features could hold it
            raise StreamError(f"{where}: {name} has {len(text)} characters; want {LONGEST_TEXT} at most")
    return Still(
        path=folder / named,
        name=named,
        box=(given[0], given[1], given[2], given[3]) if given else None,
        person_id=told[0] if person is None else int(person),
        camera=camera or told[1],
        time_s=math.nan if time_s is None else time_s,
    )


def _number(row: Mapping[str, object], name: str, where: str) -> float | None:
    value = row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # TypeError says it
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise StreamError(f"{where}: {name} is {_shown(value)}; want a number")
    return number


def _is_file_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half a letter, as JSON can say
        return False


def _shown(value: object) -> str:
    return repr(value)[:80]
