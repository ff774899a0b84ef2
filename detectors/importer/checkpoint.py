"""A torch checkpoint as plain data: inert records, and tensors that are read when asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.importer import pickled
from watchline.detectors.importer.archive import Archive, Limits
from watchline.detectors.importer.old_archive import OLD_MAGIC, OldArchive
from watchline.detectors.importer.pickled import Function, Global, PickleError, Record, can_be_key
from watchline.streams.errors import ModelError

Numbers: TypeAlias = NDArray[np.float64]

_BFLOAT16: Final = "bfloat16"  # NumPy has none: read as uint16 and shifted into a float32
_DTYPES: Final[Mapping[str, str]] = {
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": _BFLOAT16,
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "|b1",
}


@dataclass(frozen=True, slots=True)
class Storage:
    """A flat run of numbers, member `data/<key>` of the archive; `count` numbers of NumPy type `dtype`."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view into a storage, in elements. Nothing of it is checked until its numbers are read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Checkpoint:
    """An open checkpoint.

    Attributes:
        root: what was saved: dicts, lists, tuples, numbers, strings, `Tensor`s and inert `Record`s.
        limits: how much of it is read.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        """Opens `path` and reads its structure, but none of its numbers.

        Raises:
            ModelError: not a torch checkpoint, damaged, or larger than `limits`.
        """
        self.limits = limits or Limits()
        self._read_bytes = 0
        self._storages: dict[str, bytes] = {}
        self._archive = _open(path, self.limits)
        kept: dict[str, tuple[int, int]] = {}
        try:
            structure = self._archive.structure()
            self.root = pickled.load(structure, _FUNCTIONS, lambda args: _persistent(args, kept), self.limits)
            if isinstance(self._archive, OldArchive):
                self._archive.locate(kept)
        except PickleError as error:
            self._archive.close()
            part = "its structure" if isinstance(self._archive, OldArchive) else "its data.pkl"
            raise self._archive.refusal(f"{part} cannot be read: {error}") from error
        except BaseException:
            self._archive.close()
            raise

    def refusal(self, reason: str) -> ModelError:
        """Returns the error that says why this file is refused."""
        return self._archive.refusal(reason)

    def numbers(self, tensor: Tensor) -> Numbers:
        """Returns the numbers of `tensor` as a new float64 array of its shape.

        Raises:
            PickleError: the view does not lie in its storage, or too much has been read by now.
            ModelError: the storage is missing or damaged.
        """
        storage, count = tensor.storage, math.prod(tensor.shape)
        if (
            len(tensor.shape) != len(tensor.stride)
            or min((tensor.offset, *tensor.shape, *tensor.stride), default=0) < 0
        ):
            raise PickleError("a tensor has a broken shape")
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
        # A view of more elements than its storage holds would be a small file that fills the memory.
        if count > storage.count or (count and last >= storage.count):
            raise PickleError(f"a tensor of shape {tensor.shape} does not fit its storage")
        self._read_bytes += count * 8
        if self._read_bytes > self.limits.tensor_bytes:
            raise PickleError(f"its tensors take more than {self.limits.tensor_bytes:,} bytes")
        if not count:
            return np.zeros(tensor.shape)
        flat = self._flat(storage)
        steps = tuple(step * flat.itemsize for step in tensor.stride)
        view: NDArray[Any] = np.ndarray(tensor.shape, flat.dtype, flat, tensor.offset * flat.itemsize, steps)
        return view.astype(np.float64, order="C")

    def _flat(self, storage: Storage) -> NDArray[Any]:
        """Returns all numbers of `storage`, (count,), without copying them again if it was read before."""
        if storage.key not in self._storages:
            self._storages[storage.key] = self._archive.storage(storage.key)
        data = self._storages[storage.key]
        dtype = np.dtype("<u2" if storage.dtype == _BFLOAT16 else storage.dtype)
        if len(data) != storage.count * dtype.itemsize:
            raise PickleError(f"storage {storage.key[:20]!a} has {len(data):,} bytes, not {storage.count:,} numbers")
        flat: NDArray[Any] = np.frombuffer(data, dtype)
        if storage.dtype == _BFLOAT16:
            return (flat.astype(np.uint32) << 16).view(np.float32)
        return flat

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()


def _open(path: Path, limits: Limits) -> Archive | OldArchive:
    """Returns the file at `path`, opened by the format that its first bytes say."""
    try:
        with path.open("rb") as file:
            old = file.read(len(OLD_MAGIC)) == OLD_MAGIC
    except OSError:
        old = False  # the other one says why
    return OldArchive(path, limits) if old else Archive(path, limits)


def _persistent(args: tuple[object, ...], kept: dict[str, tuple[int, int]]) -> object:
    """Returns the `Storage` that a persistent id stands for, and notes its count and width in `kept`.

    The older format also gives classes in this way, together with their source code, of which no notice is taken.
    """
    match args:
        case (("module", Global() as kind, *_),):
            return kind
        case (("storage", Global(name=kind), str(key), _, int(count), *view),) if view in ([], [None]):
            if kind not in _DTYPES:
                raise PickleError(f"storage type {kind} is not supported")
            dtype = _DTYPES[kind]
            kept[key] = (count, 2 if dtype == _BFLOAT16 else np.dtype(dtype).itemsize)
            return Storage(key, dtype, count)
    raise PickleError("a persistent id is not a storage")


def _tensor(args: tuple[object, ...]) -> object:
    match args:
        case (Storage() as storage, int(offset), tuple(shape), tuple(stride), *_):
            return Tensor(storage, offset, _integers(shape), _integers(stride))
    raise PickleError("a tensor is described in an unknown way")


def _parameter(args: tuple[object, ...]) -> object:
    """A parameter is its tensor; whether it was trained is of no interest."""
    if args and isinstance(args[0], Tensor | Record):
        return args[0]
    raise PickleError("a parameter is not a tensor")


def _size(args: tuple[object, ...]) -> object:
    match args:
        case (list() | tuple() as shape,):
            return _integers(shape)
    raise PickleError("a torch.Size is not a list of numbers")


def _ordered_dict(args: tuple[object, ...]) -> object:
    """An OrderedDict is made empty, or from a list of pairs by a program in Python 2."""
    pairs = args[0] if len(args) == 1 else []
    if len(args) > 1 or not isinstance(pairs, list):
        raise PickleError("an OrderedDict is made from something")
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 and can_be_key(pair[0]) for pair in pairs):
        raise PickleError("an OrderedDict is not made from pairs")
    return {pair[0]: pair[1] for pair in pairs}


def _integers(values: tuple[object, ...] | list[object]) -> tuple[int, ...]:
    # 64 dimensions are NumPy's limit; 2**40 elements are far above any real tensor and cannot overflow below.
    numbers = tuple(n for n in values if isinstance(n, int) and abs(n) < 1 << 40)
    if len(numbers) != len(values) or len(values) > 8:
        raise PickleError("a shape is not a short list of numbers")
    return numbers


# All that may be called while a checkpoint is read. Everything else that it names stays an inert record.
_FUNCTIONS: Final[Mapping[str, Function]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
