"""Manifests: what may be said of a model file, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchline.detectors.boxes import F32
from watchline.detectors.family_cards import Facts
from watchline.detectors.layout import FAMILIES
from watchline.detectors.manifest import Manifest, card_of
from watchline.streams.errors import ModelError, UsageError

WHOLE = """
family = "yolov7"
task = "pose"
layout = "raw"
classes = ["plate", "Auto \\"A\\" \\\\ é"]
colour = "bgr"
scale = 1
shift = 0.5
pad = 0
placement = "corner"
keypoints = [4, 3]
anchors = [[4,5, 6,8, 10,12], [15,19, 23,30, 39,52], [72,97, 123,164, 209,297]]
iou = 0.5
open_size = true
licence = "MIT"
sha256 = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
"""
ANCHORS = tuple(float(n) for n in range(1, 19))


def facts(shapes: Mapping[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Facts:
    def probe() -> dict[str, F32]:
        return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    return Facts(metadata or {}, shapes, (64, 96), probe)


def test_every_key_is_read() -> None:
    said = Manifest.parse(WHOLE)
    assert said.classes == ("plate", 'Auto "A" \\ é')
    assert (said.scale, said.shift, said.pad, said.keypoints, len(said.anchors)) == (1, 0.5, 0, (4, 3), 18)
    assert said.open_size


def test_what_is_written_reads_back_the_same() -> None:
    said = Manifest.parse(WHOLE)
    assert Manifest.parse(said.to_toml()) == said


texts = st.text(min_size=1, max_size=40).filter(str.isprintable)


@given(st.lists(texts, min_size=1, max_size=5), st.integers(0, 255), st.floats(0, 1), texts)
def test_whatever_may_be_said_reads_back_the_same(classes: list[str], pad: int, iou: float, licence: str) -> None:
    said = Manifest(classes=tuple(classes), pad=pad, iou=iou, licence=licence)
    assert Manifest.parse(said.to_toml()) == said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("family = ", "not TOML"),
        ('famly = "yolox"', "unknown key 'famly'; did you mean 'family'"),
        ('zzz = "yolox"', "unknown key 'zzz'; it may hold family, task"),
        ("family = 8", "family = '8': want a text"),
        ('colour = "grb"', "colour = 'grb': want one of rgb, bgr"),
        ("colour = true", "want one of rgb, bgr"),
        ("scale = 0", "scale = '0': want a number from 1e-06"),
        ("scale = nan", "scale = 'nan'"),
        ("pad = 3.5", "pad = '3.5': want a number from 0 to 255"),
        ("pad = true", "pad = 'True'"),
        ("iou = 2", "iou = '2': want a number from 0 to 1"),
        ('classes = "plate"', 'classes = \'plate\': want a list of names, such as ["plate", "car"]'),
        ("classes = []", "want a list of names"),
        ('classes = ["a\\u0007"]', "want a list of names"),
        ("keypoints = [17, 4]", "want points an object"),
        ("keypoints = 17", "want points an object"),
        ("anchors = [[4, -5]]", "want widths and heights"),
        ("open_size = 1", "want true or false"),
        ('sha256 = "abc"', "want 64 lower-case hex digits"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_key_and_what_it_wants(text: str, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        Manifest.parse(text)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.toml: No such file"):
        Manifest.read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match=r"binary\.toml: 'utf-8'"):
        Manifest.read(tmp_path / "binary.toml")


@pytest.mark.parametrize("family", FAMILIES)
def test_family_and_task_are_one_with_the_option(family: str) -> None:
    base, _, task = family.partition("-")
    assert Manifest(family).wanted == family
    assert Manifest(base, task).wanted == family


@pytest.mark.parametrize("shape", [(1, 21, 8, 12), (1, 3, 8, 12, 7)])
def test_anchors_make_a_raw_head_readable(shape: tuple[int, ...]) -> None:
    shapes = {"c": (*shape[:-2], 2, 3), "a": shape, "b": (*shape[:-2], 4, 6)}
    if len(shape) == 5:
        shapes = {"c": (1, 3, 2, 3, 7), "a": shape, "b": (1, 3, 4, 6, 7)}
    with pytest.raises(ModelError, match="say `anchors`"):
        card_of(facts(shapes), Manifest("yolov5"))
    card = card_of(facts(shapes), Manifest("yolov5", anchors=ANCHORS, classes=("a", "b")))
    assert (card.layout, card.outputs, card.strides) == ("raw", ("a", "b", "c"), (8, 16, 32))
    assert (card.anchors, card.labels) == (ANCHORS, ("a", "b"))


def test_raw_outputs_that_do_not_fit_their_anchors_are_refused() -> None:
    shapes = {"a": (1, 20, 8, 12), "b": (1, 20, 4, 6), "c": (1, 20, 2, 3)}
    with pytest.raises(ModelError, match="a yolov7 model's outputs would be"):
        card_of(facts(shapes), Manifest("yolov7", anchors=ANCHORS))


def test_class_names_make_a_finished_network_readable() -> None:
    shapes = {"output": (5, 7)}
    with pytest.raises(ModelError, match="does not say how many classes"):
        card_of(facts(shapes), Manifest("yolov7"))
    card = card_of(facts(shapes), Manifest("yolov7", classes=("a", "b")))
    assert (card.layout, card.labels) == ("finished", ("a", "b"))


def test_keypoints_are_as_said() -> None:
    cells = 8 * 12 + 4 * 6 + 2 * 3
    card = card_of(
        facts({"o": (1, 4 + 1 + 12, cells)}), Manifest("yolov8", "pose", keypoints=(4, 3), classes=("plate",))
    )
    assert (card.task, card.keypoints, card.labels) == ("pose", (4, 3), ("plate",))


def test_feeding_is_as_said_and_the_rest_as_the_family_has_it() -> None:
    cells = 8 * 12 + 4 * 6 + 2 * 3
    card = card_of(facts({"o": (1, cells, 7)}), Manifest("yolox", colour="rgb", scale=255.0, pad=0, iou=0.6))
    assert (card.colour, card.scale, card.pad, card.iou, card.placement) == ("rgb", 255.0, 0, 0.6, "corner")


def test_what_contradicts_the_file_is_refused() -> None:
    cells = 8 * 12 + 4 * 6 + 2 * 3
    shapes = {"o": (1, cells, 7)}
    with pytest.raises(UsageError, match="layout 'finished': the file shows 'raw'"):
        card_of(facts(shapes), Manifest("yolox", layout="finished"))
    with pytest.raises(UsageError, match="the file names its own; leave them out"):
        card_of(facts(shapes, {"names": "['a', 'b']"}), Manifest("yolox", classes=("b", "c")))
    with pytest.raises(UsageError, match="--family yolo3: want one of"):
        card_of(facts(shapes), Manifest("yolo3"))
