"""Every head against its published formula, written once more in plain loops over one cell at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from watchline.detectors.boxes import F32
from watchline.detectors.candidates import Candidates, MaskCandidates, PointCandidates
from watchline.detectors.card import ModelCard
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.registry import HEADS, head_of
from watchline.streams.errors import ModelError

SIZE = (64, 96)
STRIDES = (8, 16, 32)
CELLS = [(stride, row, column) for stride in STRIDES for row in range(64 // stride) for column in range(96 // stride)]
LEAST = 0.3


def read(card: ModelCard, *outputs: F32, least: float = LEAST, size: tuple[int, int] = SIZE) -> Candidates:
    return head_of(card)(Answer(outputs, card, size), least)


def points_of(found: Candidates) -> F32:
    assert isinstance(found, PointCandidates)
    return found.points


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def noise(seed: int, *shape: int, low: float = -3, high: float = 2) -> F32:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def levels(rows: F32) -> list[F32]:
    """(cells, channels) as one (channels, h, w) a level."""
    maps, first = [], 0
    for stride in STRIDES:
        height, width = SIZE[0] // stride, SIZE[1] // stride
        maps.append(rows[first : first + height * width].T.reshape(-1, height, width).copy())
        first += height * width
    return maps


def expect_same(found: Candidates, boxes: list[list[float]], scores: list[float], classes: list[int]) -> None:
    assert len(found) == len(boxes) > 3
    assert np.allclose(found.xyxy, boxes, rtol=1e-4, atol=1e-3)
    assert np.allclose(found.score, scores, atol=1e-6)
    assert found.class_id.tolist() == classes
    assert [str(a.dtype) for a in (found.xyxy, found.score, found.class_id)] == ["float32", "float32", "int32"]


class TestYolov8:
    face = ModelCard("yolov8", "face", ("face",), STRIDES, layout="raw", keypoints=(5, 3))

    def test_raw_faces(self) -> None:
        rows = noise(1, len(CELLS), 64 + 1 + 15)
        boxes, scores, marks = [], [], []
        for cell, (stride, y, x) in zip(rows.astype(float), CELLS, strict=True):
            if logistic(cell[64]) < LEAST:
                continue
            sides = []
            for side in range(4):
                weights = [math.exp(v) for v in cell[16 * side : 16 * side + 16]]
                sides.append(sum(k * w for k, w in enumerate(weights)) / sum(weights))
            boxes.append(
                [(x + 0.5 - sides[0]) * stride, (y + 0.5 - sides[1]) * stride,
                 (x + 0.5 + sides[2]) * stride, (y + 0.5 + sides[3]) * stride]
            )  # fmt: skip
            scores.append(logistic(cell[64]))
            marks.append(
                [[(a * 2 + x) * stride, (b * 2 + y) * stride, logistic(c)] for a, b, c in cell[65:].reshape(5, 3)]
            )
        found = read(self.face, *levels(rows))
        expect_same(found, boxes, scores, [0] * len(boxes))
        assert np.allclose(points_of(found), marks, rtol=1e-4, atol=1e-3)

    def test_raw_equals_decoded(self) -> None:
        card = ModelCard("yolov8", "pose", ("a", "b"), STRIDES, keypoints=(3, 3))
        rows = noise(2, len(CELLS), 64 + 2 + 9)
        everything = read(replace(card, layout="raw"), *levels(rows), least=0.0)
        assert len(everything) == len(CELLS)
        low, high = everything.xyxy[:, :2], everything.xyxy[:, 2:]
        scores = 1 / (1 + np.exp(-rows[:, 64:66]))
        decoded = np.concatenate(
            [(low + high) / 2, high - low, scores, points_of(everything).reshape(len(CELLS), 9)], axis=1
        ).T.astype(np.float32)
        ours, theirs = read(replace(card, layout="raw"), *levels(rows)), read(card, decoded)
        expect_same(ours, theirs.xyxy.tolist(), theirs.score.tolist(), theirs.class_id.tolist())
        assert np.allclose(points_of(ours), points_of(theirs), atol=1e-4)

    def test_a_score_equal_to_the_least_is_kept_in_raw_outputs_too(self) -> None:
        rows = np.zeros((len(CELLS), 80), np.float32)  # the logistic of 0 is 0.5
        assert len(read(self.face, *levels(rows), least=0.5)) == len(CELLS)
        assert len(read(self.face, *levels(rows), least=0.500001)) == 0

    def test_points_without_a_score_of_their_own_have_their_boxs(self) -> None:
        card = ModelCard("yolov8", "pose", ("a",), STRIDES, keypoints=(2, 2))
        output = np.array([[10, 10, 4, 4, 0.75, 1, 2, 3, 4]], np.float32).T
        assert points_of(read(card, output)).tolist() == [[[1, 2, 0.75], [3, 4, 0.75]]]

    def test_masks_come_with_their_own_coefficients(self) -> None:
        card = ModelCard("yolov8", "segment", ("a", "b"), STRIDES)
        output = np.array([[8, 8, 4, 4, 0.1, 0.2, 5, 6], [9, 9, 4, 4, 0.1, 0.8, 7, 8]], np.float32).T
        found = read(card, output, np.zeros((2, 16, 24), np.float32))
        assert isinstance(found, MaskCandidates)
        assert found.class_id.tolist() == [1]
        assert found.coefficients.tolist() == [[7, 8]]


class TestAnchored:
    anchors = tuple(float(n) for n in range(10, 28))
    card = ModelCard("yolov7", "face", ("a", "b"), STRIDES, layout="raw", keypoints=(5, 3), anchors=anchors)

    def rows(self, seed: int = 3) -> F32:
        return noise(seed, len(CELLS), 3, 5 + 2 + 15, high=3)

    def formula(self, rows: F32) -> tuple[list[list[float]], list[float], list[int], list[list[list[float]]]]:
        boxes, scores, classes, points = [], [], [], []
        for cell, (stride, y, x) in zip(rows.astype(float), CELLS, strict=True):
            for a, v in enumerate(cell):
                chances = [logistic(v[4]) * logistic(c) for c in v[5:7]]
                if max(chances) < LEAST:
                    continue
                width, height = self.anchors[(STRIDES.index(stride) * 3 + a) * 2 :][:2]
                cx, cy = (logistic(v[0]) * 2 - 0.5 + x) * stride, (logistic(v[1]) * 2 - 0.5 + y) * stride
                w, h = (logistic(v[2]) * 2) ** 2 * width, (logistic(v[3]) * 2) ** 2 * height
                boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                scores.append(max(chances))
                classes.append(chances.index(max(chances)))
                points.append(
                    [[(p * 2 - 0.5 + x) * stride, (q * 2 - 0.5 + y) * stride, logistic(s)]
                     for p, q, s in v[7:].reshape(5, 3)]
                )  # fmt: skip
        return boxes, scores, classes, points

    @pytest.mark.parametrize("channels_last", [False, True])
    def test_raw(self, channels_last: bool) -> None:
        rows = self.rows()
        maps = [level.reshape(3, 22, *level.shape[1:]) for level in levels(rows.reshape(len(CELLS), -1))]
        outputs = [m.transpose(0, 2, 3, 1) if channels_last else m.reshape(66, *m.shape[2:]) for m in maps]
        boxes, scores, classes, points = self.formula(rows)
        found = read(self.card, *outputs)
        expect_same(found, boxes, scores, classes)
        assert np.allclose(points_of(found), points, rtol=1e-4, atol=1e-3)

    def test_decoded(self) -> None:
        card = ModelCard("yolov5", "detect", ("a", "b"), STRIDES)
        output = np.array([[10, 20, 4, 6, 0.9, 0.5, 0.8], [1, 1, 2, 2, 0.2, 1, 1], [5, 5, 2, 2, 0.5, 0.6, 0.1]])
        found = read(card, output.astype(np.float32))
        assert found.xyxy.tolist() == [[8, 17, 12, 23], [4, 4, 6, 6]]
        assert found.score.tolist() == pytest.approx([0.72, 0.3])
        assert found.class_id.tolist() == [1, 0]

    def test_raw_without_anchors_is_refused(self) -> None:
        with pytest.raises(ModelError, match="0 anchor numbers for 3 levels; import its checkpoint"):
            read(replace(self.card, anchors=()), *levels(self.rows().reshape(len(CELLS), -1)))


class TestAnchorFree:
    def test_yolox_raw(self) -> None:
        rows = noise(4, len(CELLS), 8)
        rows[:, 4:] = 1 / (1 + np.exp(-2 * rows[:, 4:]))
        boxes, scores, classes = [], [], []
        for v, (stride, y, x) in zip(rows.astype(float), CELLS, strict=True):
            chances = list(v[4] * v[5:])
            if max(chances) >= LEAST:
                cx, cy, w, h = (
                    (v[0] + x) * stride,
                    (v[1] + y) * stride,
                    math.exp(v[2]) * stride,
                    math.exp(v[3]) * stride,
                )
                boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                scores.append(max(chances))
                classes.append(chances.index(max(chances)))
        card = ModelCard("yolox", "detect", ("a", "b", "c"), STRIDES, layout="raw")
        expect_same(read(card, rows), boxes, scores, classes)

    def test_yolov6_and_decoded_yolox_are_pixels(self) -> None:
        output = np.zeros((len(CELLS), 7), np.float32)
        output[5] = [10, 20, 4, 6, 1, 0.2, 0.9]
        for family in ("yolox", "yolov6"):
            found = read(ModelCard(family, "detect", ("a", "b"), STRIDES), output)
            assert (found.xyxy.tolist(), found.class_id.tolist()) == ([[8, 17, 12, 23]], [1])


class TestFaces:
    def test_yolov6(self) -> None:
        card = ModelCard("yolov6", "face", ("face", "mask"), STRIDES, keypoints=(5, 2))
        output = np.zeros((len(CELLS), 17), np.float32)
        output[5] = [10, 20, 4, 6, *range(10), 1, 0.2, 0.9]
        output[6] = [10, 20, 4, 6, *range(10), 1, 0.2, 0.1]
        found = read(card, output)
        assert (found.xyxy.tolist(), found.class_id.tolist()) == ([[8, 17, 12, 23]], [1])
        marks = [[x, x + 1, pytest.approx(0.9)] for x in range(0, 10, 2)]
        assert points_of(found).tolist() == [marks]

    def test_scrfd(self) -> None:
        rows = noise(5, len(CELLS) * 2, 15, low=-1, high=1)
        rows[:, 0] = np.abs(rows[:, 0])
        boxes, scores, marks = [], [], []
        for i, v in enumerate(rows.astype(float)):
            stride, y, x = CELLS[i // 2]
            if v[0] >= LEAST:
                boxes.append([(x - v[1]) * stride, (y - v[2]) * stride, (x + v[3]) * stride, (y + v[4]) * stride])
                scores.append(v[0])
                marks.append([[(x + a) * stride, (y + b) * stride] for a, b in v[5:].reshape(5, 2)])
        ends = np.cumsum([2 * sum(cell[0] == stride for cell in CELLS) for stride in STRIDES])[:-1]
        outputs = [part for columns in ((0, 1), (1, 5), (5, 15)) for part in np.split(rows[:, slice(*columns)], ends)]
        card = ModelCard("scrfd", "face", ("face",), STRIDES, layout="raw", keypoints=(5, 2))
        found = read(card, *outputs)
        expect_same(found, boxes, scores, [0] * len(boxes))
        assert np.allclose(points_of(found)[..., :2], marks, atol=1e-3)
        without = read(replace(card, task="detect"), *outputs[:6])
        expect_same(without, boxes, scores, [0] * len(boxes))

    def test_yunet(self) -> None:
        rows = noise(6, len(CELLS), 16, low=-1, high=1)
        rows[:, :2] = np.abs(rows[:, :2])
        boxes, scores, marks = [], [], []
        for v, (stride, y, x) in zip(rows.astype(float), CELLS, strict=True):
            if math.sqrt(v[0] * v[1]) >= LEAST:
                cx, cy, w, h = (
                    (v[2] + x) * stride,
                    (v[3] + y) * stride,
                    math.exp(v[4]) * stride,
                    math.exp(v[5]) * stride,
                )
                boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                scores.append(math.sqrt(v[0] * v[1]))
                marks.append([[(a + x) * stride, (b + y) * stride] for a, b in v[6:].reshape(5, 2)])
        ends = np.cumsum([sum(cell[0] == stride for cell in CELLS) for stride in STRIDES])[:-1]
        kinds = ((0, 1), (1, 2), (2, 6), (6, 16))
        outputs = [part for columns in kinds for part in np.split(rows[:, slice(*columns)], ends)]
        found = read(ModelCard("yunet", "face", ("face",), STRIDES, layout="raw", keypoints=(5, 2)), *outputs)
        expect_same(found, boxes, scores, [0] * len(boxes))
        assert np.allclose(points_of(found)[..., :2], marks, atol=1e-3)


class TestFinished:
    def test_rows_are_read_and_unused_ones_left(self) -> None:
        card = ModelCard("yolov8", "detect", ("a", "b"), STRIDES, layout="finished")
        output = np.array([[1, 2, 3, 4, 0.9, 1], [5, 6, 7, 8, 0.2, 0], [0, 0, 0, 0, 0, 0]], np.float32)
        found = read(card, output, least=0.0)
        assert (found.xyxy.tolist(), found.class_id.tolist()) == ([[1, 2, 3, 4], [5, 6, 7, 8]], [1, 0])

    def test_yolov7_writes_the_class_before_the_score(self) -> None:
        card = ModelCard("yolov7", "detect", ("a", "b"), STRIDES, layout="finished", batched=False)
        found = read(card, np.array([[0, 1, 2, 3, 4, 1, 0.5]], np.float32))
        assert (found.score.tolist(), found.class_id.tolist()) == ([0.5], [1])

    def test_of_four_outputs_only_so_many_rows_count_as_the_first_says(self) -> None:
        card = ModelCard("yolov6", "detect", ("a", "b"), STRIDES, layout="finished", batched=False)
        boxes = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
        scores, classes = np.array([[0.9, 0.5, 0.7]], np.float32), np.array([[1, 0, -1]])
        found = read(card, np.array([[2]]), boxes, scores, classes)
        assert (found.xyxy.tolist(), found.class_id.tolist()) == ([[0, 1, 2, 3], [4, 5, 6, 7]], [1, 0])
        assert [str(a.dtype) for a in (found.xyxy, found.score, found.class_id)] == ["float32", "float32", "int32"]
        assert len(read(card, np.array([[0]]), boxes, scores, classes)) == 0
        assert len(read(card, np.array([[2]]), boxes, scores, classes, least=0.6)) == 1
        for count in (-1, 4):
            with pytest.raises(ModelError, match=f"found {count} objects, and gives 3"):
                read(card, np.array([[count]]), boxes, scores, classes)
        with pytest.raises(ModelError, match=r"the network's output is \(1, 3\), a finished head of 3 rows has"):
            read(card, scores, boxes, scores, classes)

    def test_poses_and_masks_follow_the_class(self) -> None:
        pose = ModelCard("yolov8", "pose", ("a",), STRIDES, layout="finished", keypoints=(1, 3))
        assert points_of(read(pose, np.array([[1, 2, 3, 4, 0.9, 0, 7, 8, 0.5]], np.float32))).tolist() == [
            [[7, 8, 0.5]]
        ]
        segment = ModelCard("yolov8", "segment", ("a",), STRIDES, layout="finished")
        output = np.array([[1, 2, 3, 4, 0.9, 0, 7, 8]], np.float32)
        found = read(segment, output, np.zeros((2, 4, 4), np.float32))
        assert isinstance(found, MaskCandidates)
        assert found.coefficients.tolist() == [[7, 8]]


@pytest.mark.parametrize("key", list(HEADS), ids="-".join)
def test_an_answer_of_another_shape_is_refused_by_every_head(key: tuple[str, str, str]) -> None:
    family, task, layout = key
    card = ModelCard(family, task, ("a", "b"), STRIDES, layout=layout, keypoints=(5, 3), anchors=tuple(range(1, 19)))
    wrong = np.zeros((11, 13), np.float32)
    count = {"scrfd": 9, "yunet": 12}.get(family, 3 if layout == "raw" and family != "yolox" else 2)
    count = 1 if key in (("yolov6", "detect", "finished"), ("yolov7", "detect", "finished")) else count
    with pytest.raises(ModelError, match=r"the network's output.* has |not an SCRFD head"):
        read(card, *[wrong] * count)


@pytest.mark.parametrize("task", ["detect", "pose", "segment"])
def test_the_order_of_anchors_does_not_matter(task: str) -> None:
    card = ModelCard("yolov8", task, ("a", "b"), STRIDES, keypoints=(1, 3) if task == "pose" else (0, 0))
    output = np.abs(noise(7, 6 + 3 * (task != "detect"), 50, low=0, high=1))
    others = (np.zeros((3, 4, 4), np.float32),) if task == "segment" else ()
    order = np.random.default_rng(8).permutation(50)
    one, other = read(card, output, *others, least=0.8), read(card, output[:, order], *others, least=0.8)
    place = np.lexsort(one.xyxy.T), np.lexsort(other.xyxy.T)
    assert len(one) > 3
    assert (one.xyxy[place[0]] == other.xyxy[place[1]]).all()
    assert (one.score[place[0]] == other.score[place[1]]).all()
    if task == "pose":
        assert (points_of(one)[place[0]] == points_of(other)[place[1]]).all()


class TestCenterFace:
    card = ModelCard("centerface", "face", ("face",), (32,), layout="raw", keypoints=(5, 2))

    def test_centres_sizes_offsets_and_landmarks(self) -> None:
        high, wide = SIZE[0] // 4, SIZE[1] // 4
        scores = noise(5, 1, high, wide, low=0, high=0.4)
        sizes, offsets = noise(6, 2, high, wide, low=0), noise(7, 2, high, wide, low=0, high=1)
        marks = noise(8, 10, high, wide, low=0, high=1)
        boxes, kept, faces = [], [], []
        for y in range(high):
            for x in range(wide):
                if scores[0, y, x] < LEAST:
                    continue
                tall, broad = (4 * math.exp(float(sizes[axis, y, x])) for axis in (0, 1))
                top = 4 * (y + float(offsets[0, y, x]) + 0.5) - tall / 2
                left = 4 * (x + float(offsets[1, y, x]) + 0.5) - broad / 2
                boxes.append([left, top, left + broad, top + tall])
                kept.append(float(scores[0, y, x]))
                faces.append(
                    [
                        [left + broad * float(marks[2 * i + 1, y, x]), top + tall * float(marks[2 * i, y, x]), kept[-1]]
                        for i in range(5)
                    ]
                )
        found = read(self.card, scores, sizes, offsets, marks)
        expect_same(found, boxes, kept, [0] * len(boxes))
        assert np.allclose(points_of(found), faces, rtol=1e-4, atol=1e-3)

    def test_maps_of_another_size_are_refused(self) -> None:
        maps = [np.zeros((n, 4, 4), np.float32) for n in (1, 2, 2, 10)]
        with pytest.raises(ModelError, match="a CenterFace head has"):
            read(self.card, *maps)


def test_a_scene_with_nothing_in_it_gives_nothing() -> None:
    for key in HEADS:
        shape = (5, 3) if key[1] in ("pose", "face") else (0, 0)
        card = ModelCard(*key[:2], ("a",), STRIDES, layout=key[2], keypoints=shape, anchors=tuple(range(1, 19)))
        assert len(read(card, *blank(card))) == 0


def blank(card: ModelCard) -> list[F32]:
    """Outputs of the card's shapes with no score in them."""
    cells, points = len(CELLS), card.keypoints[0] * card.keypoints[1]
    face_widths = (1, 4, 10) if card.task == "face" else (1, 4)
    each = [sum(cell[0] == stride for cell in CELLS) for stride in STRIDES]
    if card.family == "scrfd":
        return [np.zeros((2 * n, width), np.float32) for width in face_widths for n in each]
    if card.family == "centerface":
        return [np.zeros((n, SIZE[0] // 4, SIZE[1] // 4), np.float32) for n in (1, 2, 2, 10)]
    if card.family == "yunet":
        return [np.zeros((n, width), np.float32) for width in (1, 1, 4, 10) for n in each]
    if card.family == "omz-ssd":
        return [np.zeros((1, 1, 4, 7), np.float32)]
    if card.layout == "finished":
        width = 7 if card.family in ("yolov6", "yolov7") else 6 + points
        masks = [np.zeros((2, 4, 4), np.float32)] if card.task == "segment" else []
        return [np.zeros((4, width + 2 * len(masks)), np.float32), *masks]
    if card.family in ("yolox", "yolov6"):
        return [np.zeros((cells, 6 + points * (card.family == "yolov6")), np.float32)]
    if card.layout == "raw":
        masks = [np.zeros((2, 4, 4), np.float32)] if card.task == "segment" else []
        channels = 64 + 1 + points + 2 * len(masks) if card.family == "yolov8" else 3 * (6 + points)
        return [*(np.full((channels, SIZE[0] // s, SIZE[1] // s), -9, np.float32) for s in STRIDES), *masks]
    if card.family == "yolov8":
        masks = [np.zeros((2, 4, 4), np.float32)] if card.task == "segment" else []
        return [np.zeros((5 + points + 2 * len(masks), cells), np.float32), *masks]
    return [np.zeros((3 * cells, 6 + points), np.float32)]
