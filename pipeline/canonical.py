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
