"""Erasing sightings from files that were exported: our own go, and all files beside them are searched."""

from __future__ import annotations

import base64
import binascii
import hashlib
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from watchline.pipeline.files import write_whole, writing
from watchline.pipeline.manifests import Manifest, manifests_in
from watchline.pipeline.store.asking import holds
from watchline.pipeline.store.reading import tracks_of
from watchline.pipeline.store.seam import Selection, SightingStore
from watchline.streams.errors import OutputError, UsageError

MOST_SIGHTINGS: Final = 100_000  # whose traces are held in memory at once
_MOST_TEXT: Final = 64_000_000
_ID: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{20,}={0,2}")


@dataclass(frozen=True, slots=True)
class Traces:
    """By what erased sightings are known again in a file.

    Attributes:
        ids: of the sightings.
        sha256: of each of their pictures and vectors, in hex.
    """

    ids: frozenset[str]
    sha256: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """The exported files that are to go.

    Attributes:
        files: they.
        others: sightings that are in these too, and are not to be erased.
        manifests: each with what is left of it.
    """

    files: tuple[Path, ...]
    others: int
    manifests: tuple[tuple[Path, Manifest], ...]


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search went through.

    Attributes:
        files: how many.
        size_bytes: of them all.
        found: those in which a trace is, each with its kind.
    """

    files: int
    size_bytes: int
    found: tuple[tuple[Path, str], ...]


def traces_of(store: SightingStore, selection: Selection) -> Traces:
    """Returns the traces of all sightings of a selection.

    Raises:
        UsageError: there are too many to be held at once.
    """
    if (number := store.count(selection)) > MOST_SIGHTINGS:
        raise UsageError(
            f"{number} sightings: at most {MOST_SIGHTINGS} can be searched for in exports, or proven one by one, at "
            "once; erase them in steps, such as `watchline erase before TIME`, or without --exports and --proof"
        )
    ids: set[str] = set(selection.ids)
    sums: set[str] = set()
    for summary in tracks_of(store, selection):
        for sighting_id in summary.ids:
            with suppress(UsageError):  # erased since
                part = store.get(sighting_id)
                if holds(selection, part):
                    ids.add(sighting_id)
                    sums.update(hashlib.sha256(crop.jpeg).hexdigest() for crop in part.crops if crop.jpeg)
                    kept = (vector.vector.astype("<f2").tobytes() for vector in part.vectors)
                    sums.update(hashlib.sha256(data).hexdigest() for data in kept)
    return Traces(frozenset(ids), frozenset(sums))


def planned(folders: Sequence[Path], ids: frozenset[str]) -> Plan:
    """Returns which exported files hold one of these sightings, as their manifests say."""
    files: list[Path] = []
    others: set[str] = set()
    manifests: list[tuple[Path, Manifest]] = []
    for folder in folders:
        for path, manifest in manifests_in(folder):
            going = [each for each in manifest.files if not ids.isdisjoint(each.sightings)]
            if not going:
                continue
            files.extend(place for each in going if (place := each.place(path.parent)) is not None)
            others.update(sighting for each in going for sighting in each.sightings)
            manifests.append((path, replace(manifest, files=tuple(f for f in manifest.files if f not in going))))
    return Plan(tuple(dict.fromkeys(files)), len(others - ids), tuple(manifests))


def carry_out(plan: Plan) -> None:
    """Deletes the files of a plan, and takes them out of their manifests; a manifest without files goes too.

    Raises:
        OutputError: a file cannot be deleted.
    """
    for path in plan.files:
        with writing(path, "--exports"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # its folder holds more
            if path.parent.name == "crops":
                path.parent.rmdir()
    for path, left in plan.manifests:
        if left.files:
            write_whole(path, left.to_json(), "--exports")
        else:
            with writing(path, "--exports"):
                path.unlink(missing_ok=True)


def search(folders: Sequence[Path], traces: Traces) -> Searched:
    """Looks for traces in all files of some folders: ids as text, pictures and vectors as files or as base64.

    Pictures in an archive, or drawn anew (a screenshot, a printed page), are not found.

    Raises:
        OutputError: a file cannot be read.
    """
    files = size_bytes = 0
    found: list[tuple[Path, str]] = []
    for path in dict.fromkeys(each for folder in folders for each in _files(folder)):
        try:
            size = path.stat().st_size
            kind = _found(path, traces) if size else ""
        except OSError as error:
            error.filename = error.filename or path
            _refuse(error)
        files += 1
        size_bytes += size
        if kind:
            found.append((path, kind))
    return Searched(files, size_bytes, tuple(found))


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, onerror=_refuse):
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _refuse(error: OSError) -> None:
    """Ends a search at a folder that cannot be read: what lies there was not searched."""
    reason = (error.strerror or str(error)).lower()
    raise OutputError(f"{error.filename}: cannot be searched ({reason}); allow reading it, and search again") from error


def _found(path: Path, traces: Traces) -> str:
    """Returns what of the traces is in a file; "" for nothing."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if hashlib.sha256(data).hexdigest() in traces.sha256:
            return "a picture or vector"
        if any(match[0].decode() in traces.ids for match in _ID.finditer(data)):
            return "an id"
        if any(_sum_of(match[0]) in traces.sha256 for match in _BASE64.finditer(data)):
            return "a picture or vector within"
    return ""


def _sum_of(text: bytes) -> str:
    if len(text) > _MOST_TEXT:  # longer than any picture
        return ""
    try:
        return hashlib.sha256(base64.b64decode(text, validate=True)).hexdigest()
    except (ValueError, binascii.Error):
        return ""
