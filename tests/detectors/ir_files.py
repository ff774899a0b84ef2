"""Writes small OpenVINO networks by hand: the XML of their layers, and the numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from watchline.detectors.importer.ir import Ir
from watchline.detectors.importer.ir_network import translate

TYPES = {"float16": "f16", "float32": "f32", "int8": "i8", "uint8": "u8", "int32": "i32", "int64": "i64"}
X = np.random.default_rng(2).normal(size=(1, 3, 4, 6)).astype(np.float32)
F1 = np.ones(1, np.float32)
WINDOW = {"strides": "1,1", "dilations": "1,1", "pads_begin": "0,0", "pads_end": "0,0", "auto_pad": "explicit"}


def floats(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def ints(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


@dataclass
class Net:
    """A network under construction; `add` returns the number of the layer that it adds."""

    layers: list[str] = field(default_factory=list)
    edges: list[str] = field(default_factory=list)
    numbers: bytes = b""
    rt_info: str = ""
    version: str = "11"

    def add(
        self,
        kind: str,
        inputs: Sequence[int | tuple[int, int]] = (),
        shapes: Sequence[Sequence[int]] = (),
        data: Mapping[str, object] | None = None,
        *,
        version: str = "opset1",
        names: str = "",
        name: str = "",
    ) -> int:
        number = len(self.layers)
        attributes = " ".join(f"{key}={quoteattr(str(value))}" for key, value in (data or {}).items())
        ports = "".join(f'<port id="{i}"/>' for i in range(len(inputs)))
        dims = (f"<dim>{'</dim><dim>'.join(map(str, shape))}</dim>" if len(shape) else "" for shape in shapes)
        given = "".join(f'<port id="{len(inputs) + i}" names="{names}">{dim}</port>' for i, dim in enumerate(dims))
        self.layers.append(
            f'<layer id="{number}" name={quoteattr(name or f"{kind}-{number}")} type="{kind}" version="{version}">'
            f"<data {attributes}/><input>{ports}</input><output>{given}</output></layer>"
        )
        for i, source in enumerate(inputs):
            layer, port = source if isinstance(source, tuple) else (source, -1)
            port = self.outputs(layer)[0] if port < 0 else self.outputs(layer)[port]
            self.edges.append(f'<edge from-layer="{layer}" from-port="{port}" to-layer="{number}" to-port="{i}"/>')
        return number

    def outputs(self, layer: int) -> list[int]:
        """Returns the numbers of a layer's outputs."""
        text = self.layers[layer].partition("<output>")[2]
        return [int(part.partition('"')[0]) for part in text.split('<port id="')[1:]]

    def image(self, shape: Sequence[int] = (1, 3, 4, 6), kind: str = "f32") -> int:
        return self.add("Parameter", (), [shape], {"shape": ",".join(map(str, shape)), "element_type": kind})

    def const(self, array: NDArray[Any], **changes: object) -> int:
        data = {
            "element_type": TYPES[array.dtype.name],
            "shape": ",".join(map(str, array.shape)),
            "offset": len(self.numbers),
            "size": array.nbytes,
        }
        self.numbers += array.tobytes()
        return self.add("Const", (), [array.shape], data | changes)

    def result(self, source: int | tuple[int, int]) -> int:
        return self.add("Result", [source])

    def text(self) -> str:
        return (
            f'<?xml version="1.0"?><net name="tiny" version="{self.version}"><layers>{"".join(self.layers)}</layers>'
            f"<edges>{''.join(self.edges)}</edges><rt_info>{self.rt_info}</rt_info></net>"
        )

    def save(self, path: Path) -> Path:
        path.write_text(self.text())
        path.with_suffix(".bin").write_bytes(self.numbers)
        return path


def tiny() -> Net:
    """Returns a network of one 1x1 convolution that sums red, green and blue, doubled."""
    net = Net()
    image, weight = net.image(), net.const(np.full((1, 3, 1, 1), 2, np.float32))
    convolution = net.add("Convolution", [image, weight], [(1, 1, 4, 6)], WINDOW, names="sum")
    net.result(convolution)
    return net


def answers(model: bytes, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [np.asarray(answer) for answer in session.run(None, {"images": picture})]


def translated(path: Path) -> bytes:
    found = translate(Ir(path))
    model = found.graph.model(found.metadata)
    onnx.checker.check_model(model)
    return model
