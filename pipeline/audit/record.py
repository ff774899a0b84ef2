"""What the audit log says of one action, and how a record names the one before it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from watchline.pipeline.canonical import canonical

FORMAT: Final = "watchline audit 1"
MOST_RECORD_BYTES: Final = 8192  # of a line, its end included
NOTHING_BEFORE: Final = "0" * 64  # what the first record names
_MOST_TEXT: Final = 512
_MOST_ITEMS: Final = 64
_MOST_NAME: Final = 128
_MOST_NUMBER: Final = 10**15 - 1  # as many digits as a head mark may have
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FIELDS: Final = {"account", "action", "at", "back_s", "case", "details", "number", "prior", "sha256", "who"}

Simple: TypeAlias = str | int | float | bool | None
Detail: TypeAlias = Simple | Sequence[str] | Sequence[int] | Mapping[str, Simple]


class Action(StrEnum):
    """All that is audited."""

    BEGIN = "begin"  # the log itself was begun; the log writes it
    MEND = "mend"  # a torn line was taken out of the log; the log writes it
    OPEN = "open"  # a case
    EXTEND = "extend"
    CLOSE = "close"
    EXPIRE = "expire"
    ADD_PHOTO = "add-photo"
    SEARCH = "search"
    WATCH = "watch"  # a case was put on the watch list, or taken off it
    VIEW = "view"
    VERDICT = "verdict"
    IDENTITY = "identity"  # merged, split, undone
    EXPORT = "export"
    ERASE = "erase"
    PURGE = "purge"
    CALIBRATE = "calibrate"
    CONFIGURE = "configure"


@dataclass(frozen=True, slots=True)
class Entry:
    """An action that is about to be done.

    Attributes:
        action: what.
        who: the operator, as they name themselves; 1 to 128 characters.
        case: its id, never the name of a person; "" where it belongs to none.
        details: hashes, ids, thresholds, counts: names of a-z, 0-9 and _; values are text up to 512 characters,
            numbers, lists of up to 64 texts or whole numbers, or one level of names and values. Pictures and vectors do
            not fit.

    Raises:
        ValueError: something in it is not allowed.
    """

    action: Action
    who: str
    case: str = ""
    details: Mapping[str, Detail] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.action, Action):
            raise ValueError(f"action {self.action!r}: want an Action")
        if not self.who or not is_label(self.who):
            raise ValueError(f"who {self.who!r}: want 1 to {_MOST_NAME} characters that can be printed")
        if not is_label(self.case):
            raise ValueError(f"case {self.case!r}: want at most {_MOST_NAME} characters that can be printed")
        _check_items(self.details)


def is_label(text: str) -> bool:
    """Is it a short text on one line?

    >>> is_label("anna"), is_label("a" + chr(10)), is_label("a" * 129)
    (True, False, False)
    """
    return len(text) <= _MOST_NAME and text.isprintable()


def summary_of(ids: Sequence[str]) -> dict[str, Simple]:
    """Returns any number of ids as one detail: how many, and the SHA-256 of them, sorted, a line each.

    >>> summary_of(["b", "a"])["count"]
    2
    """
    lines = "".join(f"{each}\n" for each in sorted(ids))
    return {"count": len(ids), "sha256": hashlib.sha256(lines.encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the log.

    Attributes:
        number: from 1, without gaps.
        at: UTC, ISO 8601 with microseconds.
        back_s: seconds by which the clock stood before the time of the record before; 0 as it should be.
        account: of the operating system, that the program ran under.
        prior: SHA-256 of the record before.
        sha256: of this one, without this field.
    """

    number: int
    at: str
    back_s: float
    account: str
    who: str
    action: str
    case: str
    details: Mapping[str, object]
    prior: str
    sha256: str = ""

    @property
    def time(self) -> float:
        """When, UTC seconds; not a number where `at` is no time."""
        try:
            at = datetime.fromisoformat(self.at)
            return at.timestamp() if at.tzinfo else math.nan
        except (ValueError, OverflowError):
            return math.nan

    def fields(self) -> dict[str, object]:
        """Returns all fields but `sha256`."""
        return {name: getattr(self, name) for name in sorted(_FIELDS - {"sha256"})}

    def digest(self) -> str:
        """Returns the SHA-256 of what the record says, in hex."""
        return hashlib.sha256(canonical(self.fields())).hexdigest()

    def line(self) -> bytes:
        """Returns the record as the log holds it.

        Raises:
            ValueError: it is too long.
        """
        line = canonical({**self.fields(), "sha256": self.sha256}) + b"\n"
        if len(line) > MOST_RECORD_BYTES:
            raise ValueError(f"the record takes {len(line)} bytes, more than {MOST_RECORD_BYTES}; say less in details")
        return line


def parse(line: bytes) -> Record | None:
    """Returns the record in a line, without its end; None where it is none, or not written as we write it."""
    try:
        said = json.loads(line)
        if not isinstance(said, dict) or set(said) != _FIELDS or canonical(said) != line:
            return None
    except (ValueError, RecursionError):
        return None
    texts = all(isinstance(said[name], str) for name in ("account", "action", "at", "case", "prior", "sha256", "who"))
    number, back = said["number"], said["back_s"]
    numbers = type(number) is int and 1 <= number <= _MOST_NUMBER and type(back) in (int, float)
    if not (texts and numbers and isinstance(said["details"], dict)):
        return None
    record = Record(**said)
    return record if math.isfinite(record.time) else None


def _check_items(details: Mapping[str, Detail]) -> None:
    if len(details) > _MOST_ITEMS:
        raise ValueError(f"details: want at most {_MOST_ITEMS}, got {len(details)}")
    for name, value in details.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"details: {name!r} is no name of a-z, 0-9 and _")
        if isinstance(value, Mapping):
            if len(value) > _MOST_ITEMS:
                raise ValueError(f"details: {name}: want at most {_MOST_ITEMS}, got {len(value)}")
            for inner, each in value.items():
                _check_simple(f"{name}.{inner}", inner)
                _check_simple(f"{name}.{inner}", each)
        elif isinstance(value, list | tuple):
            if len(value) > _MOST_ITEMS or not all(type(each) in (str, int) for each in value):
                raise ValueError(f"details: {name}: want at most {_MOST_ITEMS} texts or whole numbers")
            for each in value:
                _check_simple(name, each)
        else:
            _check_simple(name, value)


def _check_simple(name: str, value: object) -> None:
    if isinstance(value, str):
        if len(value) > _MOST_TEXT:
            raise ValueError(f"details: {name}: want at most {_MOST_TEXT} characters, got {len(value)}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"details: {name}: want a finite number, got {value}")
    elif value is not None and not isinstance(value, int):
        raise ValueError(f"details: {name}: want text or a number, got {type(value).__name__}")
