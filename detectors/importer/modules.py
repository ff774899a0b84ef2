"""Module: one part of a network as its checkpoint remembers it, read by name, strictly."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from watchline.detectors.importer.checkpoint import Checkpoint, Numbers, Tensor
from watchline.detectors.importer.pickled import PickleError, Record
from watchline.streams.errors import ModelError

# What torch and the model builders keep on every module and what does not change its answer.
_HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks")
_BOOKKEEPING: Final = frozenset(
    (
        *("training", "i", "f", "type", "np", "inplace"),
        *("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"),
        *("_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook"),
        *(*_HOOKS, "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs"),
        *("_state_dict_hooks", "_state_dict_pre_hooks"),
        *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    )
)
_MAX_SIDE: Final = 1 << 20


class Module:
    """One part of a network as its checkpoint remembers it.

    Attributes:
        path: where it sits in the network, "model.22.cv2.0".
        name: dotted name of its class, "ultralytics.nn.modules.conv.Conv".
    """

    __slots__ = ("_checkpoint", "_record", "_state", "name", "path")

    def __init__(self, record: object, path: str, checkpoint: Checkpoint) -> None:
        """Reads `record`.

        Raises:
            ModelError: it is not a module.
        """
        state = record.state if isinstance(record, Record) else None
        if not isinstance(record, Record) or not isinstance(state, dict):
            raise checkpoint.refusal(f"{path} is not a module of a network")
        self._record = record
        self._state: dict[object, object] = state
        self._checkpoint = checkpoint
        self.name = record.name
        self.path = path

    @property
    def identity(self) -> int:
        """The same for two modules that are one object."""
        return id(self._record)

    @property
    def fused(self) -> bool:
        """Whether its program folded its normalisation into its convolution, and calls it accordingly."""
        match self._state.get("forward"):
            case Record(name="builtins.getattr" | "__builtin__.getattr", args=(owner, "fuseforward" | "forward_fuse")):
                return owner is self._record and not self.has("bn")
        return False

    def refusal(self, reason: str) -> ModelError:
        """Returns the error that says why this module cannot be imported."""
        return self._checkpoint.refusal(f"module {self.name} at {self.path} is not supported: {reason}")

    def unknown(self, known: Iterable[str]) -> ModelError:
        """Returns the error that says that this kind of module is not among the `known` dotted names."""
        names = ", ".join(sorted({name.rpartition(".")[2] for name in known}))
        return self._checkpoint.refusal(f"module {self.name} at {self.path} is not supported; supported: {names}")

    def at(self, path: str) -> Module:
        """Returns the same module under another path, for one that a network calls several times."""
        return Module(self._record, path, self._checkpoint)

    def expect(self, attributes: str, children: str, tensors: str) -> None:
        """Checks that the module holds nothing else than these, by name; what is None counts as absent.

        A class name carries the meaning of a module. Forks keep the name and change the meaning, and what they add
        shows here: an attribute, a child or a tensor too many.

        Args:
            attributes: names of plain attributes that may be there, separated by spaces; "*" for any.
            children: names of child modules that may be there, likewise.
            tensors: names of parameters and buffers that may be there, likewise.

        Raises:
            ModelError: it holds something else, or a hook that runs when it is called.
        """
        for table, allowed, always in (
            (self._state, attributes, _BOOKKEEPING),
            (self._table("_modules"), children, frozenset()),
            (self._table("_parameters") | self._table("_buffers"), tensors, frozenset()),
        ):
            names = {name for name, value in table.items() if value is not None}
            unknown = names - always - set(allowed.split())
            if unknown and allowed != "*":
                raise self.refusal(f"unknown part {min(str(name) for name in unknown)[:80]!a}")
        if attributes != "*" and self.has("forward") and not self.fused:
            raise self.refusal("unknown part 'forward'")
        if any(self._table(hook) for hook in _HOOKS):
            raise self.refusal("it carries a hook, which is code")

    def children(self) -> list[Module]:
        """Returns the child modules in order."""
        return [
            Module(child, f"{self.path}.{name}", self._checkpoint)
            for name, child in self._table("_modules").items()
            if child is not None
        ]

    def child(self, name: str) -> Module:
        """Returns child module `name`.

        Raises:
            ModelError: there is none.
        """
        return Module(self._table("_modules").get(name), f"{self.path}.{name}", self._checkpoint)

    def has(self, name: str) -> bool:
        """Returns whether attribute, child or tensor `name` is there and not None."""
        tables = (self._state, self._table("_modules"), self._table("_parameters"), self._table("_buffers"))
        return any(table.get(name) is not None for table in tables)

    def parameters(self) -> int:
        """Returns how many numbers the parameters of this module itself hold, not those of its children."""
        tensors = (value for value in self._table("_parameters").values() if isinstance(value, Tensor))
        return sum(math.prod(tensor.shape) for tensor in tensors)

    def numbers(self, name: str, shape: tuple[int, ...]) -> Numbers:
        """Returns tensor `name` as float64, which must have this shape.

        Raises:
            ModelError: missing, damaged, or of another shape.
        """
        places = (self._table("_parameters"), self._table("_buffers"), self._state)
        tensor = next((place[name] for place in places if name in place), None)
        if not isinstance(tensor, Tensor):
            kind = tensor.name if isinstance(tensor, Record) else type(tensor).__name__
            raise self.refusal(f"{name} is not a plain tensor but {kind}")
        if tensor.shape != shape:
            raise self.refusal(f"{name} has shape {tensor.shape}, expected {shape}")
        try:
            return self._checkpoint.numbers(tensor)
        except PickleError as error:
            raise self.refusal(f"{name}: {error}") from error

    def value(self, name: str, default: object = None) -> object:
        """Returns plain attribute `name`, `default` where there is none."""
        return self._state.get(name, default)

    def integer(self, name: str) -> int:
        """Returns attribute `name`, a whole number from 0; a float that is whole counts.

        Raises:
            ModelError: it is anything else.
        """
        value = self._state.get(name)
        if isinstance(value, int | float) and 0 <= value < _MAX_SIDE and value == int(value):
            return int(value)
        raise self.refusal(f"{name} is not a whole number")

    def square(self, name: str) -> int:
        """Returns attribute `name`, one number or two equal ones, as torch keeps kernel sizes and strides.

        Raises:
            ModelError: it is anything else.
        """
        value = self._state.get(name)
        sides = [
            side for side in (value if isinstance(value, tuple | list) else (value, value)) if isinstance(side, int)
        ]
        if len(sides) == 2 and sides[0] == sides[1] and 0 <= sides[0] < _MAX_SIDE:
            return int(sides[0])  # of a bool, too
        raise self.refusal(f"{name} is not one number or two equal ones")

    def require(self, name: str, value: object) -> None:
        """Checks that attribute `name` is `value`, or absent.

        Raises:
            ModelError: it is anything else.
        """
        if self._state.get(name, value) not in (value, (value, value)):
            raise self.refusal(f"only {name}={value} is known")

    def _table(self, name: str) -> dict[object, object]:
        table = self._state.get(name)
        if not isinstance(table, dict | None):
            raise self.refusal(f"{name} is not a dictionary")
        return table or {}
