"""YAML as a site's file may use it: plain maps, lists, texts, numbers and truth values, each with its place.

PyYAML's parser gives events, and the data is put together here, so that nothing is built of a file that is too big or
too deep, and anchors, aliases, tags and merge keys come to nothing. Words and numbers that readers of YAML disagree
about (`on`, `no`, 007, 12:30, 1e3) are refused: quoted they are text for everybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml  # type: ignore[import-untyped]

from watchline.pipeline.site.problems import Path, Place, Problem, SiteError, written

Scalar: TypeAlias = str | int | float | bool | None
Data: TypeAlias = "dict[str, Data] | list[Data] | Scalar"

MOST_BYTES: Final = 1 << 20
MOST_NODES: Final = 100_000
MOST_DEPTH: Final = 32
_TOP: Final = Place(1, 1)

_NULL: Final = ("", "~", "null", "Null", "NULL")
_TRUTH: Final = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_DISPUTED_WORD: Final = re.compile(r"yes|no|on|off", re.IGNORECASE)
_WHOLE: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")  # fits 64 bits
_DECIMAL: Final = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][-+][0-9]{1,3})?")
_DISPUTED_NUMBER: Final = re.compile(
    r"[-+]?(?:[0-9][0-9_]*|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*(?::[0-9_]+)+(?:\.[0-9_]*)?"
    r"|(?:[0-9][0-9_]*)?\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)

# What PyYAML says, cut to the parts that hold nothing of the file, and what it means.
_MEANINGS: Final = (
    (
        "mapping values are not allowed",
        'a colon where no key can stand; indent with care, and quote text that has ": "',
    ),
    ("could not find expected ':'", "a key without a colon and a space after it"),
    ("expected <block end>", "this does not fit the indentation of what stands above it"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing; quote text that holds brackets"),
    ("'\\t'", "a tab; indent with spaces"),
    ("cannot start any token", "text that begins with such a sign must stand between quotes"),
    ("unexpected end of stream", "a quote is not closed"),
    ("unknown escape", "a backslash between double quotes begins an escape; use single quotes"),
    ("special characters are not allowed", "a control character"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A file's content, and where each part of it stands.

    Attributes:
        name: of the file.
        data: maps, lists, texts, whole and other numbers, truth values and None.
        places: of each key of a map and each item of a list, by its path.
    """

    name: str
    data: Data
    places: dict[Path, Place] = field(repr=False)

    def place(self, path: Path) -> Place:
        """Returns where `path` stands, or the nearest thing around it that is there."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, _TOP)


def read_document(text: str, name: str) -> Document:
    r"""Returns what `text` holds.

    Args:
        text: the file's.
        name: of the file, for messages.

    Raises:
        SiteError: no proper YAML, or more of it than a site's file may use.

    >>> document = read_document("cameras:\n  - id: dock-2\n", "site.yaml")
    >>> document.data, document.place(("cameras", 0, "id"))
    ({'cameras': [{'id': 'dock-2'}]}, Place(line=2, column=5))
    """
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise too_big(name)
    try:
        builder = _Builder(name)
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
        if builder.problems:
            raise SiteError(name, builder.problems)
    except yaml.reader.ReaderError as error:
        place = _place_of(text, error.position)
        raise SiteError(name, [Problem(place, "", "a control character; a site's file is plain text")]) from None
    except yaml.MarkedYAMLError as error:
        raise SiteError(name, [_meant(error)]) from None
    except (ValueError, OverflowError):  # an escape beyond Unicode, a number of a directive beyond all bounds
        where = builder.last
        raise SiteError(name, [Problem(where, "", "after here: this is not proper YAML")]) from None
    return Document(name, builder.data, builder.places)


def too_big(name: str) -> SiteError:
    """Returns the error about a file of more than `MOST_BYTES`."""
    return SiteError(name, [Problem(_TOP, "", f"the file has more than {MOST_BYTES >> 20} MiB; is it the right one?")])


def decode(content: bytes, name: str) -> str:
    """Returns the text of a file.

    Raises:
        SiteError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        problem = Problem(_place_of(before, len(before)), "", "this is not UTF-8; store the file as UTF-8 text")
        raise SiteError(name, [problem]) from None


def plain_value(text: str) -> Scalar:
    """Returns what an unquoted word means.

    Raises:
        ValueError: readers of YAML disagree about it; says what to write.

    >>> plain_value("5"), plain_value("-0.5"), plain_value("true"), plain_value("10GiB")
    (5, -0.5, True, '10GiB')
    """
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError("a number beyond all bounds")
        return value
    if _DISPUTED_WORD.fullmatch(text):
        raise ValueError("yes, no, on and off mean text to some and truth to others: quote it, or write true or false")
    if _DISPUTED_NUMBER.fullmatch(text):
        raise ValueError(
            "a number to some and text to others: quote it if it is text, else write a plain decimal number"
        )
    return text


@dataclass(slots=True)
class _Open:
    """A map or list that is being filled."""

    path: Path
    value: dict[str, Any] | list[Any]
    key: str | None = None  # of a map, once it was read


class _Builder:
    """Puts the data together, event by event."""

    def __init__(self, name: str) -> None:
        self.data: Data = None
        self.places: dict[Path, Place] = {}
        self.last = _TOP
        self.problems: list[Problem] = []  # those that do not keep the rest from being read
        self._name = name
        self._open: list[_Open] = []
        self._nodes = self._documents = 0

    def take(self, event: Any) -> None:
        self.last = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._refusal("a second document begins here; a site is one document")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._check(event)
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            else:
                value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
                if self._wants_key():
                    raise self._refusal("a map or list as a key; a key is text")
                self._open.append(_Open(self._put(value), value))

    def _check(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._refusal(
                "& and * (anchors and aliases) are not for a site's file; write it out, or quote the text"
            )
        if event.tag is not None:
            raise self._refusal("! (a tag) is not for a site's file; quote the text if it begins with one")
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise self._refusal(f"the file has more than {MOST_NODES} values; is it the right one?")
        if len(self._open) >= MOST_DEPTH and not isinstance(event, yaml.ScalarEvent):
            raise self._refusal(f"maps and lists within each other, more than {MOST_DEPTH} deep; a bracket too many?")

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self._refusal("an escape that is no letter of Unicode") from None
        value: Scalar = text
        if event.implicit[0]:  # it stands there without quotes
            if text == "<<" and self._wants_key():
                raise self._refusal("<< (a merge key) is not for a site's file; `defaults` is")
            try:
                value = plain_value(text)
            except ValueError as error:
                self.problems.append(self._problem(str(error)))
        if not self._wants_key():
            self._put(value)
        elif isinstance(value, str):
            self._key(value)
        else:
            raise self._refusal("a key must be text; put it between quotes")

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _key(self, key: str) -> None:
        within = self._open[-1]
        path = (*within.path, key)
        if key in within.value:
            self.problems.append(
                self._problem(f"the same key as in line {self.places[path].line}; take one away", path)
            )
        within.key = key
        self.places.setdefault(path, self.last)

    def _put(self, value: Any) -> Path:
        """Puts a value where it belongs; returns its path."""
        if not self._open:
            self.data = value
            return ()
        within = self._open[-1]
        if isinstance(within.value, list):
            path: Path = (*within.path, len(within.value))
            within.value.append(value)
            self.places[path] = self.last
            return path
        assert within.key is not None
        path = (*within.path, within.key)
        within.value[within.key] = value
        within.key = None
        return path

    def _refusal(self, message: str, path: Path | None = None) -> SiteError:
        return SiteError(self._name, [*self.problems, self._problem(message, path)])

    def _problem(self, message: str, path: Path | None = None) -> Problem:
        return Problem(self.last, written(self._here() if path is None else path), message)

    def _here(self) -> Path:
        if not self._open:
            return ()
        within = self._open[-1]
        if isinstance(within.value, list):
            return (*within.path, len(within.value))
        return within.path if within.key is None else (*within.path, within.key)


def _meant(error: Any) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark is not None else _TOP
    said = f"{error.problem or ''} {error.context or ''}"
    meaning = next((meaning for words, meaning in _MEANINGS if words in said), "this is not proper YAML")
    return Problem(place, "", meaning)


def _place_of(text: str, index: int) -> Place:
    before = text[:index]
    return Place(before.count("\n") + 1, index - before.rfind("\n"))
