"""Imports an OpenVINO network: from its two files to ONNX, and what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from watchline.detectors.card import ModelCard
from watchline.detectors.family_cards import Facts
from watchline.detectors.importer.ir import Ir
from watchline.detectors.importer.ir_network import input_size, translate
from watchline.detectors.importer.selfcheck import check_shapes
from watchline.detectors.layout import decide
from watchline.streams.errors import ModelError


def onnx_of(path: Path, sha256: str, size: tuple[int, int] | None) -> bytes:
    """Returns the OpenVINO network at `path` as float ONNX, serialised.

    It holds a card where the maker of the network says what it is for. Where it does not, what it says goes along, and
    the rest is decided when the network is run.

    Args:
        path: its .xml.
        sha256: of the network.
        size: height and width in pixels that its input must have, None for whatever it has.

    Raises:
        ModelError: it cannot be read, or an operation in it is not known, or its answers make no sense.
    """
    ir = Ir(path)
    translated = translate(ir)
    found = input_size(ir)
    if size not in (None, found):
        raise ir.refusal(f"an OpenVINO network keeps its size, which is {found[0]}x{found[1]}; leave --imgsz out")
    metadata = dict(translated.metadata)
    try:
        grey = check_shapes(translated.graph.model(metadata), translated.outputs, found)
        if "task" in metadata:
            card = decide(Facts(metadata, translated.outputs, found, lambda: grey))
            metadata |= replace(card, source_sha256=sha256, source_name=path.name).to_metadata()
    except ModelError as error:
        raise ir.refusal(str(error)) from error
    return translated.graph.model(metadata)


def card_of(ir: Ir) -> ModelCard:
    """Returns what an OpenVINO network is, without running it.

    Raises:
        ModelError: it cannot be told from what its maker says and from the shapes of its outputs.
    """

    def probe() -> dict[str, object]:
        raise ir.refusal("its outputs alone do not tell what it is; say --family NAME")

    return decide(Facts(ir.metadata, ir.outputs(), input_size(ir), probe))  # type: ignore[arg-type]  # it never returns
