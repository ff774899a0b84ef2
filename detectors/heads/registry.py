"""Which head reads which network: by family, task and layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from watchline.detectors.candidates import Candidates
from watchline.detectors.card import ModelCard
from watchline.detectors.heads import anchor_free, anchored, centerface, decoded, faces, finished, omz, raw_yolov8
from watchline.detectors.heads.answer import Answer
from watchline.streams.errors import ModelError

# (answer, least score) -> candidates in the order of the network's rows.
Head: TypeAlias = Callable[[Answer, float], Candidates]

HEADS: dict[tuple[str, str, str], Head] = {
    ("yolov8", "detect", "decoded"): decoded.detect,
    ("yolov8", "pose", "decoded"): decoded.pose,
    ("yolov8", "face", "decoded"): decoded.pose,
    ("yolov8", "segment", "decoded"): decoded.segment,
    ("yolov8", "detect", "raw"): raw_yolov8.detect,
    ("yolov8", "pose", "raw"): raw_yolov8.pose,
    ("yolov8", "face", "raw"): raw_yolov8.pose,
    ("yolov8", "segment", "raw"): raw_yolov8.segment,
    ("yolov8", "detect", "finished"): finished.detect,
    ("yolov8", "pose", "finished"): finished.pose,
    ("yolov8", "face", "finished"): finished.pose,
    ("yolov8", "segment", "finished"): finished.segment,
    ("yolov5", "detect", "decoded"): anchored.detect,
    ("yolov5", "detect", "raw"): anchored.raw_detect,
    ("yolov7", "detect", "decoded"): anchored.detect,
    ("yolov7", "pose", "decoded"): anchored.pose,
    ("yolov7", "face", "decoded"): anchored.pose,
    ("yolov7", "detect", "raw"): anchored.raw_detect,
    ("yolov7", "pose", "raw"): anchored.raw_pose,
    ("yolov7", "face", "raw"): anchored.raw_pose,
    ("yolov7", "detect", "finished"): finished.end_to_end,
    ("yolov6", "detect", "decoded"): anchor_free.detect,
    ("yolov6", "face", "decoded"): anchor_free.face,
    ("yolov6", "detect", "finished"): finished.end_to_end,
    ("yolox", "detect", "decoded"): anchor_free.detect,
    ("yolox", "detect", "raw"): anchor_free.detect,
    ("scrfd", "detect", "raw"): faces.scrfd,
    ("scrfd", "face", "raw"): faces.scrfd,
    ("yunet", "face", "raw"): faces.yunet,
    ("centerface", "face", "raw"): centerface.faces,
    ("omz-ssd", "detect", "finished"): omz.ssd,
}


def head_of(card: ModelCard) -> Head:
    """Returns the head that reads this network's outputs.

    Raises:
        ModelError: there is none; names those that there are.
    """
    card.expect_detector()
    head = HEADS.get((card.family, card.task, card.layout))
    if head is None:
        known = ", ".join(dict.fromkeys(f"{family} {task}" for family, task, _ in HEADS))
        raise ModelError(f"no head for a {card.family} {card.task} model ({card.layout}); this version has {known}")
    return head
