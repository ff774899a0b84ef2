"""The form of an evidence file: a ZIP of which every byte is told by the names and contents of its files.

Files are stored as they are, in a given order, one after the other, with one fixed time, and nothing before, between or
after them: no compression, comments, extra fields, links or folders, at most 10,000 files and 4 GB. Any program opens
it; whoever reads it strictly finds every byte that should not be there.

Source: PKWARE's APPNOTE 6.3, sections 4.3 and 4.4.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

MOST_FILES: Final = 10_000
MOST_BYTES: Final = 0xFFFF_FFFE  # of the whole: sizes beyond need another form of ZIP
MOST_NAME: Final = 200

_LOCAL: Final = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END: Final = struct.Struct("<4sHHHHLLH")
_VERSION: Final = 20
_BY_UNIX: Final = 3 << 8 | _VERSION  # so that the mode below counts
_TIME, _DATE = 0, 0x21  # 1980-01-01 00:00, the first that there is
_FILE_MODE: Final = 0o100644 << 16
_LINK, _KINDS = 0o120000, 0o170000
_CHUNK: Final = 1 << 20
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*")


class ArchiveError(ValueError):
    """A file has not the form of an evidence file; says in what."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        name: its path, with slashes.
        size: bytes.
        crc: CRC-32 of its bytes.
        start: of its bytes in the archive.
    """

    name: str
    size: int
    crc: int
    start: int

    @property
    def header(self) -> bytes:
        """What stands before its bytes."""
        name = self.name.encode()
        fields = _VERSION, 0, 0, _TIME, _DATE, self.crc, self.size, self.size, len(name), 0
        return _LOCAL.pack(b"PK\3\4", *fields) + name

    @property
    def listed(self) -> bytes:
        """What stands in the list at the end."""
        name = self.name.encode()
        at = self.start - len(self.header)
        sizes = self.crc, self.size, self.size, len(name)
        return _CENTRAL.pack(
            b"PK\1\2", _BY_UNIX, _VERSION, 0, 0, _TIME, _DATE, *sizes, 0, 0, 0, 0, _FILE_MODE, at
        ) + name  # fmt: skip


def is_name(name: str) -> bool:
    """May a file in an archive be called so, on any system?

    >>> [is_name(name) for name in ("crops/1.jpg", "../1.jpg", "/1.jpg", "a//b", "C:1", "a" + chr(92) + "b", ".ssh/a")]
    [True, False, False, False, False, False, False]
    """
    return len(name) <= MOST_NAME and _NAME.fullmatch(name) is not None and not name.endswith(".")


def write_archive(out: BinaryIO, files: Iterable[tuple[str, Iterable[bytes]]]) -> None:
    """Writes files, each given as its name and its pieces, to a new file that can be sought in.

    Raises:
        ArchiveError: a name may not be, comes twice, or it becomes too much.
        OSError: it cannot be written.
    """
    members: list[Member] = []
    seen: set[str] = set()
    for name, pieces in files:
        if not is_name(name) or name.lower() in seen:
            raise ArchiveError(f"{name!r} is no name for a file in an archive, or comes twice")
        seen.add(name.lower())
        members.append(_write_member(out, name, pieces))
        if len(members) > MOST_FILES or out.tell() > MOST_BYTES:
            raise ArchiveError(f"more than {MOST_FILES} files or 4 GB; export in parts")
    out.write(_tail(members, out.tell()))


def _write_member(out: BinaryIO, name: str, pieces: Iterable[bytes]) -> Member:
    at = out.tell()
    member = Member(name, 0, 0, at + len(Member(name, 0, 0, 0).header))
    out.write(member.header)
    size = crc = 0
    for piece in pieces:
        size, crc = size + len(piece), zlib.crc32(piece, crc)
        if at + size > MOST_BYTES:
            raise ArchiveError("more than 4 GB; export in parts")
        out.write(piece)
    member = Member(name, size, crc, member.start)
    out.seek(at)
    out.write(member.header)
    out.seek(0, os.SEEK_END)
    return member


def _tail(members: list[Member], at: int) -> bytes:
    """Returns the list of files and the end of an archive."""
    listed = b"".join(member.listed for member in members)
    return listed + _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(listed), at, 0)


def read_archive(file: BinaryIO) -> list[Member]:
    """Returns what is in an archive, after looking at every byte that belongs to no file.

    Raises:
        ArchiveError: it has another form; says the first difference that is found.
        OSError: it cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    list_at, list_bytes, many = _read_end(file, size)
    file.seek(list_at)
    members = _read_list(file.read(list_bytes), many)
    at = 0
    for member in members:
        file.seek(at)
        if at + len(member.header) != member.start or file.read(len(member.header)) != member.header:
            raise ArchiveError(f"{member.name}: what stands before it is not what belongs there, {_HIDDEN}")
        at = member.start + member.size
    if at != list_at:
        raise ArchiveError(f"{abs(list_at - at)} bytes too many or too few before the list of files, {_HIDDEN}")
    file.seek(at)
    if file.read(size - at) != _tail(members, at):
        raise ArchiveError(f"the list of files is not as it is written here, {_HIDDEN}")
    return members


_HIDDEN: Final = "where other data could hide"


def _read_end(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Returns where the list of files begins, its bytes, and how many it names."""
    file.seek(max(0, size - 1_000_000))
    data = file.read()
    found = data.rfind(b"PK\5\6")
    if found < 0 or len(data) - found < _END.size:
        raise ArchiveError("is no evidence file, or its end is missing")
    if after := len(data) - found - _END.size:
        raise ArchiveError(f"{after} byte{'s' * (after > 1)} after its end")
    _, _, _, _, many, list_bytes, list_at, _ = _END.unpack(data[found:])
    if many > MOST_FILES:
        raise ArchiveError(f"says that it holds {many} files, more than {MOST_FILES}")
    if list_bytes > many * (_CENTRAL.size + MOST_NAME) or list_at + list_bytes + _END.size != size:
        raise ArchiveError(f"the list of files is not where its end says, {_HIDDEN}")
    return list_at, list_bytes, many


def _read_list(data: bytes, many: int) -> list[Member]:
    members: list[Member] = []
    names: set[str] = set()
    for member in _entries(data, many):
        if member.name.lower() in names:
            raise ArchiveError(f"{member.name}: two files have this name")
        names.add(member.name.lower())
        members.append(member)
    return members


def _entries(data: bytes, many: int) -> Iterator[Member]:
    at = 0
    for _ in range(many):
        if len(data) - at < _CENTRAL.size:
            raise ArchiveError("the list of files is cut off")
        mark, _, _, flags, method, _, _, crc, packed, size, length, extra, comment, _, _, mode, start = (
            _CENTRAL.unpack_from(data, at)
        )
        raw = data[at + _CENTRAL.size : at + _CENTRAL.size + length]
        name = raw.decode("ascii", "backslashreplace")
        if mark != b"PK\1\2" or len(raw) != length:
            raise ArchiveError("the list of files is damaged")
        if not is_name(name):
            raise ArchiveError(f"{name[:MOST_NAME]!r}: a name that leads elsewhere, or may not be")
        if (mode >> 16) & _KINDS == _LINK:
            raise ArchiveError(f"{name}: is a link, not a file")
        if method or packed != size:
            raise ArchiveError(f"{name}: is compressed, {packed} bytes that say to become {size}; nothing here is")
        if flags or extra or comment:
            raise ArchiveError(f"{name}: has fields that do not belong here, {_HIDDEN}")
        at += _CENTRAL.size + length
        yield Member(name, size, crc, start + _LOCAL.size + length)


def pieces_of(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yields the bytes of a file in an archive."""
    file.seek(member.start)
    left = member.size
    while left and (piece := file.read(min(left, _CHUNK))):
        left -= len(piece)
        yield piece
