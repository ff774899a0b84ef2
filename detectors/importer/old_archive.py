"""The file format of torch before 1.6: pickles one after the other, then all storages."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from watchline.detectors.importer import pickled
from watchline.detectors.importer.archive import Limits
from watchline.detectors.importer.pickled import PickleError
from watchline.streams.errors import ModelError

OLD_MAGIC: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_PROTOCOL: Final = 1001
_COUNT: Final = struct.Struct("<q")


class OldArchive:
    """The parts of one torch checkpoint in the older format, read on demand.

    It holds the magic number, the version of the format, the sizes of the machine that saved it, the structure, and
    the names of the storages, a pickle each; then the storages in the order of the names, each after its count.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        """Opens `path`, which starts with `OLD_MAGIC`, and stops before the structure.

        Raises:
            ModelError: not such a checkpoint, or larger than `limits`.
        """
        self._path = path
        self._limits = limits
        self._places: dict[str, tuple[int, int]] = {}
        self._size = path.stat().st_size
        if self._size > limits.file_bytes:
            raise self.refusal(f"larger than {limits.file_bytes:,} bytes")
        self._file = path.open("rb")
        try:
            self._read_start()
        except PickleError as error:
            self._file.close()
            raise self.refusal(f"its start cannot be read: {error}") from error
        except BaseException:
            self._file.close()
            raise

    def refusal(self, reason: str) -> ModelError:
        """Returns the error that says why this file is refused."""
        return ModelError(f"{self._path.name}: {reason}")

    def structure(self) -> BinaryIO:
        """Returns the file, where the pickle of the structure starts; to be called once, before `locate`."""
        return self._file

    def locate(self, bytes_of: Mapping[str, tuple[int, int]]) -> None:
        """Finds the storages, once the structure has been read and the file stands behind it.

        Args:
            bytes_of: how many numbers each storage has, and bytes a number, by its name in the structure.

        Raises:
            PickleError: the list of names is damaged.
            ModelError: a storage is not there, or not as the structure says.
        """
        keys = self._pickle()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise PickleError("the storages have no list of names")
        for key in keys:
            head = self._file.read(_COUNT.size)
            count, width = bytes_of.get(key, (-1, 0))
            if len(head) < _COUNT.size or count < 0 or _COUNT.unpack(head)[0] != count:
                raise self.refusal(f"truncated or damaged: storage {key[:20]!a} is not as its structure says")
            start = self._file.tell()
            self._places[key] = (start, count * width)
            if start + count * width > self._size:
                raise self.refusal("truncated: it ends within its numbers; copy it again")
            self._file.seek(start + count * width)

    def storage(self, key: str) -> bytes:
        """Returns the numbers of one storage.

        Raises:
            ModelError: it is not there, or cannot be read.
        """
        if key not in self._places:
            raise self.refusal(f"storage {key[:20]!a} is missing; the file is truncated or damaged")
        start, size = self._places[key]
        try:
            self._file.seek(start)
            return self._file.read(size)
        except OSError as error:
            raise self.refusal(f"{error.strerror}") from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _read_start(self) -> None:
        self._pickle()  # the magic number
        version, machine = self._pickle(), self._pickle()
        if version != _PROTOCOL:
            raise self.refusal("in an unknown version of the format of torch before 1.6")
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise self.refusal("saved on a big-endian machine; load it and save it on another one")

    def _pickle(self) -> object:
        """Returns what the next pickle holds, which makes nothing."""
        return pickled.load(self._file, {}, _nothing, self._limits)


def _nothing(_: tuple[object, ...]) -> object:
    raise PickleError("a persistent id where none belongs")
