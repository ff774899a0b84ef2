"""Which libraries a shared library asks the loader for, read from its file without loading it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_DYNAMIC: Final = struct.Struct("<qQ")
_LOADED, _IS_DYNAMIC = 1, 2
_NEEDED, _NAMES, _NAMES_SIZE = 1, 5, 10
_MOST_BYTES: Final = 1 << 24
_MOST_START: Final = 1 << 40  # a library is far smaller; to seek beyond 2^63 is an error of its own


def needed_libraries(path: Path) -> list[str]:
    """Returns the names of the libraries that the ELF file `path` (64 bits, little-endian) needs, in its order.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or damaged.
    """
    with path.open("rb") as file:

        def read(start: int, size: int) -> bytes:
            if start > _MOST_START:
                raise ValueError("a part of it lies beyond its end")
            file.seek(start)
            data = file.read(min(size, _MOST_BYTES))
            if len(data) != size:
                raise ValueError("it ends too soon, or a part of it is too long")
            return data

        header = _HEADER.unpack(read(0, _HEADER.size))
        if header[0][:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a shared library of this kind of machine")
        start, count = header[5], header[10]
        segments = list(_SEGMENT.iter_unpack(read(start, count * _SEGMENT.size)))
        dynamic = next((read(s[2], s[5]) for s in segments if s[0] == _IS_DYNAMIC), b"")
        entries = list(_DYNAMIC.iter_unpack(dynamic[: len(dynamic) // _DYNAMIC.size * _DYNAMIC.size]))
        facts = dict(reversed(entries))
        address = facts.get(_NAMES, 0)
        place = next((address - s[3] + s[2] for s in segments if s[0] == _LOADED and s[3] <= address < s[3] + s[6]), 0)
        names = read(place, facts.get(_NAMES_SIZE, 0))
    starts = [value for tag, value in entries if tag == _NEEDED]
    return [names[start : names.index(b"\0", start)].decode("ascii", "replace") for start in starts]
