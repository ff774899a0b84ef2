"""The head mark: the newest record's number and hash, signed, in a file beside the log. It tells of lost records."""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.pipeline.audit.record import NOTHING_BEFORE
from watchline.pipeline.canonical import canonical
from watchline.pipeline.files import BINARY, writing
from watchline.pipeline.signing import SiteKey
from watchline.streams.errors import UsageError

FORMAT: Final = "watchline audit head 1"
_MOST_BYTES: Final = 4096
_TEXT: Final = re.compile(r"(\d{1,15}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mark:
    """A record, named so that it cannot be another one.

    Attributes:
        number: of it; 0 before the first.
        sha256: of it.
    """

    number: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.number}:{self.sha256}"

    @classmethod
    def of(cls, text: str) -> Mark:
        """Returns the mark in NUMBER:HASH.

        Raises:
            UsageError: it is none.
        """
        found = _TEXT.fullmatch(text.strip().lower())
        if found is None:
            raise UsageError(f"--head {text}: want NUMBER:HASH, as `watchline audit verify` prints it at its end")
        return cls(int(found[1]), found[2])


START: Final = Mark(0, NOTHING_BEFORE)
MOST_AHEAD: Final = 3  # records of one writing: begin, mend, and what was asked for; a kill may leave them unsigned


@dataclass(frozen=True, slots=True)
class SignedMark:
    """A head mark as it lies on the disk.

    Attributes:
        mark: the newest record.
        at: its time.
        fingerprint: of the key that is said to have signed it.
        signature: of `signed`.
    """

    mark: Mark
    at: str
    fingerprint: str
    signature: bytes

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        return canonical(_fields(self.mark, self.at, self.fingerprint))


def read_head(path: Path) -> SignedMark | None:
    """Returns the head mark in a file; None where there is no file.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError(f"{path}: is no head mark, but a folder or device")
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    try:
        said = json.loads(data)
        found = _TEXT.fullmatch(said["head"])
        if found is None or said["format"] != FORMAT:
            raise ValueError(said["format"])
        signature = base64.b64decode(said["signature"], validate=True)
        return SignedMark(Mark(int(found[1]), found[2]), str(said["at"]), str(said["key"]), signature)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: is no head mark, or a damaged one") from error


def write_head(path: Path, mark: Mark, at: str, key: SiteKey) -> None:
    """Puts a head mark in the place of the one before, whole or not at all, for its owner alone.

    Raises:
        OutputError: it cannot be written.
    """
    fields = _fields(mark, at, key.public.fingerprint)
    signature = base64.b64encode(key.sign(canonical(fields))).decode()
    part = path.with_name(path.name + ".part")
    with writing(path, "--store"):
        try:
            part.unlink(missing_ok=True)  # a link that somebody left there would lead elsewhere
            descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(canonical({**fields, "signature": signature}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def _fields(mark: Mark, at: str, fingerprint: str) -> dict[str, object]:
    return {"at": at, "format": FORMAT, "head": str(mark), "key": fingerprint}
