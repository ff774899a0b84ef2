"""What pydantic finds wrong with a site, in words; no value of the file is shown."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from watchline.pipeline.site.document import Data, Document
from watchline.pipeline.site.problems import MOST_SHOWN, Path, Problem, written
from watchline.pipeline.site.site import Site
from watchline.pipeline.site.values import written_size

_SENTENCES: Final = {
    "bool_type": "want true or false, without quotes",
    "int_type": "want a whole number, without quotes",
    "int_from_float": "want a whole number",
    "float_type": "want a number, without quotes",
    "string_type": "want text; put it between quotes",
    "path_type": "want the path of a file or folder, as text",
    "tuple_type": "want a list: [a, b], or lines that begin with a dash",
    "dict_type": "want a map: lines of KEY: VALUE below it",
    "model_type": "want a map: lines of KEY: VALUE below it",
    "greater_than_equal": "want {ge} or more",
    "less_than_equal": "want {le} or less",
    "too_long": "want {max_length} at most",
    "string_too_long": "want {max_length} letters at most",
    "string_too_short": "is empty; write something, or take the key away",
    "finite_number": "want a number that is not infinite",
    "wrong": "{sentence}",
}
_OF_KEYS: Final = ("extra_forbidden", "missing")
_EMPTY: Final = "is empty; give it a value, or take the key away"


def problems_of(errors: list[ErrorDetails], document: Document) -> list[Problem]:
    """Returns a problem for each key with errors, in the order of the file; those that nobody sees without words."""
    found: dict[Path, ErrorDetails] = {}
    for error in errors:
        found.setdefault(error["loc"] if error["type"] in _OF_KEYS else _there(error["loc"], document.data), error)
    ordered = sorted(found.items(), key=lambda item: document.place(item[0]))
    return [
        Problem(document.place(path), written(path), _message(path, error) if index < MOST_SHOWN else "")
        for index, (path, error) in enumerate(ordered)
    ]


def unknown(name: str, known: tuple[str, ...]) -> str:
    """Returns the question whether the name most like `name` was meant, or all that are known."""
    near = get_close_matches(name, known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"


def _message(path: Path, error: ErrorDetails) -> str:
    return _of_key(error["type"], path) if error["type"] in _OF_KEYS else _of_value(error)


def _of_key(kind: str, path: Path) -> str:
    fields = _fields_at(path[:-1])
    if kind == "missing":
        if path[-1] not in fields:
            return "is missing; want two numbers, [x, y]"
        return f"is missing; it is needed: {fields[str(path[-1])].description.partition(';')[0]}"
    return f"unknown key; {unknown(str(path[-1]), tuple(fields))}"


def _of_value(error: ErrorDetails) -> str:
    context: Mapping[str, Any] = error.get("ctx", {})
    given = error["input"]
    if given is None and error["type"] != "wrong":
        return _EMPTY
    if error["type"] in ("enum", "literal_error"):
        names = tuple(part.strip("' ") for part in str(context["expected"]).replace(" or ", ", ").split(","))
        near = get_close_matches(given, names, n=1) if isinstance(given, str) else []
        meant = f'; did you mean "{near[0]}"?' if near else ""
        return f"want one of {', '.join(names)}{meant}"
    sentence = _SENTENCES.get(error["type"], "cannot be used; the documentation names what can")
    return sentence.format(**{name: _number(value) for name, value in context.items()})


def _number(value: Any) -> Any:
    """Returns a bound as people write it."""
    if isinstance(value, float):
        return f"{value:g}"
    return written_size(value) if isinstance(value, int) and value >= 1 << 20 else value


def _there(path: Path, data: Data) -> Path:
    """Returns the part of `path` that is in the data; pydantic adds names of its own."""
    for index, part in enumerate(path):
        if isinstance(data, dict) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return path[:index]
    return path


def _fields_at(path: Path) -> dict[str, Any]:
    """Returns the keys that a map at `path` may have."""
    kind: Any = Site
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation if part in kind.model_fields else None
        else:
            kind = next(iter(get_args(kind)[-1:] if get_origin(kind) is dict else get_args(kind)), None)
        while get_origin(kind) is not None and type(None) in get_args(kind):
            kind = next(argument for argument in get_args(kind) if argument is not type(None))
    return dict(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else {}
