"""StateDict: the weights of a network by name, where its checkpoint holds nothing else."""

from __future__ import annotations

import math
from typing import Final, Self

from watchline.detectors.importer.checkpoint import Checkpoint, Numbers, Tensor
from watchline.detectors.importer.pickled import PickleError
from watchline.streams.errors import ModelError

_WRAPPER: Final = "module."  # what torch's DataParallel puts before every name
_STATISTICS: Final = ("running_mean", "running_var", "num_batches_tracked")  # counted while training, not trained


class StateDict:
    """The weights of a network by name, each read once, with the shape that it must have.

    Such a file does not say what the network does with its weights. Only names and shapes tell, so none may be left.
    """

    def __init__(self, tensors: dict[str, Tensor], checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._tensors = tensors
        self._unread = dict(tensors)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self | None:
        """Returns the weights that `checkpoint` holds by name, bare or as its "state_dict"; None where it holds none.

        Training may put its counters and scores beside the "state_dict"; they are not looked at.
        """
        root = checkpoint.root
        held = root.get("state_dict", root) if isinstance(root, dict) else None
        if not isinstance(held, dict) or not held:
            return None
        tensors = {name: value for name, value in held.items() if isinstance(name, str) and isinstance(value, Tensor)}
        if len(tensors) != len(held):
            return None
        if all(name.startswith(_WRAPPER) for name in tensors):
            tensors = {name.removeprefix(_WRAPPER): tensor for name, tensor in tensors.items()}
        return cls(tensors, checkpoint)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def refusal(self, reason: str) -> ModelError:
        """Returns the error that says why these weights cannot be imported."""
        return self._checkpoint.refusal(reason)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of weight `name`.

        Raises:
            ModelError: there is none.
        """
        if name not in self._tensors:
            raise self.refusal(f"weight {name} is missing")
        return self._tensors[name].shape

    def numbers(self, name: str, shape: tuple[int, ...]) -> Numbers:
        """Returns weight `name` as float64; it counts as read from now on.

        Raises:
            ModelError: missing, read before, damaged, or of another shape.
        """
        if self.shape(name) != shape:
            raise self.refusal(f"weight {name} has shape {self.shape(name)}, expected {shape}")
        if self._unread.pop(name, None) is None:
            raise self.refusal(f"weight {name} is used twice")
        try:
            return self._checkpoint.numbers(self._tensors[name])
        except PickleError as error:
            raise self.refusal(f"weight {name}: {error}") from error

    def ignore(self, *endings: str) -> None:
        """Takes the weights whose names end so as read: the network's answer does not depend on them."""
        for name in [name for name in self._unread if name.endswith(endings)]:
            del self._unread[name]

    def expect_all_read(self) -> None:
        """Checks that no weight is left.

        Raises:
            ModelError: one is, so the network is another than it looks.
        """
        if self._unread:
            raise self.refusal(f"unknown weight {min(self._unread)[:80]!a} ({len(self._unread)} in all)")

    def parameters(self, *ignored: str) -> int:
        """Returns how many trained numbers there are, without the weights of these names."""
        counted = (tensor for name, tensor in self._tensors.items() if not name.endswith(_STATISTICS + ignored))
        return sum(math.prod(tensor.shape) for tensor in counted)
