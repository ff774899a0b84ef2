"""Options of trackers from text: name=value, as command lines and configuration files have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from watchline.streams.errors import UsageError

Options = TypeVar("Options")

_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def options_of(
    options: type[Options], settings: Sequence[str], what: str, otherwise: Mapping[str, object] | None = None
) -> Options:
    """Returns `options` made with the values of `settings`, texts name=value.

    Args:
        options: a dataclass with fields of bool, int, float or a Literal of texts.
        settings: later ones win.
        what: whose options they are, for messages.
        otherwise: values of fields that `settings` does not name; what neither names has its default.

    Raises:
        UsageError: no "=", an unknown name (the nearest is suggested), a value of another type or out of its range.

    >>> from watchline.trackers.reference_options import OcSortReferenceOptions
    >>> options_of(OcSortReferenceOptions, ["use_byte=yes", "max_age=12"], "ocsort").max_age
    12
    """
    kinds, values = get_type_hints(options), dict(otherwise or {})
    names = [field.name for field in dataclasses.fields(options)]  # type: ignore[arg-type]  # a dataclass, see above
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            raise UsageError(f'--set "{setting}": want NAME=VALUE, such as {names[0]}=...')
        if name not in names:
            raise UsageError(f"--set {name}: no such option of {what}{nearest(name, names)} known: {', '.join(names)}")
        values[name] = _value(f"--set {name}", text, kinds[name])
    return options(**values)


def expect_within(options: object, *ranges: tuple[str, float, float]) -> None:
    """Refuses options that are out of range.

    Args:
        options: has an attribute of each name.
        ranges: name, least and most; NaN is within none.

    Raises:
        UsageError: names the option, its value and the range.
    """
    for name, low, high in ranges:
        if not low <= getattr(options, name) <= high:
            raise UsageError(f"{name} is {getattr(options, name)}; take a value from {low} to {high}")


def one_of(what: str, value: str, known: Sequence[str]) -> str:
    """Returns `value` if it is known.

    Raises:
        UsageError: it is not; suggests the nearest and names all.
    """
    if value not in known:
        raise UsageError(f'no {what} "{value}"{nearest(value, known)} known: {", ".join(known)}')
    return value


def nearest(name: str, known: Sequence[str]) -> str:
    """Returns the question whether the name most like `name` was meant; a semicolon where none is like it."""
    return "".join(f', did you mean "{match}"?' for match in get_close_matches(name, known, n=1)) or ";"


def _value(where: str, text: str, kind: Any) -> bool | int | float | str:
    if kind is bool:
        return _TRUTH[_one_text(where, text.lower(), tuple(_TRUTH))]
    if get_origin(kind) is Literal:
        return _one_text(where, text, get_args(kind))
    try:
        return int(text) if kind is int else float(text)
    except ValueError as error:
        raise UsageError(f'{where}: "{text}" is no {"whole " if kind is int else ""}number') from error


def _one_text(where: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise UsageError(f'{where}: "{text}" is none of {", ".join(known)}')
    return text
