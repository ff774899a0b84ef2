"""Sightings as files outside the store: pages, lines of JSON, pictures, and a manifest that says what is in which."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final, Self

from watchline.pipeline.files import write_whole, writing
from watchline.pipeline.manifests import MANIFEST, ExportedFile, Manifest, read_manifest
from watchline.pipeline.model import label_of
from watchline.pipeline.sheets import Card, card_of, pages, render_sheet, render_track
from watchline.pipeline.sighting_records import crop_file, track_record
from watchline.pipeline.store.asking import LIVE, told, utc_text
from watchline.pipeline.store.reading import WholeTrack, describers, tracks_of, whole
from watchline.pipeline.store.seam import Selection, SightingStore
from watchline.pipeline.store.sighting import Provenance
from watchline.streams.errors import UsageError

SHEET: Final = "sheet.html"
LINES: Final = "sightings.jsonl"
CROPS: Final = "crops"
_KINDS: Final = (".html", ".json", ".jsonl")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where exported sightings are from, for people and for the manifest.

    Attributes:
        store: name of the store.
        selection: which.
        made_at: UTC seconds.
    """

    store: str
    selection: Selection
    made_at: float


@dataclass(slots=True)
class Exported:
    """What was written.

    Attributes:
        tracks: how many.
        pages: of the contact sheet.
        gone: tracks that were erased while they were being read, and are left out.
        files: all that was written, the manifest last.
    """

    tracks: int = 0
    pages: int = 0
    gone: int = 0
    files: list[Path] = field(default_factory=list)


def check_out(out: Path, *, crops: bool, overwrite: bool, option: str = "--out") -> bool:
    """Returns whether `out` is to be a folder, after clearing away what an earlier export left there.

    Raises:
        UsageError: it is neither a folder nor a kind of file that can be written, or something is there already.
    """
    is_folder = out.is_dir() or (not out.suffix and not out.exists())
    if not is_folder and out.suffix.lower() not in _KINDS:
        raise UsageError(f"{option} {out}: want a folder, or a file that ends in {', '.join(_KINDS)}")
    if crops and not is_folder:
        raise UsageError(f"--crops: pictures are written as files of their own; name a folder, not {option} {out}")
    with writing(out, option):
        taken = any(out.iterdir()) if out.is_dir() else out.exists()
    if taken and not overwrite:
        raise UsageError(f"{out}: there is something already; choose another {option}, or replace it with --overwrite")
    if taken:
        _clear(manifest_of(out, is_folder))
    with writing(out, option):
        (out if is_folder else out.parent).mkdir(parents=True, exist_ok=True)
    return is_folder


def manifest_of(out: Path, is_folder: bool) -> Path:
    """Returns where the manifest of an export lies."""
    return out / MANIFEST if is_folder else out.with_name(f"{out.name}.{MANIFEST}")


def export(store: SightingStore, origin: Origin, out: Path, *, is_folder: bool, crops: bool) -> Exported:
    """Writes the tracks of a selection: sheet and lines into a folder, or one of these alone.

    Holds the pictures of two pages at most. What was written so far is in the manifest, also where this ends early.

    Args:
        store: to read.
        origin: what to write.
        out: as `check_out` let it pass.
        is_folder: what it returned.
        crops: write each picture as a file too.

    Raises:
        OutputError: a file cannot be written.
    """
    writer = _Writer(origin, out, is_folder, crops)
    with ExitStack() as ends:
        ends.callback(writer.finish)
        tracks = _wholes(store, origin.selection, writer.done)
        if not is_folder and out.suffix.lower() != ".html":
            writer.write_lines(tracks, out)
        elif not is_folder:
            writer.write_pages(tracks, store, out)
        else:
            with writer.lines(out / LINES) as lines:
                writer.write_pages(writer.through(tracks, lines), store, out / SHEET)
    return writer.done


def export_track(track: WholeTrack, store: str, out: Path, made_at: float) -> None:
    """Writes the page of one track, and its manifest.

    Raises:
        OutputError: a file cannot be written.
    """
    selection = Selection(track=(track.summary.camera, track.summary.track_id))
    writer = _Writer(Origin(store, selection, made_at), out, is_folder=False, crops=False)
    try:
        writer.write(out, render_track(_outside(track), store).encode("utf-8", "backslashreplace"), track.summary.ids)
    finally:
        writer.finish()


class _Writer:
    """Writes an export's files and remembers what is in which."""

    def __init__(self, origin: Origin, out: Path, is_folder: bool, crops: bool) -> None:
        self.done = Exported()
        self._origin = origin
        self._out = out
        self._is_folder = is_folder
        self._crops = crops
        self._files: dict[str, ExportedFile] = {}

    def write(self, path: Path, data: bytes, ids: Sequence[str]) -> None:
        """Writes a file whole, with the sightings that it holds."""
        write_whole(path, data)
        self.remember(path, hashlib.sha256(data).hexdigest(), len(data), ids)

    def remember(self, path: Path, sha256: str, size_bytes: int, ids: Sequence[str]) -> None:
        """Notes a file for the manifest."""
        root = self._out if self._is_folder else self._out.parent
        name = path.relative_to(root).as_posix()
        if name not in self._files:
            self.done.files.append(path)
        known = self._files[name].sightings if name in self._files else ()
        self._files[name] = ExportedFile(name, sha256, size_bytes, tuple(dict.fromkeys([*known, *ids])))

    def write_pages(self, tracks: Iterator[WholeTrack], store: SightingStore, first: Path) -> None:
        """Writes the contact sheet, split where it grows too large for a browser; also where there is no track."""
        names = describers(store)
        held: list[Card] = []
        for page in pages(card_of(track, names) for track in tracks):
            if held:
                self._write_page(held, first, is_last=False)
            held = page
        self._write_page(held, first, is_last=True)

    def _write_page(self, cards: Sequence[Card], first: Path, is_last: bool) -> None:
        self.done.pages += 1
        number = self.done.pages
        page = render_sheet(
            cards,
            self._origin.store,
            _told(self._origin.selection),
            utc_text(self._origin.made_at),
            number,
            newer=_page(first, number - 1).name if number > 1 else "",
            older="" if is_last else _page(first, number + 1).name,
        )
        ids = [sighting_id for card in cards for sighting_id in card.summary.ids]
        self.write(_page(first, number), page.encode("utf-8", "backslashreplace"), ids)

    def lines(self, path: Path) -> _Lines:
        """Returns what writes records to `path`; it is whole, and in the manifest, once that is left."""
        return _Lines(path, self)

    def write_lines(self, tracks: Iterator[WholeTrack], path: Path) -> None:
        """Writes all tracks to one file."""
        with self.lines(path) as lines:
            for _ in self.through(tracks, lines):
                pass

    def through(self, tracks: Iterator[WholeTrack], lines: _Lines) -> Iterator[WholeTrack]:
        """Writes each track's line, and its pictures where asked for, and yields it."""
        for track in tracks:
            if self._crops:
                self._write_crops(track)
            lines.add(track, self._crops)
            yield track

    def _write_crops(self, track: WholeTrack) -> None:
        folder = self._out / CROPS
        with writing(folder):
            folder.mkdir(exist_ok=True)
        for part in track.parts:
            for crop in part.crops:
                if crop.jpeg:
                    path = folder / crop_file(crop)
                    with writing(path):
                        path.write_bytes(crop.jpeg)  # its name tells whether it is whole
                    self.remember(path, path.stem, len(crop.jpeg), [part.sighting_id])

    def finish(self) -> None:
        """Writes the manifest."""
        if not self._files:
            return
        path = manifest_of(self._out, self._is_folder)
        made = utc_text(self._origin.made_at)
        manifest = Manifest(self._origin.store, _told(self._origin.selection), made, tuple(self._files.values()))
        write_whole(path, manifest.to_json())
        self.done.files.append(path)


class _Lines:
    """A file of records, written beside its place and put there when it is whole."""

    def __init__(self, path: Path, writer: _Writer) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._writer = writer
        self._sum = hashlib.sha256()
        self._size = 0
        self._ids: list[str] = []
        self._is_array = path.suffix.lower() == ".json"
        self._file: BinaryIO

    def __enter__(self) -> Self:
        with writing(self._path):
            self._file = self._part.open("wb")
        return self

    def add(self, track: WholeTrack, crop_files: bool) -> None:
        """Writes a track."""
        record = json.dumps(track_record(track, crop_files), separators=(",", ":"))
        before = ("[" if not self._ids else ",\n") if self._is_array else ""
        self._put(before + record + ("" if self._is_array else "\n"))
        self._ids.extend(track.summary.ids)

    def _put(self, text: str) -> None:
        data = text.encode()
        with writing(self._path):
            self._file.write(data)
        self._sum.update(data)
        self._size += len(data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._is_array:
                self._put("]\n" if self._ids else "[]\n")
            with writing(self._path):
                self._file.close()
                if kind is None:
                    self._part.replace(self._path)
        finally:
            with suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)
        if kind is None:
            self._writer.remember(self._path, self._sum.hexdigest(), self._size, self._ids)


def _wholes(store: SightingStore, selection: Selection, done: Exported) -> Iterator[WholeTrack]:
    """Yields the tracks of a selection whole, newest first, and counts them."""
    for summary in tracks_of(store, selection):
        try:
            track = whole(store, summary)
        except UsageError:
            done.gone += 1
            continue
        done.tracks += 1
        yield _outside(track)


def _told(selection: Selection) -> str:
    return told(replace(selection, source=label_of(selection.source)))


def _outside(track: WholeTrack) -> WholeTrack:
    """Returns a track as it leaves this machine: its files by their names alone."""

    def named(made_by: Provenance) -> Provenance:
        source = label_of(made_by.source)
        if source == LIVE != made_by.source:  # a file of that name, and no camera
            source = f"./{source}"
        return replace(made_by, source=source, detector=label_of(made_by.detector))

    parts = tuple(replace(part, provenance=named(part.provenance)) for part in track.parts)
    return WholeTrack(replace(track.summary, provenance=named(track.summary.provenance)), parts)


def _page(first: Path, number: int) -> Path:
    return first if number == 1 else first.with_name(f"{first.stem}-{number}{first.suffix}")


def _clear(path: Path) -> None:
    """Removes the files of an earlier export, as far as they are still what it wrote."""
    manifest = read_manifest(path)
    if manifest is None:
        return
    for exported in manifest.files:
        place = exported.place(path.parent)
        if place is not None:
            with writing(place):
                place.unlink(missing_ok=True)
    with writing(path):
        path.unlink(missing_ok=True)
