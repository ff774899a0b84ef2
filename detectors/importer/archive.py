"""The zip container of a torch checkpoint, bounded on every side. Nothing is ever extracted to disk."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.streams.errors import ModelError

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_HEAD: Final = 512  # bytes that tell what a file is
_MAX_DIRECTORY: Final = 16 * _MIB  # of the zip; that of the most members that are read takes a third

# What people rename to .pt, by its first bytes.
_SIGNATURES: Final = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89HDF", "an HDF5 file (Keras?)"),
    (b"\x1f\x8b", "a gzip file"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file that it stands for"),
    (b"<", "a web page or XML; did the download fail?"),
    (b"{", "a JSON text"),
)
# zipfile answers damaged input with all of these.
_DAMAGED: Final = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    IndexError,
    KeyError,
    OverflowError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a checkpoint may hold. The largest YOLOv8 needs about a tenth of each.

    Attributes:
        file_bytes: size of the file.
        members: files in the zip.
        pickle_bytes: size of data.pkl.
        operations: pickle opcodes; bounds the memo, the records and the time as well.
        depth: open marks, which is how deep containers nest.
        tensor_bytes: what all tensors that are read may take as float64.
        nodes: in the emitted graph.
    """

    file_bytes: int = 2 * _GIB
    members: int = 50_000
    pickle_bytes: int = 32 * _MIB
    operations: int = 2_000_000
    depth: int = 200
    tensor_bytes: int = 4 * _GIB
    nodes: int = 20_000


class Archive:
    """The members of one torch checkpoint, read on demand.

    Torch stores its members without compression, so a compressed member is refused, and with it every zip bomb: all
    members together may not be larger than the file.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        """Opens `path`.

        Raises:
            ModelError: not a torch zip checkpoint, or larger than `limits`.
        """
        self._path = path
        self._limits = limits
        try:
            size = path.stat().st_size
            if size > limits.file_bytes:
                raise self.refusal(f"larger than {limits.file_bytes:,} bytes")
            with path.open("rb") as file:
                head = file.read(_HEAD)
        except OSError as error:
            raise self.refusal(f"{error.strerror}") from error
        if not head.startswith(b"PK"):
            raise self.refusal(f"not a torch checkpoint: it is {_kind(head)}")
        self._file = _File(path)
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._file.longest = size
        except _DAMAGED as error:
            self._file.close()
            raise self.refusal("truncated or damaged: its zip directory cannot be read; copy it again") from error
        try:
            self._root = self._check(size)
        except BaseException:
            self.close()
            raise

    def refusal(self, reason: str) -> ModelError:
        """Returns the error that says why this file is refused."""
        return ModelError(f"{self._path.name}: {reason}")

    def has(self, name: str) -> bool:
        """Returns whether the checkpoint holds member `name`."""
        return self._root + name in self._zip.NameToInfo

    def read(self, name: str) -> bytes:
        """Returns member `name` of the checkpoint, whole.

        Raises:
            ModelError: it is not there, or damaged.
        """
        if not self.has(name):
            raise self.refusal(f"member {name} is missing; the file is truncated or damaged")
        try:
            return self._zip.read(self._root + name)
        except _DAMAGED as error:
            raise self.refusal(f"truncated or damaged in its member {name}; copy it again") from error

    def structure(self) -> bytes:
        """Returns the pickle of everything but the numbers."""
        if self.has("byteorder") and self.read("byteorder") != b"little":
            raise self.refusal("saved on a big-endian machine; load it and save it on another one")
        return self.read("data.pkl")

    def storage(self, key: str) -> bytes:
        """Returns the numbers of one storage."""
        return self.read(f"data/{key}")

    def close(self) -> None:
        """Closes the file."""
        self._zip.close()
        self._file.close()

    def _check(self, file_size: int) -> str:
        """Returns the folder that every member lies in, with its slash, once the directory is found sound."""
        members = self._zip.infolist()
        if len(members) > self._limits.members:
            raise self.refusal(f"holds {len(members):,} members; at most {self._limits.members:,} are read")
        if len(self._zip.NameToInfo) != len(members):
            raise self.refusal("holds two members of the same name")
        pickles = [name for name in self._zip.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise self.refusal("not a torch checkpoint: it is a zip archive without a data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if any(name.startswith((root + "code/", root + "constants.pkl")) for name in self._zip.namelist()):
            raise self.refusal("holds a TorchScript archive; import the checkpoint that it was exported from")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
                raise self.refusal(f"compresses its member {member.filename[:80]!r}, which torch never does")
        if sum(member.file_size for member in members) > file_size:
            raise self.refusal("declares more data than the file holds; it is truncated or damaged")
        if self._zip.NameToInfo[pickles[0]].file_size > self._limits.pickle_bytes:
            raise self.refusal(f"holds a data.pkl of more than {self._limits.pickle_bytes:,} bytes")
        return root


class _File(io.FileIO):
    """A file that is read in small parts at first: a zip directory of gigabytes would be taken apart in memory."""

    longest = _MAX_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns up to `size` bytes.

        Raises:
            BadZipFile: `size` is more than is read at once.
        """
        if size is not None and size > self.longest:
            raise zipfile.BadZipFile("its directory is too large")
        return super().read(-1 if size is None else size) or b""


def _kind(head: bytes) -> str:
    """Returns what a file that starts with `head` is, for a person who renamed or mistook it."""
    if not head:
        return "empty"
    if head[8:10] == b'{"':
        return "a safetensors file, which holds weights but no network"
    if head[257:262] == b"ustar":
        return "a tar archive; a checkpoint of the first torch, if it is one, must be saved again by a newer one"
    if head[0] == 8 and b"" < head[1:2] < b"\x14":
        return "probably an ONNX model, which needs no import"
    if head[0] == 0x80:
        return "a plain pickle"
    return next((what for start, what in _SIGNATURES if head.startswith(start)), "of an unknown format")
