"""Reads a pickle as plain data.

The standard unpickler imports what a file names and calls it. Here the pickle module is not used at all: `pickletools`
takes the bytes apart, and the machine below builds tuples, lists, dicts and inert `Record`s from them. It holds no
import and no call to anything but the few functions that its caller passes in, so there is nothing to escape to.

Source: the opcode descriptions in Python's `pickletools`.
"""

from __future__ import annotations

import pickletools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias

from watchline.detectors.importer.archive import Limits

Function: TypeAlias = Callable[[tuple[object, ...]], object]

_MAX_PARTS: Final = 8  # of a tuple that is a key
_NAME: Final = re.compile(r"\w[\w.<>]{0,200}")
_MAX_KEY: Final = 1 << 60  # numbers below differ in their hashes; of larger ones, any many may share one


class PickleError(Exception):
    """The pickle is damaged, or asks for what is not supported."""


@dataclass(frozen=True, slots=True)
class Global:
    """The dotted name of a class or function. It is never imported."""

    name: str


class Record:
    """An object that the pickle asks for, remembered and never made.

    Attributes:
        name: dotted name of its class, or of the function that was to make it.
        args: what that was to be called with.
        state: what was to be set on it, None where nothing was.
    """

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: tuple[object, ...]) -> None:
        self.name = name
        self.args = args
        self.state: object = None


def load(data: bytes | BinaryIO, functions: Mapping[str, Function], persistent: Function, limits: Limits) -> object:
    """Returns what the pickle `data` describes.

    Args:
        data: one pickle, protocol 2 to 5; a file is left right behind it.
        functions: what to call instead of the globals of these dotted names, with the tuple of arguments. All other
            globals make inert records.
        persistent: called with `(id,)` for each persistent id.
        limits: `operations` and `depth` are used.

    Raises:
        PickleError: damaged, unsupported or too large.

    >>> import pickle
    >>> load(pickle.dumps({"a": [1, 2.5]}, 2), {}, lambda args: None, Limits())
    {'a': [1, 2.5]}
    """
    machine = _Machine(functions, persistent, limits)
    position = 0
    try:
        for count, (opcode, argument, at) in enumerate(pickletools.genops(data)):
            position = at or 0
            if count >= limits.operations:
                raise PickleError(f"more than {limits.operations:,} operations")
            machine.step(opcode.name, argument)
        return machine.result()
    # pickletools warns of odd escapes in texts; a program that takes warnings for errors gets one of ours.
    except (ValueError, IndexError, KeyError, TypeError, struct.error, DeprecationWarning) as error:
        raise PickleError(f"damaged at byte {position:,}: {type(error).__name__}") from error
    except RecursionError as error:  # comparing or hashing what nests too deeply
        raise PickleError(f"nested too deeply at byte {position:,}") from error


def can_be_key(value: object) -> bool:
    """Returns whether `value` may be the key of a dictionary.

    Hashing a tuple that nests deeply would end the process, one of many parts would take time at every use, and of
    giant numbers any many may share one hash.

    >>> can_be_key(("a", 1)), can_be_key(("a", ("b",))), can_be_key(1 << 61)
    (True, False, False)
    """
    parts = value if isinstance(value, tuple) else (value,)
    known = str | int | float | bytes | Global | Record | None
    return len(parts) <= _MAX_PARTS and all(
        isinstance(part, known) and not (isinstance(part, int) and abs(part) >= _MAX_KEY) for part in parts
    )


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, functions: Mapping[str, Function], persistent: Function, limits: Limits) -> None:
        self._functions = functions
        self._persistent = persistent
        self._limits = limits
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def step(self, opcode: str, argument: object) -> None:
        """Runs one operation."""
        if opcode in _PUSH_ARGUMENT:
            self._stack.append(argument)
        elif opcode in _PUSH_CONSTANT:
            self._stack.append(_PUSH_CONSTANT[opcode])
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode not in _NOTHING_TO_DO:
            raise PickleError(f"operation {opcode} is not supported")

    def result(self) -> object:
        if len(self._stack) != 1 or self._marks:
            raise PickleError("it ends with a stack of the wrong size")
        return self._stack[0]

    def mark(self, _: object) -> None:
        if len(self._marks) >= self._limits.depth:
            raise PickleError(f"nested deeper than {self._limits.depth}")
        self._marks.append(len(self._stack))

    def pop_mark(self, _: object) -> list[object]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def pop(self, _: object = None) -> object:
        if self._marks and self._marks[-1] == len(self._stack):
            raise IndexError("pop beyond a mark")
        return self._stack.pop()

    def new_list(self, _: object) -> None:
        self._stack.append([])

    def new_dict(self, _: object) -> None:
        self._stack.append({})

    def new_set(self, _: object) -> None:
        self._stack.append(Record("builtins.set", ()))

    def frozen_set(self, argument: object) -> None:
        self._stack.append(Record("builtins.frozenset", tuple(self.pop_mark(argument))))

    def tuple_of_marked(self, argument: object) -> None:
        self._stack.append(tuple(self.pop_mark(argument)))

    def tuple1(self, _: object) -> None:
        self._stack.append((self.pop(),))

    def tuple2(self, _: object) -> None:
        second, first = self.pop(), self.pop()
        self._stack.append((first, second))

    def tuple3(self, _: object) -> None:
        third, second, first = self.pop(), self.pop(), self.pop()
        self._stack.append((first, second, third))

    def append(self, _: object) -> None:
        self._extend([self.pop()])

    def appends(self, argument: object) -> None:
        self._extend(self.pop_mark(argument))

    def set_item(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        self._update([key, value])

    def set_items(self, argument: object) -> None:
        self._update(self.pop_mark(argument))

    def put(self, argument: object) -> None:
        if not isinstance(argument, int):
            raise PickleError("a memo index is not a number")
        self._memo[argument] = self._stack[-1]

    def memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, argument: object) -> None:
        self._stack.append(self._memo[argument])  # type: ignore[index]  # whatever is not there is a KeyError

    def name(self, argument: object) -> None:
        self._push_global(*str(argument).split(" ", 1))

    def name_from_stack(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        self._push_global(module, name)

    def call(self, _: object) -> None:
        args, function = self.pop(), self.pop()
        self._call(function, args)

    def call_with_keywords(self, _: object) -> None:
        keywords, args, function = self.pop(), self.pop(), self.pop()
        if keywords != {}:
            raise PickleError("an object is made with keywords")
        self._call(function, args)

    def build(self, _: object) -> None:
        state, target = self.pop(), self._stack[-1]
        if isinstance(target, Record) and target.state is None:
            target.state = state
        elif not isinstance(target, dict):  # an OrderedDict may have attributes; nobody asks for them
            raise PickleError(f"a state is set on {type(target).__name__}")

    def persistent_id(self, _: object) -> None:
        self._stack.append(self._persistent((self.pop(),)))

    def _push_global(self, module: object, name: object) -> None:
        dotted = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""
        if not _NAME.fullmatch(dotted):
            raise PickleError(f"the name {dotted[:80]!a} is not a name")
        self._stack.append(Global(dotted))

    def _call(self, function: object, args: object) -> None:
        if not isinstance(args, tuple) or not isinstance(function, Global | Record):
            raise PickleError(f"{type(function).__name__} is called")
        known = self._functions.get(function.name) if isinstance(function, Global) else None
        self._stack.append(known(args) if known else Record(function.name, args))

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Record):
            raise PickleError(f"items are added to {type(target).__name__}")

    def _update(self, pairs: list[object]) -> None:
        target = self._stack[-1]
        keys = pairs[::2]
        if len(pairs) % 2 or not isinstance(target, dict | Record):
            raise PickleError(f"items are set on {type(target).__name__}")
        for key in keys:
            if not can_be_key(key):
                giant = "giant " if isinstance(key, int) else ""
                raise PickleError(f"a key of a dictionary is a {giant}{type(key).__name__}")
        if isinstance(target, dict):
            target.update(zip(keys, pairs[1::2], strict=True))


_NOTHING_TO_DO: Final = frozenset({"PROTO", "FRAME", "STOP"})
_PUSH_ARGUMENT: Final = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "BYTEARRAY8"),
    )
)
_PUSH_CONSTANT: Final[Mapping[str, object]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_STEPS: Final[Mapping[str, Callable[[_Machine, object], object]]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "EMPTY_LIST": _Machine.new_list,
    "EMPTY_DICT": _Machine.new_dict,
    "EMPTY_SET": _Machine.new_set,
    "FROZENSET": _Machine.frozen_set,
    "TUPLE": _Machine.tuple_of_marked,
    "TUPLE1": _Machine.tuple1,
    "TUPLE2": _Machine.tuple2,
    "TUPLE3": _Machine.tuple3,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent_id,
}
