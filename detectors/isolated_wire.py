"""What the process of an isolated engine and its parent say to each other: JSON messages, never pixels or pickles.

Arrays lie in shared memory, whose descriptors travel beside a message. There is one channel for each call that may be
under way, so whoever calls waits for its own answer alone, and one more for all else.
"""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import EngineInfo, Fallback
from watchline.detectors.recycling import Recycler
from watchline.streams.errors import ModelError, OutputError, UsageError, WatchlineError
from watchline.streams.free_memory import usable_memory_bytes
from watchline.streams.shared_mapping import Mapped, map_shared
from watchline.streams.shared_pictures import reserve

Message: TypeAlias = dict[str, Any]
Spec: TypeAlias = tuple[str, tuple[int, ...]]  # of an array: its dtype as NumPy writes it, and its shape

_PACKET: Final = 1 << 15  # bytes; one message may take several: a network may have many labels
_MOST_BYTES: Final = 1 << 24  # of a message
_MORE, _LAST = b"+", b"."
_ALIGNED: Final = 64  # bytes, of each array
_NUMBERS: Final = frozenset("?bBhHiIlLqQefd")  # NumPy's letters for the kinds of numbers that a network may give
_ERRORS: Final = {error.__name__: error for error in (UsageError, OutputError, ModelError)}
_MAX_REASON: Final = 2000
_MOST_SHARED_BYTES: Final = 1 << 31  # for the pictures, or the outputs, of a call


@dataclass(frozen=True, slots=True)
class EngineJob:
    """What an isolated process opens and runs.

    Attributes:
        path: the network's file.
        device: see `open_engine`.
        family: see `open_engine`.
        workers: most calls at once.
        engines: folder of the TensorRT engines.
        name: what the list of processes and errors call it.
        opener: what opens it there, as "module:function"; is called as `open_engine` is.
    """

    path: Path
    device: str
    family: str
    workers: int
    engines: Path
    name: str
    opener: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What a process says of its engine once that is open."""

    card: ModelCard
    fixed_size: tuple[int, int] | None


class Channel:
    """One end of a pair of sockets; any thread may send, one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._begun = b""  # of a message, parts of which have come

    def send(self, do: str, fd: int | None = None, **content: Any) -> None:
        """Sends one message, with a descriptor where one is given.

        Raises:
            OSError: the other side is gone.
        """
        data = json.dumps({**content, "do": do}).encode()
        parts = [data[i : i + _PACKET] for i in range(0, len(data), _PACKET)]
        with self._lock:
            for part in parts[:-1]:
                self._end.sendall(_MORE + part)
            socket.send_fds(self._end, [_LAST + parts[-1]], [] if fd is None else [fd])

    def receive(self, within_s: float | None = None) -> tuple[Message, list[int]] | None:
        """Returns the next message with its descriptors; None once the other side is gone and all was read.

        Raises:
            TimeoutError: there was none in `within_s` seconds; by default it waits for as long as it takes.
            ValueError: it is no message.
        """
        self._end.settimeout(within_s)
        while (packet := self._packet()) is not None:
            part, fds = packet
            self._begun += part[1:]
            if part[:1] == _LAST:
                data, self._begun = self._begun, b""
                return _message(data), fds
            if part[:1] != _MORE or len(self._begun) > _MOST_BYTES:
                raise ValueError("not a part of a message")
        return None

    def _packet(self) -> tuple[bytes, list[int]] | None:
        for _ in range(2):
            # A process that ends with unread messages makes this fail once, before what it sent itself is read.
            with suppress(ConnectionResetError):
                part, fds, _, _ = socket.recv_fds(self._end, _PACKET + 1, 1)
                return (part, fds) if part else None
        return None

    def shut(self) -> None:
        """Ends the talk: whoever waits at either end sees that the other side is gone."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes this end; nobody may be waiting at it."""
        self._end.close()


class Seat:
    """One call at a time, as its caller sees it: the memory that it shares, and what is said about it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._number = 0  # of the call: one that was interrupted may still be answered
        self._input: Mapped = None
        self._input_bytes = -1  # of what the other side is known to have, too
        self._room: Mapped = None
        self._copies = Recycler()

    def call(self, batch: F32, patience: Callable[[], Iterable[float]]) -> Message:
        """Has a batch computed; returns the answer, "done" or "failed".

        Args:
            batch: (N, 3, H, W) float32.
            patience: gives for how long to wait for an answer, seconds; and then again, until there is no more.

        Raises:
            ModelError: there is no memory to share.
            TimeoutError: there was no answer in time.
            OSError: the process is gone.
            ValueError: it says what makes no sense.
        """
        self._number += 1
        if batch.nbytes > self._input_bytes:
            self._input_bytes = -1
            self._input, size_bytes = self._share("run", batch.nbytes, batch)
            self._input_bytes = size_bytes
        else:
            self._fill(self._input, batch)
            self.channel.send("run", number=self._number, shape=batch.shape)
        while True:
            answer = self._receive(patience())
            if answer["number"] != self._number:
                continue
            if answer["do"] != "room":
                return answer
            self._room, _ = self._share("room", int(answer["bytes"]))

    def outputs(self, answer: Message) -> tuple[F32, ...]:
        """Returns copies of the arrays of an answer, in memory that nobody holds any more.

        Raises:
            ValueError: it says what makes no sense.
        """
        specs = specs_in(answer)
        if self._room is None or bytes_of(specs) > len(self._room):
            raise ValueError("outputs that do not fit into the memory for them")
        arrays = arrays_in(self._room, specs)
        return tuple(self._copies.copy(array) if array.dtype == np.float32 else array.copy() for array in arrays)

    def _share(self, do: str, need_bytes: int, batch: F32 | None = None) -> tuple[Mapped, int]:
        """Sends a message with new memory, of so many bytes at least, that already holds `batch`."""
        size_bytes = -(-max(need_bytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            if size_bytes > min(_MOST_SHARED_BYTES, usable_memory_bytes()):
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            fd = reserve(size_bytes, "watchline-engine")
        except OSError as error:
            raise _no_memory(size_bytes, error) from None
        try:
            try:
                mapped = map_shared(fd, size_bytes)
            except OSError as error:
                raise _no_memory(size_bytes, error) from None
            shape = {} if batch is None else {"shape": batch.shape}
            if batch is not None:
                self._fill(mapped, batch)
            self.channel.send(do, fd, number=self._number, bytes=size_bytes, **shape)
        finally:
            os.close(fd)
        return mapped, size_bytes

    def _fill(self, mapped: Mapped, batch: F32) -> None:
        (there,) = arrays_in(mapped, [(batch.dtype.str, batch.shape)])
        np.copyto(there, batch)

    def _receive(self, patience: Iterable[float]) -> Message:
        for within_s in patience:
            with suppress(TimeoutError):
                received = self.channel.receive(within_s)
                if received is None:
                    raise ConnectionResetError
                return without_fds(received)
        raise TimeoutError

    def close(self) -> None:
        """Lets go of all; nobody may be calling."""
        self.channel.close()


def _no_memory(size_bytes: int, error: OSError) -> ModelError:
    text = f"{size_bytes >> 20} MiB of memory to share with an engine's process cannot be had ({error.strerror})"
    return ModelError(f"{text}; use fewer workers, a smaller batch or smaller pictures")


def _message(data: bytes) -> Message:
    try:
        message = json.loads(data)
    except RecursionError:
        raise ValueError("not a message") from None
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


def without_fds(received: tuple[Message, list[int]]) -> Message:
    """Returns a message; closes what came with it from a process that has nothing to give."""
    message, fds = received
    for fd in fds:
        os.close(fd)
    return message


def info_out(info: EngineInfo) -> Message:
    """Returns what runs as a message holds it."""
    return asdict(info)


def info_in(message: Message) -> EngineInfo:
    """Returns what runs, of a message."""
    return EngineInfo(**{**message, "fallbacks": tuple(Fallback(**fallback) for fallback in message["fallbacks"])})


def job_out(job: EngineJob) -> Message:
    """Returns what a process is to do as a message holds it."""
    return {**asdict(job), "path": str(job.path), "engines": str(job.engines)}


def job_in(message: Message) -> EngineJob:
    """Returns what a process is to do, of a message."""
    return EngineJob(**{**message, "path": Path(message["path"]), "engines": Path(message["engines"])})


def opened_out(opened: Opened) -> Message:
    """Returns what an engine is as a message holds it."""
    return asdict(opened)


def opened_in(message: Message) -> Opened:
    """Returns what an engine is, of a message."""
    card: Message = {
        name: tuple(value) if isinstance(value, list) else value for name, value in message["card"].items()
    }
    size = message["fixed_size"]
    return Opened(ModelCard(**card), (int(size[0]), int(size[1])) if size else None)


def error_out(error: Exception) -> Message:
    """Returns an error as a message holds it."""
    known = type(error).__name__ in _ERRORS
    text = str(error) if known else " ".join(f"{type(error).__name__}: {error}".split())
    return {"kind": type(error).__name__ if known else "", "text": text[:_MAX_REASON]}


def error_in(message: Message) -> WatchlineError:
    """Returns the error that a message holds; what is none of watchline's own is a `ModelError`."""
    return _ERRORS.get(str(message["kind"]), ModelError)(str(message["text"]))


def specs_of(arrays: Sequence[NDArray[np.generic]]) -> list[Spec]:
    """Returns how arrays are written in a message."""
    return [(array.dtype.str, array.shape) for array in arrays]


def specs_in(message: Message) -> list[Spec]:
    """Returns how the arrays of a message are laid out.

    Raises:
        ValueError: no array is like that.
    """
    specs = [(str(kind), tuple(int(side) for side in shape)) for kind, shape in message["outputs"]]
    for kind, shape in specs:
        if np.dtype(kind).char not in _NUMBERS or any(side < 0 for side in shape):
            raise ValueError(f"an array of {kind} {shape}")
    return specs


def bytes_of(specs: Sequence[Spec]) -> int:
    """Returns how much room arrays take together."""
    return sum(_room_of(spec) for spec in specs)


def arrays_in(mapped: Mapped, specs: Sequence[Spec]) -> list[NDArray[Any]]:
    """Returns arrays that lie in shared memory one after the other, as views of it.

    Raises:
        ValueError: there is too little of it.
    """
    arrays, offset = [], 0
    for kind, shape in specs:
        dtype = np.dtype(kind)
        arrays.append(np.frombuffer(mapped, dtype, math.prod(shape), offset).reshape(shape))
        offset += _room_of((kind, shape))
    return arrays


def _room_of(spec: Spec) -> int:
    kind, shape = spec
    return -(-np.dtype(kind).itemsize * math.prod(shape) // _ALIGNED) * _ALIGNED
