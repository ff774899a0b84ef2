"""Is evidence as it was signed, and by whom? Needs the file alone, and the site's public key to tell by whom."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from watchline.pipeline.canonical import is_deeper
from watchline.pipeline.evidence.archive import MOST_FILES, ArchiveError, Member, pieces_of, read_archive
from watchline.pipeline.evidence.bundle import (
    DEEPEST,
    FORMAT,
    KEY_NAME,
    MANIFEST_NAME,
    MOST_MANIFEST_BYTES,
    OURS,
    SIGNATURE_NAME,
)
from watchline.pipeline.signing import PublicKey
from watchline.streams.errors import StreamError, UsageError

_SIGNATURE_BYTES: Final = 64
_MOST_KEY_BYTES: Final = 1000


@dataclass(slots=True)
class Checked:
    """What a look at evidence showed.

    Attributes:
        files: how many it holds.
        fingerprint: of the key that signed it; "" where nobody did.
        is_given_key: whether that is the key that was given; None where none was.
        manifest: what it says; empty where it cannot be trusted.
        problems: what is wrong, a line each; none where all is as it was signed.
    """

    files: int = 0
    fingerprint: str = ""
    is_given_key: bool | None = None
    manifest: Mapping[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check(path: Path, key: PublicKey | None = None) -> Checked:
    """Looks at every byte of evidence.

    Args:
        path: the file; anybody may have made it.
        key: of the site that should have signed it.

    Raises:
        StreamError: it cannot be read.
    """
    done = Checked()
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise StreamError(f"{path}: is no file; name the file of an export")
    try:
        with path.open("rb") as file:
            members = {member.name: member for member in read_archive(file)}
            done.files = len(members)
            _check_members(file, members, done, key)
    except ArchiveError as error:
        done.problems.append(str(error))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StreamError(f"{path}: cannot be read ({reason}); name the file of an export") from error
    return done


def _check_members(file: BinaryIO, members: Mapping[str, Member], done: Checked, key: PublicKey | None) -> None:
    sizes = {MANIFEST_NAME: MOST_MANIFEST_BYTES, SIGNATURE_NAME: _SIGNATURE_BYTES, KEY_NAME: _MOST_KEY_BYTES}
    for name, most in sizes.items():
        if name not in members or members[name].size > most:
            raise ArchiveError(f"{name}: is missing, or too large: nobody signed this")
    data, signature, pem = (b"".join(pieces_of(file, members[name])) for name in sizes)
    try:
        inside = PublicKey.from_pem(pem, KEY_NAME)
    except UsageError as error:
        raise ArchiveError(str(error)) from error
    if pem != inside.pem:  # readers of keys pass over what stands around one
        raise ArchiveError(f"{KEY_NAME}: is not written as it is here, where other words could stand")
    if key is not None:
        done.is_given_key = key.raw == inside.raw
        if not done.is_given_key:
            done.problems.append(f"signed by key {inside.fingerprint}, not by the key given, {key.fingerprint}")
    if not inside.verifies(signature, data):
        raise ArchiveError(f"{MANIFEST_NAME}: changed: the signature does not fit it")
    manifest = _read_manifest(data, inside.fingerprint)
    done.fingerprint, done.manifest = inside.fingerprint, manifest
    done.problems += _differences(file, members, _listed(manifest))


def _read_manifest(data: bytes, fingerprint: str) -> dict[str, object]:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{MANIFEST_NAME}: is signed, but no manifest") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArchiveError(f"{MANIFEST_NAME}: is not of the form {FORMAT!r}; use the watchline that wrote it")
    if manifest.get("signed_by") != fingerprint:
        raise ArchiveError(f"{MANIFEST_NAME}: was made for another key than the one in {KEY_NAME}")
    if is_deeper(manifest, DEEPEST):
        raise ArchiveError(f"{MANIFEST_NAME}: holds values within values, more than {DEEPEST} deep")
    return manifest


def _listed(manifest: Mapping[str, object]) -> dict[str, tuple[str, int]]:
    """Returns SHA-256 and size of each file that a manifest names."""
    rows = _rows(manifest.get("files"))
    try:
        listed = {str(each["name"]): (str(each["sha256"]), int(each["size_bytes"])) for each in rows}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ArchiveError(f"{MANIFEST_NAME}: its list of files is damaged") from error
    if len(listed) < len(rows):  # whoever reads it could take the other one for true
        raise ArchiveError(f"{MANIFEST_NAME}: names a file twice")
    return listed


def _rows(files: object) -> list[dict[str, str | int]]:
    if not isinstance(files, list) or not all(isinstance(each, dict) for each in files):
        raise ArchiveError(f"{MANIFEST_NAME}: its list of files is damaged")
    if len(files) > MOST_FILES:
        raise ArchiveError(f"{MANIFEST_NAME}: names {len(files)} files, more than {MOST_FILES}")
    return files


def _differences(file: BinaryIO, members: Mapping[str, Member], listed: Mapping[str, tuple[str, int]]) -> Iterable[str]:
    """Yields a line for each file that is not as it was signed."""
    signed_apart = {name for name in OURS if name not in listed}
    found = {name: _hashed(file, member) for name, member in members.items() if name not in signed_apart}
    missing = {name: listed[name] for name in sorted(listed) if name not in found}
    names: dict[tuple[str, int], list[str]] = {}  # of what is missing, by what it holds
    for name in reversed(missing):
        names.setdefault(missing[name], []).append(name)
    for name, (sha256, size, fits) in sorted(found.items()):
        if not fits:
            yield f"{name}: its CRC-32 does not fit it: changed, or its disk is damaged"
        elif name not in listed:
            if same := names.get((sha256, size)):
                old = same.pop()
                del missing[old]
                yield f"{name}: renamed: the manifest calls it {old}"
            else:
                yield f"{name}: added: the manifest does not know it"
        elif listed[name] != (sha256, size):
            was = "{}, {} bytes".format(*listed[name])
            yield f"{name}: changed: its SHA-256 is {sha256}, {size} bytes; signed was {was}"
    for name in missing:
        yield f"{name}: missing"


def _hashed(file: BinaryIO, member: Member) -> tuple[str, int, bool]:
    """Returns the SHA-256 and size of a file, and whether its CRC-32 is what the archive says."""
    total, crc, size = hashlib.sha256(), 0, 0
    for piece in pieces_of(file, member):
        total.update(piece)
        crc = zlib.crc32(piece, crc)
        size += len(piece)
    return total.hexdigest(), size, crc == member.crc
