"""ModelCard: what a network is and how it wants to be fed, as written into its ONNX metadata."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from watchline.streams.errors import ModelError

_PREFIX = "watchline."


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a network is and how it wants to be fed.

    Attributes:
        family: "yolov8", ...: which head decodes its outputs.
        task: "detect", ...
        labels: class names; a detection's class_id indexes them.
        strides: pixels a cell, a level; the input's sides are multiples of the largest.
        colour: channel order of the input, "rgb" or "bgr".
        scale: what a byte is divided by before the network sees it.
        pad: the byte around a letterboxed picture.
        source_sha256: of the checkpoint that it was made from; "" where it came as ONNX.
        source_name: file name of that checkpoint; "" likewise.
        licence: SPDX name where the checkpoint states one, else "".
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

    def to_metadata(self) -> dict[str, str]:
        """Returns the card as ONNX metadata: string keys, JSON values.

        >>> card = ModelCard("yolov8", "detect", ("person",), (8, 16, 32))
        >>> ModelCard.from_metadata(card.to_metadata()) == card
        True
        """
        return {_PREFIX + name: json.dumps(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Returns the card that `metadata` holds.

        Understands our own keys and those of a YOLOv8 detect export by Ultralytics (`task`, `names`, `stride`).

        Raises:
            ModelError: neither is there, or a value makes no sense.
        """
        try:
            if _PREFIX + "family" in metadata:
                values = {name: json.loads(metadata[_PREFIX + name]) for name in cls.__slots__}
                values["labels"] = tuple(values["labels"])
                values["strides"] = tuple(values["strides"])
                _sound(values["labels"], values["strides"])
                return cls(**values)
            if metadata.get("task") == "detect" and "names" in metadata:
                names: dict[int, str] = ast.literal_eval(metadata["names"])
                labels = tuple(names[i] for i in range(len(names)))
                most = int(metadata.get("stride", "32"))
                strides = tuple(stride for stride in (8, 16, 32, 64) if stride <= most)
                _sound(labels, strides)
                return cls("yolov8", "detect", labels, strides, licence=metadata.get("license", ""))
            if "task" in metadata:
                raise ModelError(f'a model for the task {metadata["task"]!r}; this version runs "detect" models')
        except (KeyError, ValueError, TypeError, SyntaxError) as error:
            raise ModelError(f"model metadata is damaged: {error!r}; import or export the model again") from error
        raise ModelError(
            "the model does not say what it is (no watchline or Ultralytics detect metadata); "
            "import its checkpoint with `watchline models import FILE`"
        )


def _sound(labels: tuple[str, ...], strides: tuple[int, ...]) -> None:
    if not labels or not strides or not all(0 < stride <= 64 for stride in strides):
        raise ValueError(f"{len(labels)} labels, strides {strides}: want some, and strides of 1 to 64")
