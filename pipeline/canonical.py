"""One way to write a JSON object as bytes, so that hashes and signatures of it can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping


def canonical(record: Mapping[str, object]) -> bytes:
    """Returns a JSON object as ASCII, its names sorted, without spaces.

    Raises:
        ValueError: a number in it is not finite.
        TypeError: it holds what JSON does not know.

    >>> canonical({"b": 1.5, "a": None})
    b'{"a":null,"b":1.5}'
    """
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def is_deeper(value: object, most: int) -> bool:
    """Are there values within values, more than `most` deep? Those of a stranger can be deeper than programs go.

    >>> is_deeper({"a": [1]}, 3), is_deeper({"a": [1]}, 2)
    (False, True)
    """
    kinds, level = (dict, list, tuple), [value]
    for _ in range(most):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, kinds)]
        level = [each for values in inner for each in values]
    return bool(level)
