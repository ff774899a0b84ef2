"""An OpenVINO network (.xml and .bin, "IR") as plain data: layers, what feeds them, and constants read when asked for.

Source: the OpenVINO documentation, "Intermediate Representation Format", "Operation Sets", and "Element Types".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.importer.archive import Limits
from watchline.detectors.importer.ir_xml import Element, XmlError, parse
from watchline.streams.errors import ModelError

_MAX_XML_BYTES: Final = 64 << 20  # a thousand layers take half of one
_MAX_YAML_BYTES: Final = 1 << 20
_MAX_NAME: Final = 200
_MAX_RANK: Final = 8
_MAX_SIDE: Final = 1 << 31
_VERSIONS: Final = ("10", "11")  # of the format: all of 2020 and later
_DTYPES: Final[Mapping[str, str]] = {
    "f16": "<f2",
    "f32": "<f4",
    "f64": "<f8",
    "i8": "|i1",
    "u8": "|u1",
    "i32": "<i4",
    "i64": "<i8",
    "boolean": "|b1",
}
_WEIGHTS: Final = ("f16", "f32", "f64", "bf16", "i8", "u8", "i4", "u4")  # element types of what is trained

# What Ultralytics writes beside its networks, as its ONNX files hold it.
_YAML_FIELDS: Final = ("task", "names", "stride", "kpt_shape", "license")


@dataclass(frozen=True, slots=True)
class Port:
    """One output of a layer.

    Attributes:
        shape: sizes; -1 where the file leaves one open.
        names: what its maker calls the value; may be empty.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether the file says all sizes."""
        return min(self.shape, default=0) >= 0


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation.

    Attributes:
        id: number in its file.
        name: as its maker calls it, cut to 200 characters.
        type: "Convolution", ...
        version: of its operation set, "opset1".
        attributes: of its <data>.
        sources: what it reads, input by input: a layer's id and the number of that layer's output.
        outputs: what it gives.
    """

    id: str
    name: str
    type: str
    version: str
    attributes: Mapping[str, str]
    sources: tuple[tuple[str, int], ...]
    outputs: tuple[Port, ...]


class Ir:
    """An open OpenVINO network. Nothing of it is run, and OpenVINO is not needed.

    Attributes:
        layers: by id, each after those that it reads from.
        metadata: what its maker says about it, "names", "task" and more, under the keys and in the forms of the ONNX
            files of Ultralytics.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        """Reads the structure of `path` and of what lies beside it: the weights and, where it is there, metadata.yaml.

        Raises:
            ModelError: not such a network, damaged, or larger than `limits`; or its weights are not there.
        """
        self._path = path
        self._limits = limits or Limits()
        self._weights_path = weights_beside(path)
        self._read_bytes = 0
        root = self._root()
        self.layers = self._ordered({layer.id: layer for layer in self._layers(root)})
        self.metadata = {**_model_info(root), **self._yaml()}
        try:
            self._weights_bytes = self._weights_path.stat().st_size
        except OSError as error:
            raise self.refusal(f"its weights {self._weights_path.name} are not beside it; copy both files") from error

    def refusal(self, reason: str) -> ModelError:
        """Returns the error that says why this network is refused."""
        return ModelError(f"{self._path.name}: {reason}")

    def of_type(self, kind: str) -> list[Layer]:
        """Returns the layers of this type, in the order of the file."""
        return [layer for layer in self.layers.values() if layer.type == kind]

    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Returns the name and shape of each output; those that have no name are output0, output1."""
        found: dict[str, tuple[int, ...]] = {}
        for index, result in enumerate(self.of_type("Result")):
            source, number = result.sources[0]
            port = self.layers[source].outputs[number]
            found[port.names[0] if port.names and port.names[0] not in found else f"output{index}"] = port.shape
        return found

    def parameters(self) -> int:
        """Returns how many numbers its constants hold, without those that only say shapes and places."""
        shapes = (layer for layer in self.of_type("Const") if layer.attributes.get("element_type") in _WEIGHTS)
        return sum(math.prod(layer.outputs[0].shape) for layer in shapes)

    def constant(self, layer: Layer) -> NDArray[Any]:
        """Returns the numbers of a Const layer, in their own type and shape.

        Raises:
            ModelError: they do not lie in the weights, or are of a type that is not read.
        """
        kind = layer.attributes.get("element_type", "")
        if kind not in _DTYPES:
            raise self.refusal(f"constant {layer.name} is of type {kind!a}; known are {', '.join(_DTYPES)}")
        dtype, shape = np.dtype(_DTYPES[kind]), layer.outputs[0].shape
        offset, size = (_number(layer.attributes.get(name, "")) for name in ("offset", "size"))
        if min((offset, size, *shape)) < 0 or size != math.prod(shape) * dtype.itemsize:
            raise self.refusal(f"constant {layer.name} of shape {shape} does not fit its {size:,} bytes")
        if offset + size > self._weights_bytes:
            raise self.refusal(f"constant {layer.name} lies beyond the end of {self._weights_path.name}; copy it again")
        # Many constants may name the same bytes: a small file would then fill the memory.
        self._read_bytes += size * 8 // dtype.itemsize
        if self._read_bytes > self._limits.tensor_bytes:
            raise self.refusal(f"its constants take more than {self._limits.tensor_bytes:,} bytes")
        try:
            with self._weights_path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise self.refusal(f"{self._weights_path.name}: {error.strerror}") from error
        if len(data) != size:
            raise self.refusal(f"{self._weights_path.name} ends within constant {layer.name}; copy it again")
        return np.frombuffer(data, dtype).reshape(shape)

    def _root(self) -> Element:
        try:
            if self._path.stat().st_size > _MAX_XML_BYTES:
                raise self.refusal(f"larger than {_MAX_XML_BYTES:,} bytes")
            root = parse(self._path.read_bytes())
        except OSError as error:
            raise self.refusal(f"{error.strerror}") from error
        except XmlError as error:
            raise self.refusal(f"not an OpenVINO network: {error}") from error
        if root.tag != "net" or not root.first("layers").children:
            raise self.refusal(f"not an OpenVINO network: its XML is a <{root.tag[:40]}>")
        if root.attributes.get("version") not in _VERSIONS:
            version = root.attributes.get("version", "")[:20]
            raise self.refusal(f"an OpenVINO network of version {version!a}; known are {' and '.join(_VERSIONS)}")
        return root

    def _layers(self, root: Element) -> list[Layer]:
        """Returns the layers as the file gives them, each once."""
        elements = list(root.first("layers").all("layer"))
        if len(elements) > self._limits.nodes:
            raise self.refusal(f"it has {len(elements):,} layers; at most {self._limits.nodes:,} are read")
        if len({element.attributes.get("id") for element in elements}) != len(elements):
            raise self.refusal("two of its layers have one id")
        ports = {element.attributes.get("id", ""): _numbers_of_ports(element) for element in elements}
        sources: dict[tuple[str, str], tuple[str, int]] = {}
        for edge in root.first("edges").all("edge"):
            start, port, end, into = (
                edge.attributes.get(name, "") for name in ("from-layer", "from-port", "to-layer", "to-port")
            )
            if start not in ports or port not in ports[start][1] or end not in ports or into not in ports[end][0]:
                raise self.refusal(f"an edge leads from {start[:20]!a} to {end[:20]!a}, which are not there")
            sources[end, into] = (start, ports[start][1].index(port))
        return [self._layer(element, ports[element.attributes.get("id", "")][0], sources) for element in elements]

    def _layer(self, element: Element, inputs: list[str], sources: Mapping[tuple[str, str], tuple[str, int]]) -> Layer:
        number, given = element.attributes.get("id", ""), element.attributes
        if not number.isdecimal() or len(number) > 20:
            raise self.refusal(f"a layer's id is {number[:40]!a}")
        name = "".join(c for c in given.get("name", "")[:_MAX_NAME] if c.isprintable())
        if any((number, port) not in sources for port in inputs):
            raise self.refusal(f"layer {name} has an input that nothing feeds")
        kind, outputs = given.get("type", "")[:_MAX_NAME], list(element.first("output").all("port"))
        if (kind == "Result" and len(inputs) != 1) or (kind in ("Parameter", "Const") and len(outputs) != 1):
            raise self.refusal(f"layer {name} ({kind}) has {len(inputs)} inputs and {len(outputs)} outputs")
        return Layer(
            number,
            name,
            kind,
            given.get("version", "")[:_MAX_NAME],
            element.first("data").attributes,
            tuple(sources[number, port] for port in inputs),
            tuple(self._port(port, name) for port in outputs),
        )

    def _port(self, element: Element, name: str) -> Port:
        shape = tuple(_number(dim.text.strip()) for dim in element.all("dim"))
        if len(shape) > _MAX_RANK or any(not -1 <= side < _MAX_SIDE for side in shape):
            raise self.refusal(f"layer {name} has an output of shape {shape[:_MAX_RANK]}")
        names = (part.strip()[:_MAX_NAME] for part in element.attributes.get("names", "").split(","))
        return Port(shape, tuple(part for part in names if part))

    def _ordered(self, layers: dict[str, Layer]) -> dict[str, Layer]:
        """Returns the layers, each after those that it reads from, else in the order of the file.

        Raises:
            ModelError: they read from each other in a circle.
        """
        done: dict[str, Layer] = {}
        for first in layers.values():
            stack, entered = [first], set[str]()
            while stack:
                layer = stack[-1]
                missing = [layers[source] for source, _ in layer.sources if source not in done]
                if layer.id in done or not missing:
                    done.setdefault(layer.id, layer)
                    stack.pop()
                elif layer.id in entered:
                    raise self.refusal(f"layer {layer.name} reads from itself in a circle")
                else:
                    entered.add(layer.id)
                    stack.extend(missing)
        return done

    def _yaml(self) -> dict[str, str]:
        """Returns what metadata.yaml beside the network says, {} where there is none."""
        path = self._path.with_name("metadata.yaml")
        if not path.is_file():
            return {}
        import yaml  # type: ignore[import-untyped]

        try:
            if path.stat().st_size > _MAX_YAML_BYTES:
                raise self.refusal(f"{path.name}: larger than {_MAX_YAML_BYTES:,} bytes")
            values = yaml.safe_load(path.read_bytes())
        except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise self.refusal(f"{path.name}: cannot be read: {' '.join(str(error).split())[:200]}") from error
        if not isinstance(values, dict):
            raise self.refusal(f"{path.name}: want names and values, such as task: detect")
        known = {name: values[name] for name in _YAML_FIELDS if values.get(name) is not None}
        for name, value in known.items():
            if not _is_flat(value):
                raise self.refusal(f"{path.name}: {name} is neither a value nor a list or table of values")
        return {name: str(value) for name, value in known.items()}


def weights_beside(path: Path) -> Path:
    """Returns where the weights of the OpenVINO network at `path` lie."""
    return path.with_suffix(".bin")


def _is_flat(value: object) -> bool:
    """Returns whether `value` is a text or number, or holds such alone: a few lines of YAML can nest without end."""
    parts: list[object] = [*value, *value.values()] if isinstance(value, dict) else [value]
    if isinstance(value, list):
        parts = value
    return all(isinstance(part, str | int | float) for part in parts)


def _numbers_of_ports(element: Element) -> tuple[list[str], list[str]]:
    """Returns the numbers that a layer's inputs and outputs have."""
    inputs, outputs = (
        [port.attributes.get("id", "") for port in element.first(side).all("port")] for side in ("input", "output")
    )
    return inputs, outputs


def _number(text: str) -> int:
    """Returns a whole number, or -2 where the text is none."""
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 20 else -2


def _model_info(root: Element) -> dict[str, str]:
    """Returns the class names that the network's own notes state, {} where they do not.

    They are separated by spaces, with an underscore for each space in a name.
    """
    labels = root.first("rt_info").first("model_info").first("labels").attributes.get("value", "")
    names = [label.replace("_", " ") for label in labels.split()]
    return {"names": repr(dict(enumerate(names)))} if names else {}
