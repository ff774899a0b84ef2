"""Models that the user added: each a file in the cache, and beside it NAME.toml, its manifest, which pins it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from watchline.detectors.card import ModelCard
from watchline.detectors.catalog import Catalog, Entry, Kind, UrlSource
from watchline.detectors.manifest import Manifest
from watchline.streams.errors import ModelError, OutputError, UsageError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SUFFIXES: Final = (".onnx", ".pt", ".pth")
_OWN_KEYS: Final = ("file", "size_bytes", "source")  # what `add` writes beside the manifest's
_ANY_SIZE: Final = (640, 640)


def name_of(file: str) -> str:
    """Returns a name for a model file: its own, of letters, digits, _ and -.

    >>> name_of("best (1).v2.pt")
    'best-1-v2'
    """
    stem = file.rpartition(".")[0] or file
    return re.sub(r"[^A-Za-z0-9_]+", "-", stem).strip("-_")[:64]


def check_name(name: str, cache: Path) -> None:
    """Checks that a model may be added under this name.

    Raises:
        UsageError: it is no name, or taken.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"--name {name!r}: want up to 64 letters, digits, _ and -")
    taken = {entry.name for entry in Catalog.load()} | {entry.file.rpartition(".")[0] for entry in Catalog.load()}
    if name in taken:
        raise UsageError(f"--name {name}: the catalog has a model or clip of that name; choose another --name")
    if _manifest_path(name, cache).exists():
        raise UsageError(f"{name} was added before; `watchline models remove {name}` first, or choose another --name")


def added(cache: Path) -> list[str]:
    """Returns the names of the models that were added, sorted."""
    taken = {entry.name for entry in Catalog.load()}
    return sorted(path.stem for path in cache.glob("*.toml") if NAME.fullmatch(path.stem) and path.stem not in taken)


def find(name: str, cache: Path) -> Entry:
    """Returns what is called `name`: of the catalog, or a model that was added.

    Raises:
        UsageError: neither; guesses what was meant.
        ModelError: the manifest beside an added model makes no sense.
    """
    catalog = Catalog.load()
    if NAME.fullmatch(name) and name not in {entry.name for entry in catalog}:
        path = _manifest_path(name, cache)
        if path.is_file():
            return _entry(name, path)
    return catalog[name]


def store(name: str, file: Path, sha256: str, source: str, said: Manifest, card: ModelCard, cache: Path) -> Entry:
    """Writes the manifest of a model whose file is in the cache, and so adds it.

    Args:
        name: under which it is added.
        file: in the cache.
        sha256: of the file, which is pinned by it.
        source: the URL that it came from; "" for a file.
        said: what the user said of it.
        card: what it was found to be.
        cache: the folder.

    Raises:
        OutputError: the manifest cannot be written.
    """
    size = file.stat().st_size
    licence = said.licence or card.licence
    pinned = replace(said, family=card.family, task=card.task, licence=licence, sha256=sha256)
    lines = [
        f"# Added by `watchline models add`. Another file than this one is refused; `watchline models verify {name}`.",
        f'file = "{file.name}"',
        f"size_bytes = {size}",
        f'source = "{source}"' if source else "",
        pinned.to_toml(),
    ]
    path = _manifest_path(name, cache)
    part = path.with_suffix(".toml.part")
    try:
        part.write_text("\n".join(line for line in lines if line) + "\n", "utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    return _entry(name, path)


def remove(name: str, cache: Path) -> list[Path]:
    """Removes an added model, file and manifest, and returns the paths that are gone.

    Raises:
        UsageError: nothing of that name was added.
        OutputError: it cannot be removed.
    """
    path = _manifest_path(name, cache)
    if not NAME.fullmatch(name) or name not in added(cache):
        raise UsageError(f"no model called {name!r} was added; `watchline models list` shows which are")
    gone = [path, *(cache / f"{name}{suffix}" for suffix in SUFFIXES if (cache / f"{name}{suffix}").exists())]
    try:
        for file in gone:
            file.unlink()
    except OSError as error:
        raise OutputError(f"cannot remove {error.filename}: {error.strerror}") from error
    return gone


def _manifest_path(name: str, cache: Path) -> Path:
    return cache / f"{name}.toml"


def _entry(name: str, path: Path) -> Entry:
    try:
        table: Mapping[str, Any] = tomllib.loads(path.read_text("utf-8"))
        said = Manifest.of({key: value for key, value in table.items() if key not in _OWN_KEYS})
        source = table.get("source", "")
        return Entry(
            name=name,
            kind=Kind.MODEL,
            description="added by the user",
            file=table["file"],
            size_bytes=table["size_bytes"],
            sha256=said.sha256,
            licence=said.licence or "not stated",
            licence_url="",
            notice="",
            sources=(UrlSource(source),) if source else (),
            family=said.family,
            task=said.task,
            input_size=_ANY_SIZE,
            colour=said.colour or "rgb",
            said=said,
        )
    except (OSError, ValueError, KeyError, TypeError, ModelError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ModelError(f"{path}: {reason}; correct it, or `watchline models remove {name}`") from error
