"""Writing evidence: chosen items, a manifest that says what each is and what made it, and the site's signature."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from watchline.pipeline.canonical import canonical, is_deeper
from watchline.pipeline.evidence.archive import ArchiveError, is_name, write_archive
from watchline.pipeline.files import BINARY, write_whole, writing
from watchline.pipeline.manifests import MANIFEST, ExportedFile, Manifest, sha256_of
from watchline.pipeline.signing import SiteKey
from watchline.streams.errors import OutputError, UsageError

FORMAT: Final = "watchline evidence 1"
MANIFEST_NAME: Final = "manifest.json"
SIGNATURE_NAME: Final = "manifest.sig"
KEY_NAME: Final = "site.pub"
README_NAME: Final = "README.txt"
OURS: Final = (MANIFEST_NAME, SIGNATURE_NAME, KEY_NAME, README_NAME)
MOST_MANIFEST_BYTES: Final = 64_000_000
DEEPEST: Final = 16  # values within values of a manifest; ours have five
_CHUNK: Final = 1 << 20

README: Final = b"""This is evidence written by watchline.

manifest.json names every other file here with its SHA-256, and says what made it.
manifest.sig is the Ed25519 signature of manifest.json, and site.pub the key that checks it.
The key in this file proves nothing about who signed: compare it with the one that the site gave you.

  watchline export verify FILE.zip --key site.pub

Without watchline:

  openssl pkeyutl -verify -pubin -inkey site.pub -rawin -in manifest.json -sigfile manifest.sig
  sha256sum crops/*
"""


class ItemKind(StrEnum):
    """What an item is."""

    CROP = "crop"  # a picture cut out of a frame
    PICTURE = "picture"  # a whole frame, or the photo searched with
    CLIP = "clip"
    RECORD = "record"  # JSON
    PAGE = "page"  # HTML


_PICTURES: Final = (ItemKind.CROP, ItemKind.PICTURE, ItemKind.CLIP)


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the evidence.

    Attributes:
        name: its path in the evidence: letters, digits, `_`, `-`, `.` and `/`.
        content: its bytes, or the file that holds them.
        kind: what it is.
        blurred: everyone but the subject was made unrecognisable in it; without meaning for records.
        sightings: ids of those that it shows.
        about: what else there is to say of it: times, boxes, rank, score; goes into the manifest.
    """

    name: str
    content: bytes | Path
    kind: ItemKind
    blurred: bool = False
    sightings: tuple[str, ...] = ()
    about: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a source that the evidence was taken from.

    Attributes:
        source: name of the file, or the camera's name.
        camera: that it shows.
        sha256: of the file, or of the piece of it, as `of` says; "" where nothing was recorded to hash.
        of: "file" or "segment".
        started_at: UTC seconds.
        ended_at: UTC seconds.
        clock: where these times come from: "rtcp", "arrival" or "file".
        clock_error_s: how far they may be off, seconds.
    """

    source: str
    camera: str
    sha256: str
    of: str
    started_at: float
    ended_at: float
    clock: str
    clock_error_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """A network that had a part in it: its `role` (detector, body, face), name and SHA-256."""

    role: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is to be exported.

    Attributes:
        case: its id.
        operator: who exports.
        made_at: UTC seconds, by the clock of this machine.
        audit_head: head of the audit log with the record of this export, NUMBER:HASH.
        store: name of the store.
        items: the files.
        segments: what they were taken from.
        models: that found and compared.
        config_sha256: of the configuration in force.
        thresholds: that were in force.
        unblurred_because: why pictures show others as they are; "" where none does.
        version: of watchline.
    """

    case: str
    operator: str
    made_at: float
    audit_head: str
    store: str
    items: Sequence[Item]
    segments: Sequence[Segment]
    models: Sequence[Model]
    config_sha256: str
    thresholds: Mapping[str, float]
    version: str
    unblurred_because: str = ""


def write_evidence(out: Path, evidence: Evidence, key: SiteKey, *, overwrite: bool = False) -> None:
    """Writes evidence whole or not at all, for its owner alone; the same evidence and key give the same bytes.

    Beside it lies the manifest of an export, by which `watchline erase --exports` finds it. Holds one item of bytes, or
    a megabyte of a file, at a time. The action is to be recorded before, see `audit.log`: its head goes in here.

    Raises:
        UsageError: there is a file already, or an item's name may not be or comes twice; a picture shows others, and
            nobody said why.
        OutputError: it cannot be written, or a file changed meanwhile.
    """
    _check(out, evidence, overwrite)
    hashes = {item.name: _hashed(item) for item in evidence.items}
    told = _manifest(evidence, hashes, key.public.fingerprint)
    manifest = canonical(told)
    if len(manifest) > MOST_MANIFEST_BYTES or is_deeper(told, DEEPEST):  # nobody could verify it
        raise UsageError(f"{out}: there is too much to say of the items; say less, or export in parts")
    ours = zip(OURS, (manifest, key.sign(manifest), key.public.pem, README), strict=True)
    items = sorted(evidence.items, key=lambda item: item.name)
    with _replacing(out) as file:
        try:
            write_archive(file, [(name, [data]) for name, data in ours] + [(i.name, _same(i, hashes)) for i in items])
        except ArchiveError as error:
            raise UsageError(f"{out}: {error}") from error
    with writing(out):
        ids = tuple(sorted({each for item in items for each in item.sightings}))
        whole = ExportedFile(out.name, sha256_of(out), out.stat().st_size, ids)
    listed = Manifest(evidence.store, f"case {evidence.case}", _utc(evidence.made_at), (whole,))
    write_whole(out.with_name(f"{out.name}.{MANIFEST}"), listed.to_json())


def _check(out: Path, evidence: Evidence, overwrite: bool) -> None:
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: want the name of a file, in a folder that is there")
    if out.exists() and not overwrite:
        raise UsageError(f"--out {out}: is there already; add --overwrite or choose another name")
    names: set[str] = set()
    for item in evidence.items:
        if not is_name(item.name) or item.name.lower() in {*names, *map(str.lower, OURS)}:
            raise UsageError(f"{item.name!r}: no name for a file of evidence, or it comes twice")
        names.add(item.name.lower())
        if item.kind in _PICTURES and not item.blurred and not evidence.unblurred_because:
            raise UsageError(f"{item.name}: shows others than the subject; blur it, or say why not")


def _manifest(evidence: Evidence, hashes: Mapping[str, tuple[str, int]], fingerprint: str) -> dict[str, object]:
    files = [
        {
            "name": item.name,
            "kind": item.kind.value,
            "sha256": hashes[item.name][0],
            "size_bytes": hashes[item.name][1],
            "blurred": item.blurred,
            "sightings": list(item.sightings),
            "about": dict(item.about),
        }
        for item in sorted(evidence.items, key=lambda item: item.name)
    ]
    readme = {"name": README_NAME, "sha256": hashlib.sha256(README).hexdigest(), "size_bytes": len(README)}
    segments = [
        {**asdict(each), "started_at": _utc(each.started_at), "ended_at": _utc(each.ended_at)}
        for each in evidence.segments
    ]
    return {
        "format": FORMAT,
        "case": evidence.case,
        "operator": evidence.operator,
        "made_at": _utc(evidence.made_at),
        "made_at_clock": "this machine",
        "audit_head": evidence.audit_head,
        "store": evidence.store,
        "watchline": evidence.version,
        "signed_by": fingerprint,
        "config_sha256": evidence.config_sha256,
        "thresholds": dict(evidence.thresholds),
        "models": [asdict(each) for each in evidence.models],
        "segments": segments,
        "unblurred_because": evidence.unblurred_because,
        "files": [readme, *files],
    }


def _utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")


def _pieces(item: Item) -> Iterator[bytes]:
    if isinstance(item.content, bytes):
        yield item.content
        return
    try:
        with item.content.open("rb") as file:
            while piece := file.read(_CHUNK):
                yield piece
    except OSError as error:
        raise OutputError(f"{item.content}: cannot be read ({error.strerror or error})") from error


def _hashed(item: Item) -> tuple[str, int]:
    """Returns the SHA-256 and the size of an item."""
    total, size = hashlib.sha256(), 0
    for piece in _pieces(item):
        total.update(piece)
        size += len(piece)
    return total.hexdigest(), size


def _same(item: Item, hashes: Mapping[str, tuple[str, int]]) -> Iterator[bytes]:
    """Yields the bytes of an item, which must be those that were hashed.

    Raises:
        OutputError: they are not.
    """
    total, size = hashlib.sha256(), 0
    for piece in _pieces(item):
        total.update(piece)
        size += len(piece)
        yield piece
    if (total.hexdigest(), size) != hashes[item.name]:
        raise OutputError(f"{item.name}: changed while it was exported; export again")


@contextmanager
def _replacing(out: Path) -> Iterator[BinaryIO]:
    """Opens a new file that takes the place of `out` once it is whole."""
    part = out.with_name(out.name + ".part")
    try:
        with writing(out):
            part.unlink(missing_ok=True)
            descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | BINARY, 0o600)
        with os.fdopen(descriptor, "w+b") as file, writing(out):
            yield file
            file.flush()
            os.fsync(file.fileno())
        with writing(out):
            part.replace(out)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
