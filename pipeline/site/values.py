"""Kinds of values in a site's file that are more than a number or a text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_UNITS: Final = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "TB": 10**12, "GB": 10**9, "MB": 10**6}
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(TiB|GiB|MiB|KiB|TB|GB|MB|B)")
_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,79}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
MOST_BYTES: Final = 1 << 50
MOST_CORNERS: Final = 64
Corner: TypeAlias = tuple[float, float]


def wrong(message: str) -> PydanticCustomError:
    """Returns the error by which a validator says what is wrong, and what to do; shows no value that was given."""
    return PydanticCustomError("wrong", "{sentence}", {"sentence": message})


def bytes_of(value: Any) -> int:
    """Returns a size as bytes.

    >>> bytes_of("10GiB"), bytes_of("1.5 MB"), bytes_of(4096)
    (10737418240, 1500000, 4096)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise wrong("want a size such as 10GiB or 500MB, or a number of bytes")
    return (
        int(float(found[1]) * _UNITS.get(found[2], 1)) if "." in found[1] else int(found[1]) * _UNITS.get(found[2], 1)
    )


def written_size(value: int) -> str | int:
    """Returns bytes as people write them, exactly.

    >>> written_size(10 << 30), written_size(1_500_000), written_size(4097)
    ('10GiB', 1500000, 4097)
    """
    unit = next((unit for unit, size in _UNITS.items() if unit.endswith("iB") and value and value % size == 0), "")
    return f"{value // _UNITS[unit]}{unit}" if unit else value


def _printable(value: str) -> str:
    if _CONTROLS.search(value):
        raise wrong("want text of one line, without control characters")
    return value


def _no_address(value: str) -> str:
    """Only few places take addresses, and keep the secrets in them from being shown."""
    if "://" in value:
        raise wrong("holds an address; `url` of a camera is the place for those")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise wrong("want 1 to 80 letters (a to z), digits, '.', '_' or '-', a letter or digit first")
    return value


def _sha256(value: str) -> str:
    if value and not _SHA256.fullmatch(value.lower()):
        raise wrong("want the 64 digits (0 to 9, a to f) that `watchline models info` and sha256sum show")
    return value.lower()


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not 0 < len(value) <= 4096 or _CONTROLS.search(value):
        raise wrong("want the path of a file or folder, as text")
    return Path(_no_address(value))


def _setting(value: Any) -> str | int | float | bool:
    if not isinstance(value, str | int | float | bool) or (isinstance(value, str) and not 0 < len(value) <= 80):
        raise wrong("want a number, a word, true or false")
    return _no_address(value) if isinstance(value, str) else value


def _polygon(corners: tuple[Corner, ...]) -> tuple[Corner, ...]:
    if not 3 <= len(corners) <= MOST_CORNERS:
        raise wrong(f"want 3 to {MOST_CORNERS} corners, [x, y] each")
    sides = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    if any(a == b for a, b in sides):
        raise wrong("a corner is there twice in a row; take one away (the last is joined to the first by itself)")
    if any(_touch(*sides[i], *sides[j]) for i in range(len(sides)) for j in range(i) if _apart(i, j, len(sides))):
        raise wrong("its sides cross or touch; name the corners in the order in which they stand around the region")
    if abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in sides)) < 1e-9:
        raise wrong("it has no area; its corners lie on one line")
    return corners


def _apart(i: int, j: int, count: int) -> bool:
    """Are two sides, i after j, no neighbours?"""
    return 1 < i - j < count - 1


def _touch(a: Corner, b: Corner, c: Corner, d: Corner) -> bool:
    """Have the sides from a to b and from c to d a point in common?"""
    one, two, three, four = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if one * two < 0 and three * four < 0:
        return True
    ends = ((one, a, b, c), (two, a, b, d), (three, c, d, a), (four, c, d, b))
    return any(turn == 0 and _within(p, q, r) for turn, p, q, r in ends)


def _turn(a: Corner, b: Corner, c: Corner) -> float:
    """Returns more than 0 where c lies to one side of the line from a to b, less on the other side, 0 on it."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _within(a: Corner, b: Corner, c: Corner) -> bool:
    """Is c, which lies on the line through a and b, between them?"""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


Line = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
Text = Annotated[Line, AfterValidator(_no_address)]
Sha256 = Annotated[Text, AfterValidator(_sha256)]
Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$", "minLength": 1})
]
FilePath = Annotated[
    Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 4096})
]
Size = Annotated[
    int,
    Field(le=MOST_BYTES),
    BeforeValidator(bytes_of),
    PlainSerializer(written_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]}),
]
Setting = Annotated[
    str | int | float | bool,
    PlainValidator(_setting),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Fraction = Annotated[float, Field(ge=0, le=1)]
Polygon = Annotated[
    tuple[Annotated[tuple[Fraction, Fraction], Field(strict=False)], ...],
    Field(strict=False),
    AfterValidator(_polygon),
]
