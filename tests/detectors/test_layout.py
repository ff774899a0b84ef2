from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.family_cards import Facts
from watchline.detectors.heads.registry import head_of
from watchline.detectors.layout import FAMILIES, decide
from watchline.streams.errors import ModelError, UsageError

NAMES = "{0: 'person', 1: 'bicycle'}"
LABELS = ("person", "bicycle")
CELLS = 8400  # of 640x640
YUNET = {
    f"{kind}_{stride}": (1, (640 // stride) ** 2, width)
    for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    for stride in (8, 16, 32)
}


def no_probe() -> Mapping[str, F32]:
    pytest.fail("this network need not be run")


def facts(
    *shapes: tuple[int, ...], metadata: dict[str, str] | None = None, answer: F32 | None = None, size: int = 640
) -> Facts:
    named = {f"output{i}": shape for i, shape in enumerate(shapes)}
    probe = no_probe if answer is None else lambda: {"output0": answer}
    return Facts(metadata or {}, named, (size, size), probe)


def exporter(task: str, names: str = NAMES, **more: str) -> dict[str, str]:
    return {"task": task, "names": names, "stride": "32"} | more


def free(xy: float, objectness: float, classes: int = 80) -> F32:
    """What YOLOX or YOLOv6 make of a grey picture."""
    answer = np.full((1, CELLS, 5 + classes), 0.01, np.float32)
    answer[..., :4], answer[..., 4] = xy, objectness
    return answer


def four_outputs(metadata: dict[str, str]) -> Facts:
    """What YOLOv6 and YOLOv7 export to suppress by themselves."""
    shapes = {"num_dets": (1, 1), "det_boxes": (1, 100, 4), "det_scores": (1, 100), "det_classes": (1, 100)}
    return Facts(metadata, shapes, (640, 640), no_probe)


class TestWhatTheExporterSays:
    @pytest.mark.parametrize(
        ("metadata", "shapes", "kind"),
        [
            (exporter("detect"), [(1, 6, CELLS)], ("yolov8", "detect", "decoded")),
            (exporter("detect"), [(1, 66, 80, 80), (1, 66, 40, 40), (1, 66, 20, 20)], ("yolov8", "detect", "raw")),
            (exporter("detect", end2end="True"), [(1, 300, 6)], ("yolov8", "detect", "finished")),
            (exporter("segment"), [(1, 38, CELLS), (1, 32, 160, 160)], ("yolov8", "segment", "decoded")),
            (exporter("segment"), [(1, 300, 38), (1, 32, 160, 160)], ("yolov8", "segment", "finished")),
            (exporter("pose", "{0: 'person'}", kpt_shape="[17, 3]"), [(1, 56, CELLS)], ("yolov8", "pose", "decoded")),
            (exporter("pose", "{0: 'person'}", kpt_shape="[17, 3]"), [(1, 300, 57)], ("yolov8", "pose", "finished")),
            (exporter("pose", "{0: 'face'}", kpt_shape="[5, 3]"), [(1, 20, CELLS)], ("yolov8", "face", "decoded")),
            (exporter("pose", "{0: 'plate'}", kpt_shape="[5, 3]"), [(1, 20, CELLS)], ("yolov8", "pose", "decoded")),
            ({"names": NAMES, "stride": "32"}, [(1, 3 * CELLS, 7)], ("yolov5", "detect", "decoded")),
        ],
    )
    def test_is_what_it_is(
        self, metadata: dict[str, str], shapes: list[tuple[int, ...]], kind: tuple[str, str, str]
    ) -> None:
        card = decide(facts(*shapes, metadata=metadata))
        assert (card.family, card.task, card.layout) == kind
        assert (card.colour, card.scale, card.pad, card.placement) == ("rgb", 255.0, 114, "centre")
        assert len(card.outputs) == (3 if card.layout == "raw" else 2 if card.task == "segment" else 1)
        head_of(card)

    def test_class_names_are_kept_and_the_licence_too(self) -> None:
        card = decide(facts((1, 6, CELLS), metadata=exporter("detect", license="MIT")))
        assert (card.labels, card.licence) == (("person", "bicycle"), "MIT")

    def test_the_stride_is_its_own(self) -> None:
        assert max(decide(facts((1, 6, 100), metadata=exporter("detect") | {"stride": "64"})).strides) == 64

    def test_raw_levels_are_put_in_order_whatever_their_names_are(self) -> None:
        levels = [(1, 66, 20, 20), (1, 66, 80, 80), (1, 66, 40, 40)]
        card = decide(facts(*levels, metadata=exporter("detect")))
        assert card.outputs == ("output1", "output2", "output0")

    def test_a_number_is_no_name_of_a_class(self) -> None:
        metadata = exporter("pose", '["0"]', kpt_shape="[17, 3]")
        assert decide(facts((1, 56, CELLS), metadata=metadata)).labels == ("person",)

    @pytest.mark.parametrize(
        ("metadata", "says"),
        [
            (exporter("classify"), "a model for the task 'classify'; this version runs detect, pose and segment"),
            (exporter("detect", "__import__('os')"), "metadata is damaged"),
            (exporter("detect", "{}"), "metadata is damaged"),
            (exporter("detect", "{1: 'a'}"), "metadata is damaged"),
            (exporter("detect", "7"), "metadata is damaged"),
            (exporter("detect") | {"stride": "many"}, "metadata is damaged"),
            (exporter("detect") | {"stride": "1"}, "metadata is damaged"),
            (exporter("pose"), "metadata is damaged"),
            (exporter("pose", kpt_shape="[17, 9]"), "metadata is damaged"),
            (
                exporter("detect", "{0: 'a', 1: 'b', 2: 'c'}"),
                r"output0 \(1, 6, 8400\) are not those of a YOLOv8 detect",
            ),
            (exporter("segment"), "a segmenting model without prototypes"),
        ],
    )
    def test_nonsense_is_refused(self, metadata: dict[str, str], says: str) -> None:
        with pytest.raises(ModelError, match=says):
            decide(facts((1, 6, CELLS), metadata=metadata))


class TestWhatOurOwnCardSays:
    card = ModelCard("yolov7", "detect", ("a",), (8, 16, 32), layout="raw", anchors=(1.0,) * 18)

    def test_comes_first_and_nothing_is_run(self) -> None:
        metadata = self.card.to_metadata() | exporter("pose")
        found = decide(facts((1, 18, 20, 20), (1, 18, 80, 80), (1, 18, 40, 40), metadata=metadata))
        assert (found.family, found.task, found.outputs) == ("yolov7", "detect", ("output1", "output2", "output0"))

    def test_outputs_that_it_names_are_taken_as_named(self) -> None:
        card = ModelCard("yolov8", "detect", ("a",), (8,), outputs=("second",))
        assert decide(facts((1, 5, 9), metadata=card.to_metadata())) == card

    def test_the_user_may_repeat_it_but_not_contradict_it(self) -> None:
        shapes = facts((1, 18, 80, 80), (1, 18, 40, 40), (1, 18, 20, 20), metadata=self.card.to_metadata())
        assert decide(shapes, "yolov7").family == "yolov7"
        with pytest.raises(UsageError, match="--family yolox: the file says that it is a yolov7 detect model"):
            decide(shapes, "yolox")


class TestWhatTheOutputsShow:
    def test_yolov8(self) -> None:
        card = decide(facts((1, 84, CELLS)))
        assert (card.family, card.layout, len(card.labels), card.labels[:2]) == (
            "yolov8", "decoded", 80, ("person", "bicycle"),
        )  # fmt: skip

    def test_classes_that_nobody_names_are_numbered(self) -> None:
        assert decide(facts((1, 7, CELLS))).labels == ("class0", "class1", "class2")

    def test_yolov8_with_masks(self) -> None:
        card = decide(facts((1, 116, CELLS), (1, 32, 160, 160)))
        assert (card.task, len(card.labels), card.outputs) == ("segment", 80, ("output0", "output1"))

    def test_yolov7_decoded_and_its_larger_kind(self) -> None:
        card = decide(facts((1, 3 * CELLS, 85), (1, 3, 80, 80, 85)))
        assert (card.family, card.layout, card.strides, card.outputs) == (
            "yolov7", "decoded", (8, 16, 32), ("output0",),
        )  # fmt: skip
        assert decide(facts((1, 3 * (CELLS + 100), 85))).strides == (8, 16, 32, 64)

    def test_yolox_by_its_raw_boxes(self) -> None:
        card = decide(facts((1, CELLS, 85), answer=free(xy=0.7, objectness=0.02)))
        assert (card.family, card.layout, card.colour, card.scale, card.placement) == (
            "yolox", "raw", "bgr", 1.0, "corner",
        )  # fmt: skip

    def test_yolov6_by_its_constant_objectness(self) -> None:
        card = decide(facts((1, CELLS, 85), answer=free(xy=400, objectness=1)))
        assert (card.family, card.layout, card.colour, card.scale) == ("yolov6", "decoded", "rgb", 255.0)

    def test_yolov6_face_by_its_one_behind_the_landmarks(self) -> None:
        answer = np.full((1, CELLS, 16), 300, np.float32)
        answer[..., 14], answer[..., 15] = 1, 0.01
        for family in ("", "yolov6-face"):
            card = decide(facts((1, CELLS, 16), answer=answer), family)
            assert (card.family, card.task, card.layout, card.labels) == ("yolov6", "face", "decoded", ("face",))
            assert (card.keypoints, card.strides, card.iou, card.pad) == ((5, 2), (8, 16, 32), 0.45, 114)

    def test_light_yolov6_has_a_fourth_level(self) -> None:
        answer = np.ones((1, CELLS + 100, 85), np.float32)
        assert decide(facts((1, CELLS + 100, 85), answer=answer)).strides == (8, 16, 32, 64)

    @pytest.mark.parametrize("batched", [True, False])
    @pytest.mark.parametrize("marks", [True, False])
    def test_scrfd_in_any_order_and_with_or_without_a_batch(self, batched: bool, marks: bool) -> None:
        widths = (1, 4, 10) if marks else (1, 4)
        shapes = [(n, width) for n in (800, 12800, 3200) for width in widths]
        card = decide(facts(*[(1, *shape) if batched else shape for shape in shapes]))
        assert (card.family, card.task, card.batched) == ("scrfd", "face" if marks else "detect", batched)
        assert [shapes[int(name[6:])] for name in card.outputs] == [(n, w) for w in widths for n in (12800, 3200, 800)]
        assert (card.colour, card.shift, card.scale, card.pad) == ("rgb", 127.5, 128.0, 0)

    def test_yunet_by_its_names(self) -> None:
        card = decide(Facts({}, dict(reversed(YUNET.items())), (640, 640), no_probe))
        assert (card.family, card.task, card.outputs[0], card.outputs[-1]) == ("yunet", "face", "cls_8", "kps_32")

    def test_yolov7_finished_needs_names_of_classes(self) -> None:
        card = decide(facts((-1, 7), metadata={"names": NAMES}))
        assert (card.family, card.layout, card.batched) == ("yolov7", "finished", False)
        with pytest.raises(ModelError, match="does not say how many classes"):
            decide(facts((-1, 7)))

    @pytest.mark.parametrize("family", ["yolov6", "yolov7"])
    def test_four_finished_outputs_with_names_of_classes(self, family: str) -> None:
        card = decide(four_outputs({"names": NAMES}), family)
        assert (card.family, card.task, card.layout, card.labels) == (family, "detect", "finished", LABELS)
        assert (card.outputs, card.batched) == (("num_dets", "det_boxes", "det_scores", "det_classes"), False)
        head_of(card)


class TestWhatCannotBeToldApart:
    @pytest.mark.parametrize(
        ("shapes", "options"),
        [
            ([(1, 56, CELLS)], ("yolov8", "yolov8-pose")),
            ([(1, 20, CELLS)], ("yolov8", "yolov8-face")),
            ([(1, 3 * CELLS, 57)], ("yolov7", "yolov7-pose")),
            ([(1, 3 * CELLS, 21)], ("yolov7", "yolov7-face")),
            ([(1, 80, 80, 80), (1, 80, 40, 40), (1, 80, 20, 20)], ("yolov8", "yolov8-face")),
        ],
    )
    def test_is_refused_with_what_settles_it(self, shapes: list[tuple[int, ...]], options: tuple[str, str]) -> None:
        with pytest.raises(ModelError, match=f"say.* {options[0]}.*{options[1]}"):
            decide(facts(*shapes))
        first, second = (decide(facts(*shapes), option) for option in options)
        assert (first.task, second.task) == ("detect", options[1].partition("-")[2])
        assert len(second.labels) == 1
        head_of(first)
        head_of(second)

    def test_a_decoded_yolox_is_not_guessed(self) -> None:
        network = facts((1, CELLS, 85), answer=free(xy=400, objectness=0.02))
        with pytest.raises(ModelError, match="--family yolox or --family yolov6"):
            decide(network)
        assert decide(network, "yolox").layout == "decoded"
        assert decide(network, "yolov6").colour == "rgb"

    def test_raw_anchors_are_in_no_file_but_ours(self) -> None:
        shapes = [(1, 255, 80, 80), (1, 255, 40, 40), (1, 255, 20, 20)]
        with pytest.raises(ModelError, match="import its checkpoint"):
            decide(facts(*shapes))
        with pytest.raises(ModelError, match="their anchors are not in the file; import its checkpoint"):
            decide(facts(*shapes), "yolov7")

    @pytest.mark.parametrize("shape", [(1, 1, 200, 6), (1, 300, 84), (1,), (), (1, 4, 4, 4, 4)])
    def test_another_kind_of_network_is_refused_with_its_outputs(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ModelError, match="does not say what it is, and its outputs output0"):
            decide(facts(shape))

    def test_a_network_that_compares_pictures_is_told_from_one_that_finds_something(self) -> None:
        with pytest.raises(ModelError, match="it compares pictures, and finds nothing in them"):
            decide(facts((1, 512)))

    @pytest.mark.parametrize("family", ["", "yolov8", "yolov6-face", "yolox", "yunet"])
    def test_four_finished_outputs_of_a_family_that_nobody_knows_are_refused(self, family: str) -> None:
        with pytest.raises(ModelError, match=r"suppresses by itself .*say --family yolov6 or --family yolov7"):
            decide(four_outputs({"names": NAMES}), family)

    def test_four_finished_outputs_do_not_show_how_many_classes_there_are(self) -> None:
        with pytest.raises(ModelError, match=r"a finished YOLOv6 network .* does not say how many classes"):
            decide(four_outputs({}), "yolov6")

    def test_finished_outputs_must_be_four(self) -> None:
        network = Facts({"names": NAMES}, {"num_dets": (1, 1), "det_boxes": (1, 100, 4)}, (640, 640), no_probe)
        with pytest.raises(ModelError, match="would be num_dets, det_boxes, det_scores, det_classes"):
            decide(network, "yolov6")

    def test_a_network_without_the_one_is_no_yolov6_face(self) -> None:
        with pytest.raises(ModelError, match="outputs would be box, landmarks, a one and classes"):
            decide(facts((1, CELLS, 85), answer=free(xy=400, objectness=1)), "yolov6-face")

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("shape", [(1, 512), (1, 4, 4), (1, 0, 85), (1, 777, 85), (1, 2, 3, 4), (1,), ()])
    def test_a_family_that_it_cannot_be_is_refused(self, family: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(ModelError):
            decide(facts(shape, answer=np.zeros(shape, np.float32)), family)

    def test_an_unknown_family_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(UsageError, match="--family yolo: want one of yolov5, yolov6"):
            decide(facts((1, 84, CELLS)), "yolo")


def test_each_family_suppresses_as_its_own_programs_do() -> None:
    assert decide(facts((1, 84, CELLS))).iou == 0.7
    assert decide(facts((1, 3 * CELLS, 85))).iou == 0.45
    assert decide(facts((1, CELLS, 85), answer=free(xy=0.7, objectness=0.02))).iou == 0.45
    assert decide(Facts({}, YUNET, (640, 640), no_probe)).iou == 0.3
