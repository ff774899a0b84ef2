"""Manifest: what a person says of a model file that does not say it itself, as a TOML file of few lines."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self

from watchline.detectors.card import ModelCard
from watchline.detectors.family_cards import Facts
from watchline.detectors.layout import FAMILIES, decide
from watchline.streams.errors import ModelError, UsageError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES: Final = 1 << 20
_MAX_MEAN: Final = 1000  # of a channel, in whatever numbers the network is fed
_CHOICES: Final = {
    "task": ("detect", "pose", "face", "segment", "embed"),
    "layout": ("decoded", "raw", "finished"),
    "colour": ("rgb", "bgr"),
    "placement": ("centre", "corner"),
}
_FEEDING: Final = ("colour", "scale", "shift", "pad", "placement", "iou", "licence", "mean", "std")
_RANGES: Final = {"scale": (1e-6, 1e6), "shift": (-1e6, 1e6), "pad": (0, 255), "iou": (0, 1)}
_WANTS: Final = {
    "classes": 'a list of names, such as ["plate", "car"]',
    "keypoints": "points an object and numbers a point, such as [17, 3]",
    "mean": "three numbers, red, green and blue or as `colour` says, such as [0.485, 0.456, 0.406]",
    "std": "three numbers above 0, likewise",
    "anchors": "widths and heights in pixels, level by level, such as [[12,16, 19,36, 40,28], [36,75, ...], ...]",
    "open_size": "true or false",
    "sha256": "64 lower-case hex digits",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a person says of a model file; what it leaves out, the file must show.

    Attributes:
        family: whose outputs these are, one of `layout.FAMILIES`, with or without the task: "yolov7-face", "yolov7".
        task: "detect", "pose", "face", "segment" or "embed".
        layout: how far the outputs are worked out: "decoded", "raw" or "finished"; only checked, the file shows it.
        classes: class names, in the order of the network.
        colour: channel order of the input, "rgb" or "bgr".
        scale: what a byte less `shift` is divided by.
        shift: what is taken from a byte first.
        pad: the byte around a letterboxed picture.
        placement: where the picture lies in the input, "centre" or "corner".
        keypoints: points an object, and numbers a point; () for what the task usually has.
        anchors: widths and heights of a raw head's anchor boxes, pixels, finest level first.
        iou: largest overlap of two detections of a class.
        open_size: the size and batch that the file states are no bound: the network takes any multiple of its stride.
        mean: of a network that compares pictures, what is taken from each channel; see `ModelCard.mean`.
        std: likewise what each channel is then divided by.
        licence: SPDX name of the weights' licence.
        sha256: of the file; another file is refused.
    """

    family: str = ""
    task: str = ""
    layout: str = ""
    classes: tuple[str, ...] = ()
    colour: str = ""
    scale: float | None = None
    shift: float | None = None
    pad: int | None = None
    placement: str = ""
    keypoints: tuple[int, ...] = ()
    anchors: tuple[float, ...] = ()
    iou: float | None = None
    open_size: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    licence: str = ""
    sha256: str = ""

    @property
    def is_silent(self) -> bool:
        """Whether it says nothing about how the network is fed and read."""
        return replace(self, licence="", sha256="") == SILENT

    @property
    def wanted(self) -> str:
        """The family and task in the form of `layout.FAMILIES`."""
        base, _, task = self.family.partition("-")
        both = f"{base}-{self.task or task}"
        if both in FAMILIES:
            return both
        return self.family if self.family in FAMILIES and base not in FAMILIES else base

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the manifest written in `text`, TOML.

        Raises:
            ModelError: not TOML, an unknown key, or a value that makes no sense; names the key and what it wants.

        >>> Manifest.parse('family = "yolox"').family
        'yolox'
        """
        if len(text) > _MAX_BYTES:
            raise ModelError(f"larger than {_MAX_BYTES:,} bytes")
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ModelError(f"not TOML: {error}") from error
        return cls.of(table)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Returns the manifest in the file at `path`.

        Raises:
            ModelError: it cannot be read, or makes no sense; names the file, the key and what it wants.
        """
        try:
            return cls.parse(path.read_text("utf-8"))
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror}") from error
        except (UnicodeDecodeError, ModelError) as error:
            raise ModelError(f"{path}: {error}") from error

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """Returns the manifest whose keys and values are those of `table`, as TOML gives them.

        Raises:
            ModelError: an unknown key, or a value that makes no sense.
        """
        known = [field.name for field in fields(cls)]
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                guess = f"did you mean {near[0]!r}?" if near else f"it may hold {', '.join(known)}"
                raise ModelError(f"unknown key {key!r}; {guess}")
        return cls(**{key: _value(key, value) for key, value in table.items()})

    def to_toml(self) -> str:
        """Returns what it says as TOML, a line a key.

        >>> print(Manifest(family="yolox", pad=114).to_toml())
        family = "yolox"
        pad = 114
        """
        every = [(field.name, getattr(self, field.name)) for field in fields(self)]
        said = [(name, value) for name, value in every if value != getattr(SILENT, name)]
        # A JSON text or list of texts or numbers is TOML too, as long as no character is written as two \\u.
        return "\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in said)


SILENT: Final = Manifest()


def card_of(facts: Facts, said: Manifest) -> ModelCard:
    """Returns what the network is and how it is fed and read, by what it shows of itself and what is said of it.

    Raises:
        ModelError: it is none that can be read, or it cannot be told which; the message names what settles it.
        UsageError: what is said is not what the file says.
    """
    metadata = dict(facts.metadata)
    if said.classes and "names" not in metadata:
        metadata["names"] = repr(list(said.classes))
    card = decide(
        replace(facts, metadata=metadata, anchors=said.anchors, keypoints=(said.keypoints or (0, 0))[:2]),
        said.wanted,
    )
    for name in ("task", "layout", "keypoints"):
        stated, shown = getattr(said, name), getattr(card, name)
        if stated and stated != shown:
            raise UsageError(f"{name} {stated!r}: the file shows {shown!r}; correct the manifest")
    if said.classes and said.classes != card.labels:
        raise UsageError(f"{len(said.classes)} classes are named, and the file names its own; leave them out")
    if bool(said.mean) != bool(said.std) or (said.mean and card.task != "embed"):
        raise UsageError(
            "mean and std go together, and belong to a network that compares pictures; correct the manifest"
        )
    feeding = {name: getattr(said, name) for name in _FEEDING}
    return replace(card, **{name: value for name, value in feeding.items() if value not in ("", None, ())})


def _value(key: str, value: Any) -> Any:
    """Returns a value as the manifest keeps it.

    Raises:
        ModelError: it makes no sense for its key.
    """
    want = _WANTS.get(key, "a text")
    if key in _CHOICES:
        want = f"one of {', '.join(_CHOICES[key])}"
        good = value in _CHOICES[key]
    elif key in _RANGES:
        low, high = _RANGES[key]
        want = f"a number from {low:g} to {high:g}"
        good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        good = good and (key != "pad" or isinstance(value, int))
    elif key == "classes":
        good = isinstance(value, list) and 0 < len(value) <= 10_000 and all(_is_text(name) for name in value)
    elif key in ("keypoints", "anchors"):
        value = _flat(value)
        good = bool(value) and all(isinstance(n, int | float) and not isinstance(n, bool) and n > 0 for n in value)
        good = good and (key != "keypoints" or (len(value) == 2 and value[1] in (2, 3) and isinstance(value[0], int)))
    elif key in ("mean", "std"):
        good = isinstance(value, list) and len(value) == 3 and all(_is_number(n) and abs(n) <= _MAX_MEAN for n in value)
        good = good and (key == "mean" or all(n >= 1 / _MAX_MEAN for n in value))
    elif key == "open_size":
        good = isinstance(value, bool)
    else:
        good = _is_text(value) and (key != "sha256" or bool(_SHA256.fullmatch(value)))
    if not good:
        raise ModelError(f"{key} = {str(value)[:60]!r}: want {want}")
    return tuple(value) if isinstance(value, list) else value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 500 and value.isprintable()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(value: Any) -> list[Any]:
    """Returns the numbers of a list, or of a list of lists."""
    if not isinstance(value, list):
        return []
    return [n for part in value for n in (part if isinstance(part, list) else [part])]
