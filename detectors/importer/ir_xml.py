"""Reads XML as a tree of plain elements, bounded on every side.

Nothing of a document type is known: no entities, no files that it names, nothing that grows while it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

_MAX_DEPTH: Final = 64
_MAX_ELEMENTS: Final = 2_000_000
_TEXTS: Final = frozenset(("dim",))  # elements whose text is kept; all else is in attributes


class XmlError(ValueError):
    """The text is not XML, or asks for what is not read."""


@dataclass(slots=True)
class Element:
    """An element, its attributes and what is in it."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> Iterator[Element]:
        """Gives the children of this tag, in order."""
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element:
        """Returns the first child of this tag, or an empty element where there is none."""
        return next(self.all(tag), Element(tag, {}))


def parse(data: bytes) -> Element:
    """Returns the root of the XML text `data`.

    Raises:
        XmlError: not XML, with a document type, or too large.

    >>> parse(b'<net><layer id="1"/></net>').first("layer").attributes
    {'id': '1'}
    """
    builder, parser = _Builder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = builder.document_type
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise XmlError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from error
    return builder.root.children[0]


class _Builder:
    """Hears of each element as it begins and ends."""

    def __init__(self) -> None:
        self.root = Element("", {})
        self._open = [self.root]
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > _MAX_ELEMENTS or len(self._open) > _MAX_DEPTH:
            raise XmlError(f"more than {_MAX_ELEMENTS:,} elements, or nested deeper than {_MAX_DEPTH}")
        element = Element(tag, attributes)
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def characters(self, text: str) -> None:
        if self._open[-1].tag in _TEXTS:
            self._open[-1].text += text

    def document_type(self, *_: object) -> None:
        raise XmlError("it declares a document type, which OpenVINO never does")
