"""Reading NumPy archives (.npz) that nobody vouches for: no pickles, nothing evaluated, memory bounded beforehand."""

from __future__ import annotations

import math
import re
import struct
import zlib
from io import BufferedReader, FileIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

MOST_BYTES: Final = 4 << 30  # bytes: two million vectors of 512

_TEXT_BYTES: Final = 96  # of memory, beside its characters
_POINTER_BYTES: Final = 8

_MOST_MEMBERS: Final = 64
_LONGEST_HEADER: Final = 4096
_BLOCK: Final = 1 << 20  # bytes read at once
# Exactly what NumPy writes. Tables of several types and objects (pickles) do not match.
_HEADER = re.compile(
    r"\{'descr': '(?P<dtype>[<>|=]?[biufU][1-9]\d{0,5})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:\d{1,12},? ?){0,4})\),? ?\}\s*"
)
_PICKLED = re.compile(r"\{'descr': '\|O'")
_SPOILT = (
    *(BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError, MemoryError),
)

Number = TypeVar("Number", bound=np.generic)


class Damage(Exception):  # noqa: N818 - it is what is wrong with a file, and ends a sentence about it
    """What is wrong with an archive, in words that follow its name."""


class _File(BufferedReader):
    """A file of which no more than a block is read at once: a list of members is, before anybody can count them."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _BLOCK:
            raise Damage(f"a list of members of {size >> 20} MiB, no file of features")
        return super().read(size)


class Archive:
    """An open archive. Use it in a `with` statement.

    Attributes:
        names: of its members, without `.npy`.

    Raises:
        Damage: at any call: it is no archive, damaged, or a member is not as wanted.
        OSError: the file cannot be opened or read.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        """Opens `path`; all that is read of it may take `most_bytes` of memory."""
        if path.exists() and not path.is_file():
            raise Damage("no file of features, but a folder or device")
        self._room = most_bytes
        self._most_bytes = most_bytes
        self._file = _File(FileIO(path))
        try:
            self._zip = ZipFile(self._file)
        except Damage:
            self._file.close()
            raise
        except _SPOILT as error:
            self._file.close()
            raise Damage("no .npz archive, or cut off") from error
        members = self._zip.infolist()
        if len(members) > _MOST_MEMBERS:
            self.close()
            raise Damage(f"an archive of {len(members)} members, no file of features")
        self.names = {member.filename.removesuffix(".npy") for member in members}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._zip.close()
        self._file.close()

    def numbers(self, name: str, shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
        """Returns a member as `dtype`; -1 in `shape` stands for any length. Floats may be stored in any width.

        Raises:
            Damage: it is missing, damaged, of another shape, or its numbers do not fit `dtype`.
        """
        stored = self._read(name, shape, {"f": "f", "i": "iu", "u": "iu", "b": "b"}[np.dtype(dtype).kind], 8)
        if stored.dtype.kind in "iu" and stored.size:
            low, high = np.iinfo(np.dtype(dtype)).min, np.iinfo(np.dtype(dtype)).max
            if int(stored.min()) < low or int(stored.max()) > high:
                raise Damage(f"damaged: {name} holds numbers beyond {np.dtype(dtype)}")
        if stored.dtype.kind == "b":
            stored = stored.view(np.uint8) != 0  # any other byte would be a strange True
        if stored.dtype != dtype:
            self._take(name, stored.size * np.dtype(dtype).itemsize)
        with np.errstate(over="ignore"):  # infinity: found by who wants finite numbers
            return stored.astype(dtype, copy=False)

    def text(self, name: str, shape: tuple[int, ...], longest: int) -> NDArray[np.str_]:
        """Returns a member that holds texts of `longest` characters at most.

        Raises:
            Damage: it is missing, damaged, of another shape, or no text.
        """
        stored = self._read(name, shape, "U", 4 * longest)
        codes = np.ascontiguousarray(stored).reshape(-1).view(np.uint32)
        if codes.size and int(codes.max()) > 0x10FFFF:  # reading such a text would be an error much later
            raise Damage(f"damaged: {name} holds no text")
        return stored

    def texts(self, name: str, ends_name: str, longest: int) -> NDArray[np.object_]:
        """Returns (T,) str: texts of `longest` characters at most, stored one after the other in UTF-8.

        Args:
            name: of the member that holds them, bytes.
            ends_name: of the member that says where in these each text ends.
            longest: characters.

        Raises:
            Damage: a member is missing or damaged, or what they hold is no such text.
        """
        data, ends = self.numbers(name, (-1,), np.uint8), self.numbers(ends_name, (-1,), np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
        if (starts > ends).any() or (ends[-1] if len(ends) else 0) != len(data):
            raise Damage(f"damaged: {ends_name} does not say where the texts of {name} end")
        self._take(name, text_memory(len(ends), len(data), len(ends)))
        whole, found = data.tobytes(), np.empty(len(ends), object)
        for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            try:
                found[i] = text = whole[start:end].decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise Damage(f"damaged: {name} holds no text") from error
            if len(text) > longest:
                raise Damage(f"{name} holds a text of {len(text)} characters; want {longest} at most")
        return found

    def chosen(self, name: str, n: int, texts: NDArray[np.object_]) -> NDArray[np.object_]:
        """Returns (n,) str: a member that holds numbers of `texts`. Equal ones are one in memory.

        Raises:
            Damage: it is missing, damaged, of another shape, or names a text that is not there.
        """
        numbers = self.numbers(name, (n,), np.int32)
        if n and (int(numbers.min()) < 0 or int(numbers.max()) >= len(texts)):
            raise Damage(f"damaged: {name} names texts that are not there")
        self._take(name, n * _POINTER_BYTES)
        return np.asarray(texts[numbers])

    def _read(self, name: str, shape: tuple[int, ...], kinds: str, widest: int) -> NDArray[Any]:
        if name not in self.names:
            raise Damage(f"holds no {name}")
        try:
            if self._zip.getinfo(f"{name}.npy").compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise Damage(f"{name} is packed in a way that NumPy does not use")
            with self._zip.open(f"{name}.npy") as member:
                dtype, found, fortran = _header(name, member)
                if dtype.kind not in kinds or dtype.itemsize > widest:
                    raise Damage(f"{name} holds {dtype}; want {_WORDS[kinds]}")
                if len(found) != len(shape) or any(w not in (-1, f) for w, f in zip(shape, found, strict=True)):
                    raise Damage(f"{name} has the shape {found}; want {shape} (-1: any)")
                size = math.prod(found) * dtype.itemsize
                self._take(name, 2 * size if fortran else size)
                data = _read_exactly(name, member, size)
            array: NDArray[Any] = np.frombuffer(data, dtype).reshape(found, order="F" if fortran else "C")
            return np.asarray(array, dtype.newbyteorder("="), order="C")
        except KeyError as error:
            raise Damage(f"holds no {name}") from error
        except _SPOILT as error:
            raise Damage(f"damaged: {name} cannot be read") from error

    def _take(self, name: str, size: int) -> None:
        if size > self._room:
            raise Damage(f"{name} needs more memory than the {self._most_bytes >> 20} MiB that a file may take")
        self._room -= size


def text_memory(texts: int, size: int, rows: int) -> int:
    """Returns how many bytes of memory texts take at most.

    Args:
        texts: how many.
        size: bytes of all of them in UTF-8.
        rows: of columns that refer to them.
    """
    return _TEXT_BYTES * texts + 4 * size + _POINTER_BYTES * rows  # one rare letter widens all others


_WORDS: Final = {"f": "floating-point numbers", "iu": "whole numbers", "b": "yes and no", "U": "short texts"}


def _header(name: str, member: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    magic = member.read(8)
    if magic[:7] not in (b"\x93NUMPY\x01", b"\x93NUMPY\x02"):
        raise Damage(f"damaged: {name} is no NumPy array")
    length = int.from_bytes(member.read(2 if magic[6] == 1 else 4), "little")
    if length > _LONGEST_HEADER:
        raise Damage(f"{name} holds no plain array")
    text = member.read(length).decode("latin-1")
    found = _HEADER.fullmatch(text)
    if not found:
        what = "pickled objects, which are never loaded" if _PICKLED.match(text) else "no plain array"
        raise Damage(f"{name} holds {what}")
    try:
        dtype = np.dtype(found["dtype"])
    except TypeError as error:
        raise Damage(f"{name} holds no plain array") from error
    return dtype, tuple(map(int, re.findall(r"\d+", found["shape"]))), found["fortran"] == "True"


def _read_exactly(name: str, member: IO[bytes], size: int) -> bytearray:
    """Returns the `size` bytes that must be left; memory grows with what is really there."""
    data = bytearray()
    while len(data) < size:
        block = member.read(min(_BLOCK, size - len(data)))
        if not block:
            raise Damage(f"damaged: {name} ends early")
        data += block
    if member.read(1):  # the checksum is compared at the very end
        raise Damage(f"damaged: {name} goes on beyond its end")
    return data
