"""ModelCard: what a network is, how it wants to be fed and what its outputs mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from watchline.streams.errors import ModelError

_PREFIX = "watchline."
_TUPLES = ("labels", "strides", "keypoints", "anchors", "outputs", "mean", "std")
_TEXTS = ("family", "task", "colour", "source_sha256", "source_name", "licence", "placement", "layout")
_FACES = ("scrfd", "yunet")  # whose points need not be said
_MAX_FEED = 100_000  # far above any number that a network is fed by
_MAX_NUMBER = 1e300
_MAX_REASON = 200
_NEEDED = ("family", "task", "labels", "strides")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a network is, how it wants to be fed and what its outputs mean. `heads.registry` lists what can be read.

    The network sees (byte - shift) / scale; where `mean` and `std` are given, that less the mean, divided by the std.

    Attributes:
        family: "yolov8", ...: whose outputs these are.
        task: "detect", "pose", "segment" or "face"; "embed" for a network that describes a person and finds none.
        labels: class names; a detection's class_id indexes them. Empty for "embed" alone.
        strides: pixels a cell, a level; the input's sides are multiples of the largest.
        colour: channel order of the input, "rgb" or "bgr".
        scale: what a byte less `shift` is divided by before the network sees it.
        pad: the byte around a letterboxed picture.
        source_sha256: of the checkpoint that it was made from; "" where it came as ONNX.
        source_name: file name of that checkpoint; "" likewise.
        licence: SPDX name where the checkpoint states one, else "".
        shift: what is taken from a byte first.
        placement: where the picture lies in the input: "centre", "corner" for top left, or "stretch", which bends it to
            fill the input.
        layout: how far the outputs are worked out: "decoded" (pixels and scores), "raw" (the last convolutions'), or
            "finished" (suppressed too).
        keypoints: points an object, and numbers a point (2: x, y; 3: x, y, score); (0, 0) for none. Of an "embed"
            network: the points by which its pictures are to be aligned.
        anchors: widths and heights of a "raw" head's anchor boxes, pixels, level by level; else empty.
        outputs: names of the outputs to read, in the order that the head wants; empty: whatever the network calls them.
        iou: largest overlap of two detections of a class that the family's own programs leave, in [0, 1].
        batched: whether the first dimension of every output counts the pictures of the batch.
        mean: of an "embed" network, what is taken from each channel, in the order of `colour`; () for nothing.
        std: likewise what each channel is then divided by.
    """

    family: str
    task: str
    labels: tuple[str, ...]
    strides: tuple[int, ...]
    colour: str = "rgb"
    scale: float = 255.0
    pad: int = 114
    source_sha256: str = ""
    source_name: str = ""
    licence: str = ""
    shift: float = 0.0
    placement: str = "centre"
    layout: str = "decoded"
    keypoints: tuple[int, int] = (0, 0)
    anchors: tuple[float, ...] = ()
    outputs: tuple[str, ...] = ()
    iou: float = 0.7
    batched: bool = True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def to_metadata(self) -> dict[str, str]:
        """Returns the card as ONNX metadata: string keys, JSON values.

        >>> card = ModelCard("yolov8", "detect", ("person",), (8, 16, 32))
        >>> ModelCard.from_metadata(card.to_metadata()) == card
        True
        """
        return {_PREFIX + name: json.dumps(getattr(self, name)) for name in self.__slots__}

    def expect_detector(self) -> None:
        """Checks that the network finds something by itself.

        Raises:
            ModelError: it does not; says what it is for.
        """
        if self.task == "embed":
            raise ModelError(
                f"an embedding network ({self.family}): it tells people apart, and finds none by itself; "
                "for --model give a detector, such as yolov8n"
            )

    @staticmethod
    def is_in(metadata: Mapping[str, str]) -> bool:
        """Returns whether `metadata` holds a card, sound or not."""
        return _PREFIX + "family" in metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Returns the card that `metadata` holds under our own keys; what it leaves out is as by default.

        Raises:
            ModelError: there is none, or a value makes no sense.
        """
        if not cls.is_in(metadata):
            raise ModelError(
                "the model does not say what it is (no watchline metadata); "
                "import its checkpoint with `watchline models import FILE`"
            )
        try:
            values: dict[str, Any] = {
                name: json.loads(metadata[_PREFIX + name])
                for name in cls.__slots__
                if name in _NEEDED or _PREFIX + name in metadata
            }
            values |= {name: tuple(values[name]) for name in _TUPLES if name in values}
            card = cls(**values)
            card.check()
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            reason = repr(error)[:_MAX_REASON]
            raise ModelError(f"model metadata is damaged: {reason}; import or export the model again") from error
        return card

    def check(self) -> None:
        """Raises ValueError where the card makes no sense."""
        self._check_kinds()
        labelled = bool(self.labels) == (self.task != "embed")
        if not labelled or not self.strides or not all(0 < stride <= 64 for stride in self.strides):
            raise ValueError(f"{len(self.labels)} labels, strides {self.strides}: want some, and strides of 1 to 64")
        choices = {
            "colour": ("rgb", "bgr"),
            "placement": ("centre", "corner", "stretch"),
            "layout": ("decoded", "raw", "finished"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}: want one of {', '.join(allowed)}")
        fed = 1 / _MAX_FEED <= self.scale <= _MAX_FEED and abs(self.shift) <= _MAX_FEED
        if not 0 <= self.iou <= 1 or not fed or not 0 <= self.pad <= 255 or len(self.keypoints) != 2:
            raise ValueError(f"iou {self.iou}, scale {self.scale}, pad {self.pad}, keypoints {self.keypoints}")
        pointed = self.task in ("pose", "face")
        if self.task != "embed" and pointed != (self.keypoints[0] > 0) and self.family not in _FACES:
            raise ValueError(f"a {self.task} model with {self.keypoints[0]} keypoints")
        self._check_channels()

    def _check_channels(self) -> None:
        """Raises ValueError where mean and std make no sense."""
        if not self.mean and not self.std:
            return
        fed = len(self.mean) == len(self.std) == 3 and all(abs(number) <= _MAX_FEED for number in self.mean)
        if self.task != "embed" or not fed or not all(1 / _MAX_FEED <= number <= _MAX_FEED for number in self.std):
            raise ValueError(f"mean {self.mean}, std {self.std}: want three of each, of an embed model")

    def _check_kinds(self) -> None:
        """Raises ValueError where a field is not of its kind: a card may have been written by anybody."""
        words = (*(getattr(self, name) for name in _TEXTS), *self.labels, *self.outputs)
        whole = (self.pad, *self.strides, *self.keypoints)
        numbers = (self.scale, self.shift, self.iou, *self.anchors, *self.mean, *self.std)
        if not all(isinstance(word, str) for word in words) or not isinstance(self.batched, bool):
            raise ValueError("a text or a yes is something else")
        if not all(word.isprintable() for word in (self.family, self.task, self.licence, *self.labels)):
            raise ValueError("a name holds what cannot be shown")
        if not all(type(number) is int and 0 <= number <= _MAX_FEED for number in whole):
            raise ValueError("a stride, a pad or a number of keypoints is no small whole number")
        if not all(abs(number) <= _MAX_NUMBER for number in numbers):
            raise ValueError("a number is infinite or none")
