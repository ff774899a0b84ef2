"""Networks that no program wrote: layers in circles, giant numbers, attributes and names of nonsense."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from random import Random
from typing import Any, Final

import numpy as np

from tests.detectors import checkpoints
from tests.detectors.checkpoints import Made, Weights, Writer, module
from tests.faults.model_mutations import Mutation

_OTHER: Final = "the change is one that such a module may show, or that its answer does not depend on"
_CONTAINER: Final = "torch.nn.modules.container.Sequential"


class Code(bytes):
    """Operations of a pickle, as they are."""


class _Writer(Writer):
    """Writes `Code` too, and keeps a `Kept` value in the memo."""

    def value(self, value: object) -> bytes:
        match value:
            case Code():
                return bytes(value)
            case _Kept():
                return super().value(value.made) + b"r" + struct.pack("<I", value.place)
        return super().value(value)


class _Kept:
    def __init__(self, made: object, place: int) -> None:
        self.made = made
        self.place = place


def _again(place: int) -> Code:
    return Code(b"j" + struct.pack("<I", place))


def saved(value: object) -> bytes:
    """Returns `value` as a checkpoint."""
    writer = _Writer()
    data = writer.pickle(value)
    return checkpoints.archive(data, writer.storages)


def _saved(network: object, random: Random) -> bytes:
    """Returns the network as a checkpoint of either format."""
    return checkpoints.old_checkpoint({"model": network}) if random.random() < 0.25 else saved({"model": network})


def _parts(made: Made) -> list[Made]:
    """Returns `made` and all modules in it."""
    children = made.state["_modules"].values() if made.state else ()  # type: ignore[attr-defined]
    return [made, *(part for child in children if isinstance(child, Made) for part in _parts(child))]


def _changed(change: Callable[[Made, Random], None]) -> Callable[[bytes, Random], bytes]:
    """Returns what saves a small network with `change` done to it."""

    def spoilt(data: bytes, random: Random) -> bytes:
        network = copy.deepcopy(checkpoints.small_network())
        change(network, random)
        return _saved(network, random)

    return spoilt


def _state(made: Made) -> dict[str, Any]:
    assert isinstance(made.state, dict)
    return made.state


def _layers(network: Made) -> dict[str, Any]:
    layers: dict[str, Any] = network.part("model").part("_modules")
    return layers


def _any(network: Made, random: Random) -> Made:
    return random.choice(_parts(network))


def _with_tensors(network: Made, random: Random) -> dict[str, Any]:
    tables = [_state(part)[name] for part in _parts(network) for name in ("_parameters", "_buffers")]
    return random.choice([table for table in tables if any(isinstance(t, np.ndarray) for t in table.values())])


_VALUES: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        2,
        1 << 20,
        1 << 40,
        1 << 70,
        1 << 5000,
        -(1 << 70),
        0.5,
        -0.0,
        1e300,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "\x1b[31m\n", "a" * 100_000, [], {}, (), [1 << 62] * 3, (1, 2), (-1, -1), [[[[]]]], {"a": {"b": {}}}),
    *(
        Made("os.system", ("true",)),
        Made("torch.Size", ((3, 3),)),
        np.zeros(3, np.float32),
        Code(b"N" + b"\x85" * 3000),
    ),
)
_NUMBERED: Final = (
    "nc",
    "nl",
    "no",
    "reg_max",
    "stride",
    "kernel_size",
    "padding",
    "dilation",
    "groups",
    "c",
    "c1",
    "d",
    "add",
)


def _any_attribute(network: Made, random: Random) -> None:
    state = _state(_any(network, random))
    state[random.choice(sorted(state))] = copy.deepcopy(random.choice(_VALUES))


def _numbered_attribute(network: Made, random: Random) -> None:
    held = [(_state(part), name) for part in _parts(network) for name in _NUMBERED if name in _state(part)]
    state, name = random.choice(held)
    state[name] = copy.deepcopy(random.choice(_VALUES))


def _new_attribute(network: Made, random: Random) -> None:
    name = random.choice(
        ("forward", "__class__", "__call__", "_forward_pre_hooks", "bias2", "\x1b[2J", "ü" * 99, "_slow_forward")
    )
    _state(_any(network, random))[name] = copy.deepcopy(random.choice(_VALUES))


def _hook(network: Made, random: Random) -> None:
    name = random.choice(("_forward_hooks", "_forward_pre_hooks"))
    _state(_any(network, random))[name] = {0: Made("os.system", ("true",))}


def _class(network: Made, random: Random) -> None:
    children = _state(random.choice([part for part in _parts(network) if _state(part)["_modules"]]))["_modules"]
    name = random.choice(sorted(key for key, child in children.items() if isinstance(child, Made)))
    names = sorted({part.name for part in _parts(network)})
    new = random.choice(
        (*names, "os.system", "torch.nn.modules.linear.Linear", "ultralytics.nn.tasks.DetectionModel", "\uff41.\uff42")
    )
    children[name] = Made(new, (), children[name].state)


def _swap_tensors(network: Made, random: Random) -> None:
    a, b = _with_tensors(network, random), _with_tensors(network, random)
    one, other = random.choice(sorted(a)), random.choice(sorted(b))
    a[one], b[other] = b[other], a[one]


def _shape(network: Made, random: Random) -> None:
    table = _with_tensors(network, random)
    name = random.choice(sorted(name for name, tensor in table.items() if tensor is not None))
    array = table[name]
    table[name] = random.choice((array[:0], array[:1], array.reshape(-1), array[None], np.concatenate([array, array])))


def _drop_tensor(network: Made, random: Random) -> None:
    table = _with_tensors(network, random)
    table[random.choice(sorted(table))] = random.choice((None, 3, "x", Made("os.system")))


def _source(*choices: Any) -> Callable[[Made, Random], None]:
    def change(network: Made, random: Random) -> None:
        layers = _layers(network)
        index = random.randrange(len(layers))
        value = random.choice(choices)
        _state(layers[str(index)])["f"] = value(index) if callable(value) else value

    return change


def _index(network: Made, random: Random) -> None:
    _state(random.choice(list(_layers(network).values())))["i"] = random.choice(
        (-1, 99, 1 << 70, None, "0", float("nan"))
    )


def _layer_order(network: Made, random: Random) -> None:
    layers = _layers(network)
    a, b = random.sample(sorted(layers), 2)
    layers[a], layers[b] = layers[b], layers[a]


def _drop_layer(network: Made, random: Random) -> None:
    layers = _layers(network)
    del layers[random.choice(sorted(layers))]


def _drop_child(network: Made, random: Random) -> None:
    children = _state(random.choice([part for part in _parts(network) if _state(part)["_modules"]]))["_modules"]
    children[random.choice(sorted(children))] = random.choice((None, 3, {}))


def _names(network: Made, random: Random) -> None:
    _state(network)["names"] = random.choice(
        (
            *({i: f"n{i}" for i in range(100_000)}, {0: "a" * 1_000_000, 1: "b", 2: "c"}, {0: b"a", 1: 2, 2: None}),
            *(
                ["\x1b[2J", "a\nb", "\u202e"],
                {0: "a", 1: "b"},
                {"0": "a", "1": "b", "2": "c"},
                {-1: "a", 0: "b", 1: "c"},
            ),
            *({0.0: "a", True: "b", 2: "c"}, "abc", None, [], {1 << 70: "a", 0: "b", 1: "c"}, ["a", ["b"], "c"]),
        )
    )


def _circle(data: bytes, random: Random) -> bytes:
    """A module that is a part of itself."""
    network = copy.deepcopy(checkpoints.small_network())
    where = random.choice((_layers(network), *(_state(part)["_modules"] for part in _parts(network))))
    inner = _state(module(_CONTAINER))
    state = b"}(" + b"".join(Writer().value(k) + Writer().value(v) for k, v in inner.items() if k != "_modules")
    state += Writer().value("_modules") + b"}(" + Writer().value("0") + _again(9) + b"uu"
    kept = Code(b"ctorch.nn.modules.container\nSequential\n)Rr\x09\x00\x00\x00" + state + b"b")
    where[random.choice(sorted(where) or ["0"])] = kept
    return saved({"model": network})


def _deep(data: bytes, random: Random) -> bytes:
    """Containers in containers."""
    inner: Made = module("torch.nn.modules.activation.SiLU")
    for _ in range(random.choice((13, 60))):
        inner = module(_CONTAINER, {"0": inner})
    network = checkpoints.small_network()
    _layers(network)["1"] = inner
    return _saved(network, Random(1))


def _fan(data: bytes, random: Random) -> bytes:
    """Containers that hold one another ten times each: ten to the tenth layers."""
    network = checkpoints.small_network()
    value: object = _Kept(module("torch.nn.modules.activation.SiLU"), 100)
    for level in range(101, 110):
        children = {str(i): value if i == 0 else _again(level - 1) for i in range(10)}
        value = _Kept(module(_CONTAINER, children), level)
    _layers(network)["1"] = value
    return saved({"model": network})


def _many(layer: Callable[[], object], count: int) -> Callable[[bytes, Random], bytes]:
    """Returns what saves a network of one layer, `count` times."""

    def spoilt(data: bytes, random: Random) -> bytes:
        first = _Kept(layer(), 100)
        rows = {str(i): first if i == 0 else _again(100) for i in range(count)}
        network = checkpoints.small_network()
        _layers(network)["1"] = module(_CONTAINER, rows)
        return saved({"model": network})

    return spoilt


def _sampling(data: bytes, random: Random) -> bytes:
    """Layers that each halve, or double, the map once more."""
    w = Weights(2)
    halve = random.random() < 0.5
    layers = [w.conv(3, 8, 3, 2), *([w.conv(8, 8, 3, 2)] * 40 if halve else [checkpoints.upsample()] * 40)]
    return _saved(checkpoints.network([*layers, w.detect((8, 8), (4, 8), 3, (0, 1))], ("a", "b", "c")), random)


def _window(data: bytes, random: Random) -> bytes:
    """A pool or convolution of giant reach that keeps the size."""
    network = checkpoints.small_network()
    side = random.choice((255, 65_535, (1 << 20) - 1))
    pool = network.part("model").part("4").part("m")
    if random.random() < 0.5:
        _state(pool).update(kernel_size=side, padding=side // 2)
    else:
        _state(pool).update(kernel_size=3, padding=side, dilation=side)
    return _saved(network, random)


def network_mutations() -> list[Mutation]:
    """Returns all ways to spoil the network in a checkpoint; each writes a small one, whatever file it is given."""
    changes: dict[str, Callable[[Made, Random], None]] = {
        "any attribute": _any_attribute,
        "a number of the layout": _numbered_attribute,
        "a new attribute": _new_attribute,
        "a hook": _hook,
        "another class": _class,
        "swapped tensors": _swap_tensors,
        "a tensor of another shape": _shape,
        "a tensor missing": _drop_tensor,
        "a layer that reads itself or later ones": _source(lambda i: i, lambda i: i + 1, 7, 99, 1 << 70),
        "sources of nonsense": _source(-99, "x", None, [], [[0]], [-1] * 2000, 0.0, True),
        "a layer of another number": _index,
        "layers swapped": _layer_order,
        "a layer missing": _drop_layer,
        "a part missing": _drop_child,
        "names of nonsense": _names,
    }
    silent = {
        "a hook": "a container that is never called itself never calls its hook, either",
        "a layer that reads itself or later ones": "",
    }
    mutations = [
        Mutation("network", name, _changed(change), silent.get(name, _OTHER)) for name, change in changes.items()
    ]
    silu = lambda: module("torch.nn.modules.activation.SiLU")  # noqa: E731
    return [
        *mutations,
        Mutation("network", "a module within itself", _circle),
        Mutation("network", "containers in containers", _deep),
        Mutation("network", "ten to the tenth layers", _fan),
        Mutation("network", "one layer thirty thousand times", _many(silu, 30_000)),
        Mutation(
            "network", "one convolution two thousand times", _many(lambda: Weights(1).conv(8, 8, 3), 2_000), _OTHER
        ),
        Mutation("network", "forty times half or double", _sampling),
        Mutation("network", "a window of giant reach", _window),
    ]
