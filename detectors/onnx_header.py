"""What an ONNX file says of its inputs, outputs and metadata, read without its weights and without the package `onnx`.

That package takes 15 MB to load and as much again for the weights, for a few hundred bytes of what is said.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from watchline.streams.errors import ModelError

FLOAT: Final = 1  # TensorProto.DataType
_Bytes: TypeAlias = memoryview | mmap.mmap
_Read = TypeVar("_Read")
_MOST_VALUES: Final = 4096  # inputs, outputs and entries of the metadata; real files have a few dozen
_MOST_CONSTANTS: Final = 1 << 16
_MOST_NODES: Final = 1 << 16
_MOST_SIDES: Final = 64  # of a shape
_MOST_TEXT: Final = 1 << 20  # bytes of one entry

# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_NODE, _GRAPH_CONSTANT, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATION = 1, 2, 3, 4
_CONSTANT_NAME = 8
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output.

    Attributes:
        name: its name.
        element: number of its type; `FLOAT`.
        shape: -1 for what is open.
    """

    name: str
    element: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """What a file says; its inputs are without those that are constants."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """A step of the network: its name, what it does, and the names of what goes in and comes out."""

    name: str
    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """The names in a network; its inputs are without those that are constants."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: frozenset[str]
    nodes: tuple[Node, ...]


def read_header(path: Path) -> OnnxHeader:
    """Returns what the ONNX file `path` says of itself.

    Raises:
        ModelError: it cannot be read, or is no ONNX file.
    """
    return _read(path, _header)


def read_outline(path: Path) -> Outline:
    """Returns the names in the ONNX file `path`.

    Raises:
        ModelError: it cannot be read, or is no ONNX file.
    """
    return _read(path, _outline)


def _read(path: Path, reader: Callable[[mmap.mmap], _Read]) -> _Read:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return reader(data)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, IndexError) as error:  # an empty file, a length beyond the end, text that is none
        raise ModelError(f"{path}: not an ONNX model, or damaged ({error}); copy it again") from error


def _header(data: mmap.mmap) -> OnnxHeader:
    graph: list[tuple[int, int]] = []
    metadata: dict[str, str] = {}
    for number, start, end in _fields(data, 0, len(data)):
        if number == _MODEL_GRAPH:
            graph.append((start, end))
        elif number == _MODEL_METADATA:
            _expect_room(len(metadata), _MOST_VALUES, "entries of metadata")
            entry = {n: _text(data, s, e) for n, s, e in _fields(data, start, end) if n in (1, 2)}
            metadata[entry.get(1, "")] = entry.get(2, "")
    if len(graph) != 1:
        raise ValueError("it has no graph")
    constants: set[str] = set()
    inputs: list[Value] = []
    outputs: list[Value] = []
    for number, start, end in _fields(data, *graph[0]):
        if number == _GRAPH_CONSTANT:
            _expect_room(len(constants), _MOST_CONSTANTS, "constants")
            constants.update(_text(data, s, e) for n, s, e in _fields(data, start, end) if n == _CONSTANT_NAME)
        elif number in (_GRAPH_INPUT, _GRAPH_OUTPUT):
            _expect_room(len(inputs) + len(outputs), _MOST_VALUES, "inputs and outputs")
            (inputs if number == _GRAPH_INPUT else outputs).append(_value(data, start, end))
    return OnnxHeader(tuple(value for value in inputs if value.name not in constants), tuple(outputs), metadata)


def _outline(data: mmap.mmap) -> Outline:
    graphs = [(start, end) for number, start, end in _fields(data, 0, len(data)) if number == _MODEL_GRAPH]
    if len(graphs) != 1:
        raise ValueError("it has no graph")
    constants: set[str] = set()
    nodes: list[Node] = []
    ends: dict[int, list[str]] = {_GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    for number, start, end in _fields(data, *graphs[0]):
        if number == _GRAPH_CONSTANT:
            _expect_room(len(constants), _MOST_CONSTANTS, "constants")
            constants.update(_text(data, s, e) for n, s, e in _fields(data, start, end) if n == _CONSTANT_NAME)
        elif number == _GRAPH_NODE:
            _expect_room(len(nodes), _MOST_NODES, "nodes")
            nodes.append(_node(data, start, end))
        elif number in ends:
            _expect_room(len(ends[number]), _MOST_VALUES, "inputs and outputs")
            ends[number].append(_value(data, start, end).name)
    inputs = tuple(name for name in ends[_GRAPH_INPUT] if name not in constants)
    return Outline(inputs, tuple(ends[_GRAPH_OUTPUT]), frozenset(constants), tuple(nodes))


def _node(data: _Bytes, start: int, end: int) -> Node:
    texts: dict[int, list[str]] = {_NODE_INPUT: [], _NODE_OUTPUT: [], _NODE_NAME: [], _NODE_OPERATION: []}
    for number, s, e in _fields(data, start, end):
        if number in texts:
            _expect_room(len(texts[number]), _MOST_VALUES, "inputs and outputs of a node")
            texts[number].append(_text(data, s, e))
    last = {number: (texts[number] or [""])[-1] for number in (_NODE_NAME, _NODE_OPERATION)}
    return Node(last[_NODE_NAME], last[_NODE_OPERATION], tuple(texts[_NODE_INPUT]), tuple(texts[_NODE_OUTPUT]))


def _value(data: _Bytes, start: int, end: int) -> Value:
    """Returns a ValueInfoProto: name 1, type 2 > tensor 1 > element 1 and shape 2 > dimension 1 > number 1."""
    name, element, shape = "", 0, list[int]()
    for number, s, e in _fields(data, start, end):
        if number == 1:
            name = _text(data, s, e)
        elif number == 2:
            for _, s_tensor, e_tensor in _only(1, data, s, e):
                for n, s_part, e_part in _fields(data, s_tensor, e_tensor):
                    if n == 1:
                        element = _varint(data, s_part, e_part)[0]
                    elif n == 2:
                        shape = _shape(data, s_part, e_part)
    return Value(name, element, tuple(shape))


def _shape(data: _Bytes, start: int, end: int) -> list[int]:
    shape: list[int] = []
    for _, s, e in _only(1, data, start, end):
        _expect_room(len(shape), _MOST_SIDES, "sides of a shape")
        shape.append(_side(data, s, e))
    return shape


def _side(data: _Bytes, start: int, end: int) -> int:
    side = -1
    for _, s, e in _only(1, data, start, end):  # the last one counts
        side = _varint(data, s, e)[0]
    return side if side < 1 << 63 else -1


def _expect_room(count: int, most: int, what: str) -> None:
    if count >= most:
        raise ValueError(f"more than {most:,} {what}")


def _only(wanted: int, data: _Bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    return (field for field in _fields(data, start, end) if field[0] == wanted)


def _fields(data: _Bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of each field of the message that lies in `data[start:end]`."""
    while start < end:
        key, start = _varint(data, start, end)
        kind = key & 7
        if kind == _LENGTH:
            length, start = _varint(data, start, end)
        elif kind == _VARINT:
            length = _varint(data, start, end)[1] - start
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if length > end - start:
            raise ValueError("a field goes beyond its end")
        yield key >> 3, start, start + length
        start += length


def _varint(data: _Bytes, start: int, end: int) -> tuple[int, int]:
    """Returns the number at `start`, and where it ends."""
    value = shift = 0
    while start < end and shift < 70:
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
    raise ValueError("a number does not end")


def _text(data: _Bytes, start: int, end: int) -> str:
    if end - start > _MOST_TEXT:
        raise ValueError(f"a text of {end - start:,} bytes")
    return bytes(data[start:end]).decode("utf-8")
