"""Writes small torch checkpoints by hand: a pickle, storages and a zip, without torch.

`Made` stands for an object that its reader is asked to make. Modules are `Made` objects of the upstream class names.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

STORAGES = {"float16": "HalfStorage", "float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}
CONV = "ultralytics.nn.modules.conv."
BLOCK = "ultralytics.nn.modules.block."


@dataclass(frozen=True, eq=False)
class Made:
    """An object of class (or by function) `name`, called with `args`; then `state` is set on it."""

    name: str
    args: tuple[object, ...] = ()
    state: Mapping[str, object] | None = None

    def part(self, name: str) -> Any:
        """Returns child module or attribute `name`."""
        state: Any = self.state
        return state["_modules"][name] if name in state["_modules"] else state[name]

    def tensor(self, name: str) -> Array:
        """Returns parameter or buffer `name` as float64."""
        state: Any = self.state
        found: Array = {**state["_buffers"], **state["_parameters"]}[name].astype(np.float64)
        return found


@dataclass
class Writer:
    """Pickles values by protocol 2 and keeps the storages of the arrays in them."""

    storages: list[bytes] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    old: bool = False

    def pickle(self, value: object) -> bytes:
        """Returns one pickle."""
        return b"\x80\x02" + self.value(value) + b"."

    def value(self, value: object) -> bytes:
        """Returns the operations that leave `value` on the stack."""
        match value:
            case Made():
                return self._made(value)
            case np.ndarray():
                return self._tensor(value)
            case tuple():
                return b"(" + b"".join(map(self.value, value)) + b"t"
            case list():
                return b"](" + b"".join(map(self.value, value)) + b"e"
            case dict():
                return b"}(" + b"".join(self.value(k) + self.value(v) for k, v in value.items()) + b"u"
        return pickle.dumps(value, 2)[2:-1].replace(b"q\x00", b"")

    def _made(self, made: Made) -> bytes:
        module, _, name = made.name.rpartition(".")
        body = f"c{module}\n{name}\n".encode() + self.value(made.args) + b"R"
        return body if made.state is None else body + self.value(dict(made.state)) + b"b"

    def _tensor(self, array: Array) -> bytes:
        key = str(len(self.storages))
        self.storages.append(array.tobytes())
        self.counts.append(array.size)
        kind = Global("torch." + STORAGES[array.dtype.name])
        storage = (
            self.value(("storage",))[:-1]
            + kind.code()
            + self.value((key, "cpu", array.size, *[None] * self.old))[1:]
            + b"Q"
        )
        strides = tuple(step // array.itemsize for step in array.strides)
        rest = self.value((0, array.shape, strides, False, Made("collections.OrderedDict")))[1:]
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"R"


@dataclass(frozen=True)
class Global:
    """A bare dotted name."""

    name: str

    def code(self) -> bytes:
        """Returns the operation that pushes it."""
        module, _, name = self.name.rpartition(".")
        return f"c{module}\n{name}\n".encode()


def archive(data_pkl: bytes, storages: Sequence[bytes] = (), *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Returns a torch zip of this pickle and these storages."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        members = {"data.pkl": data_pkl, "byteorder": b"little", "version": b"3\n"}
        members |= {f"data/{key}": data for key, data in enumerate(storages)}
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo("net/" + name), data, compression)
    return out.getvalue()


def checkpoint(value: object) -> bytes:
    """Returns a whole torch checkpoint that holds `value`."""
    writer = Writer()
    data = writer.pickle(value)
    return archive(data, writer.storages)


def old_checkpoint(value: object, machine: object = None) -> bytes:
    """Returns a whole checkpoint that holds `value`, in the format of torch before 1.6."""
    writer = Writer(old=True)
    structure = writer.pickle(value)
    start = b"".join(writer.pickle(part) for part in (0x1950A86A20F9469CFC6C, 1001, machine or {"little_endian": True}))
    keys = writer.pickle([str(key) for key in range(len(writer.storages))])
    numbers = zip(writer.counts, writer.storages, strict=True)
    return start + structure + keys + b"".join(count.to_bytes(8, "little") + data for count, data in numbers)


def module(
    name: str,
    /,
    children: Mapping[str, object] | None = None,
    tensors: Mapping[str, object] | None = None,
    **attributes: object,
) -> Made:
    """Returns a module of class `name`."""
    held = dict(tensors or {})
    buffers = {key: held.pop(key) for key in list(held) if key.startswith("running_")}
    state = {"training": False, "_parameters": held, "_buffers": buffers, "_forward_hooks": {}}
    return Made(name, (), state | {"_modules": dict(children or {})} | attributes)


class Weights:
    """Makes modules with random weights of one dtype."""

    def __init__(self, seed: int, dtype: str = "float32") -> None:
        self._random = np.random.default_rng(seed)
        self._dtype = dtype

    def array(self, *shape: int, low: float = -0.5, high: float = 0.5) -> Array:
        """Returns uniform numbers."""
        return self._random.uniform(low, high, shape).astype(self._dtype)

    def conv2d(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, bias: bool = False
    ) -> Made:
        """Returns a torch Conv2d that keeps its size but for the stride."""
        bound = (inputs // groups * kernel**2) ** -0.5  # keeps the maps near one in size
        tensors = {"weight": self.array(outputs, inputs // groups, kernel, kernel, low=-bound, high=bound)}
        return module(
            "torch.nn.modules.conv.Conv2d",
            tensors={**tensors, "bias": self.array(outputs) if bias else None},
            in_channels=inputs,
            out_channels=outputs,
            kernel_size=(kernel, kernel),
            stride=(stride, stride),
            padding=(kernel // 2, kernel // 2),
            dilation=(1, 1),
            transposed=False,
            output_padding=(0, 0),
            groups=groups,
            padding_mode="zeros",
        )

    def conv(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, act: str = "SiLU"
    ) -> Made:
        """Returns an Ultralytics Conv: Conv2d, BatchNorm2d, activation."""
        where = "linear." if act == "Identity" else "activation."
        norm = {name: self.array(outputs) for name in ("bias", "running_mean")}
        norm |= {name: self.array(outputs, low=0.5, high=2) for name in ("weight", "running_var")}
        children = {
            "conv": self.conv2d(inputs, outputs, kernel, stride, groups=groups),
            "bn": module("torch.nn.modules.batchnorm.BatchNorm2d", tensors=norm, eps=1e-3, momentum=0.03),
            "act": module("torch.nn.modules." + where + act),
        }
        return module(CONV + "Conv", children)

    def bottleneck(self, channels: int, *, add: bool) -> Made:
        """Returns two convolutions with or without a shortcut."""
        children = {name: self.conv(channels, channels, 3) for name in ("cv1", "cv2")}
        return module(BLOCK + "Bottleneck", children, add=add)

    def c2f(self, inputs: int, outputs: int, links: int, *, add: bool) -> Made:
        """Returns a C2f of `links` bottlenecks."""
        half = outputs // 2
        chain = {str(i): self.bottleneck(half, add=add) for i in range(links)}
        children = {
            "cv1": self.conv(inputs, 2 * half),
            "cv2": self.conv((2 + links) * half, outputs),
            "m": module("torch.nn.modules.container.ModuleList", chain),
        }
        return module(BLOCK + "C2f", children, c=half)

    def c3(self, inputs: int, outputs: int) -> Made:
        """Returns a C3 of one bottleneck."""
        half = outputs // 2
        chain = module("torch.nn.modules.container.Sequential", {"0": self.bottleneck(half, add=True)})
        children = {"cv1": self.conv(inputs, half), "cv2": self.conv(inputs, half), "cv3": self.conv(2 * half, outputs)}
        return module(BLOCK + "C3", {**children, "m": chain})

    def sppf(self, inputs: int, outputs: int) -> Made:
        """Returns an SPPF with a pool of 5."""
        pool = module(
            "torch.nn.modules.pooling.MaxPool2d",
            kernel_size=5,
            stride=1,
            padding=2,
            dilation=1,
            return_indices=False,
            ceil_mode=False,
        )
        children = {"cv1": self.conv(inputs, inputs // 2), "cv2": self.conv(inputs // 2 * 4, outputs), "m": pool}
        return module(BLOCK + "SPPF", children)

    def detect(self, channels: Sequence[int], strides: Sequence[int], classes: int, source: Sequence[int]) -> Made:
        """Returns a Detect head on layers `source`."""

        def branches(outputs: int) -> Made:
            rows = {
                str(i): module(
                    "torch.nn.modules.container.Sequential",
                    {"0": self.conv(c, 8, 3), "1": self.conv2d(8, outputs, bias=True)},
                )
                for i, c in enumerate(channels)
            }
            return module("torch.nn.modules.container.ModuleList", rows)

        bins = self.conv2d(16, 1)
        weight = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)
        bins = Made(bins.name, (), {**(bins.state or {}), "_parameters": {"weight": weight}})
        return module(
            "ultralytics.nn.modules.head.Detect",
            {"cv2": branches(64), "cv3": branches(classes), "dfl": module(BLOCK + "DFL", {"conv": bins}, c1=16)},
            nc=classes,
            nl=len(channels),
            reg_max=16,
            no=64 + classes,
            stride=np.array(strides, np.float32),
            f=list(source),
        )


def upsample() -> Made:
    """Returns a torch Upsample that doubles its map."""
    return module("torch.nn.modules.upsampling.Upsample", name="Upsample", size=None, scale_factor=2.0, mode="nearest")


def concat(*source: int) -> Made:
    """Returns a Concat of layers `source`."""
    return module(CONV + "Concat", d=1, f=list(source))


def network(layers: Sequence[Made], labels: Sequence[str], name: str = "ultralytics.nn.tasks.DetectionModel") -> Made:
    """Returns the whole network; layers that do not say where they read from read from the one before."""
    rows: dict[str, object] = {}
    for index, layer in enumerate(layers):
        rows[str(index)] = Made(layer.name, (), {"f": -1, **(layer.state or {}), "i": index})
    inner = module("torch.nn.modules.container.Sequential", rows)
    return module(name, {"model": inner}, names=dict(enumerate(labels)), yaml={"nc": len(labels)})


def small_network(seed: int = 1, dtype: str = "float16") -> Made:
    """Returns a network of every kind of block and two levels, strides 4 and 8, three classes."""
    w = Weights(seed, dtype)
    layers = [
        w.conv(3, 8, 3, 2),
        w.conv(8, 16, 3, 2),
        w.c2f(16, 16, 2, add=True),
        w.conv(16, 16, 3, 2),
        w.sppf(16, 16),
        upsample(),
        concat(-1, 2),
        w.c2f(32, 8, 1, add=False),
        w.detect((8, 16), (4, 8), 3, (7, 4)),
    ]
    return network(layers, ("person", "dog", "car"))
