"""ONNX models whose metadata lie: our own card, the exporter's words, and too many of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Final

import onnx
from onnx import helper

CARD: Final[Sequence[tuple[str, str]]] = (
    *(
        ("family", json.dumps("yolov7")),
        ("family", "[" * 100_000),
        ("family", "{"),
        ("family", "1" * 5000),
        ("family", '"\\u001b[2J"'),
    ),
    *(("task", '"pose"'), ("task", "null"), ("task", '"segment"'), ("task", '{"a": 1}')),
    *(
        ("labels", "[]"),
        ("labels", json.dumps(["a"] * 100_000)),
        ("labels", "[1, null, {}]"),
        ("labels", '["\\u001b[2J", "\\n"]'),
    ),
    *(
        ("labels", '"abc"'),
        ("labels", json.dumps([["a"] * 3] * 3)),
        ("strides", "[0]"),
        ("strides", "[1e308]"),
        ("strides", '["8"]'),
    ),
    *(
        ("strides", "[64, 64, 64]"),
        ("strides", "[0.001]"),
        ("strides", "[NaN]"),
        ("colour", '"\\ud800"'),
        ("scale", "1e-300"),
    ),
    *(
        ("scale", "NaN"),
        ("scale", "Infinity"),
        ("scale", '"255"'),
        ("scale", "[]"),
        ("shift", "1e300"),
        ("shift", "NaN"),
        ("pad", "1e9"),
    ),
    *(
        ("pad", "0.5"),
        ("pad", "true"),
        ("keypoints", "[1000000, 3]"),
        ("keypoints", "[-1, 3]"),
        ("keypoints", "[1.5, 2.5]"),
    ),
    *(
        ("keypoints", '["a", "b"]'),
        ("layout", '"raw"'),
        ("layout", '"finished"'),
        ("anchors", "[1e308]"),
        ("anchors", '["x"]'),
    ),
    *(
        ("outputs", '["nowhere"]'),
        ("outputs", "[1]"),
        ("outputs", '[["a"]]'),
        ("outputs", json.dumps(["output0"] * 5000)),
    ),
    *(("iou", "NaN"), ("iou", "-1"), ("iou", '"0.7"'), ("batched", "false"), ("batched", "[]"), ("placement", "7")),
    *(
        ("source_name", json.dumps("\x1b[2J" * 9)),
        ("source_sha256", "[]"),
        ("licence", json.dumps("a\nb")),
        ("licence", "[1]"),
    ),
)
EXPORTED: Final[Sequence[dict[str, str]]] = (
    {"task": "detect", "names": "{0: 'a', 1: 'b'}", "stride": "9" * 5000},
    {"task": "detect", "names": "(" * 5000},
    {"task": "detect", "names": "__import__('os').system('true')"},
    {"task": "detect", "names": "{0: 'a'}", "stride": "-1"},
    {"task": "detect", "names": "{" + ",".join(f"{i}: 'n'" for i in range(100_000)) + "}"},
    {"task": "pose", "names": "['face']", "kpt_shape": "[1e9, 3]"},
    {"task": "pose", "names": "['face']", "kpt_shape": "[5, 3]" + " " * 1_000_000},
    {"task": "\x1b[2J", "names": "['a']"},
    {"task": "segment", "names": "['a\\n', '\\x1b[2J']"},
    {"names": "-" * 100_000 + "1"},
    {"names": "'" + "a" * 1_000_000 + "'"},
    {"task": "detect", "names": "{0: 0, 1: [[]]}"},
)


def card(model: onnx.ModelProto, random: Random) -> None:
    key, value = random.choice(CARD)
    held = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    helper.set_model_props(model, {**held, f"watchline.{key}": value})


def exporter(model: onnx.ModelProto, random: Random) -> None:
    del model.metadata_props[:]
    helper.set_model_props(model, random.choice(EXPORTED))


def no_card(model: onnx.ModelProto, random: Random) -> None:
    del model.metadata_props[:]


def bomb(model: onnx.ModelProto, random: Random) -> None:
    size = random.choice((1_000_000, 30_000_000))
    entry = random.choice((("watchline.source_name", json.dumps("a" * size)), ("x", "y" * size)))
    model.metadata_props.append(onnx.StringStringEntryProto(key=entry[0], value=entry[1]))


def many(model: onnx.ModelProto, random: Random) -> None:
    for number in range(50_000):
        model.metadata_props.append(onnx.StringStringEntryProto(key=str(number), value="x"))


def texts(model: onnx.ModelProto, random: Random) -> None:
    text = random.choice(("\x1b[2J", "a" * 5_000_000, "\n" * 1000))
    model.producer_name = model.doc_string = model.graph.name = model.domain = text
