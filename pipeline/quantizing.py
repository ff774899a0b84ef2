"""Quantizes a model with frames of the user's, and compares the result with it on frames that it was not made with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, EngineInfo, OnnxEngine
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.quantize import KEPT_STEPS, Calibration, Recipe
from watchline.pipeline.compare import Candidate, CompareOptions, Comparison, Sample, compare, spread
from watchline.pipeline.files import writing
from watchline.streams.errors import ModelError, StreamError
from watchline.streams.images import IMAGE_SUFFIXES

FEW_BOXES: Final = 200  # below, a loss of two in a hundred is a matter of a few boxes


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """How a model is quantized, and what it may lose.

    Attributes:
        recipe: the first to be tried.
        search: try recipes that keep more in float while the loss is too high.
        frames: of all inputs together; every second one calibrates, the others compare.
        max_loss: most of the recall that may be lost, in [0, 1].
        compared: how both are compared.
    """

    recipe: Recipe
    search: bool = True
    frames: int = 128
    max_loss: float = 0.02
    compared: CompareOptions = field(default_factory=CompareOptions)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A recipe and what came of it."""

    recipe: Recipe
    onnx: bytes
    comparison: Comparison

    @property
    def loss(self) -> float:
        """Share of the float model's boxes that are lost."""
        return 1 - self.comparison.boxes.recall


def quantize(
    name: str, network: Path, inputs: Sequence[str], options: QuantizeOptions, tried: Callable[[Attempt], None]
) -> Attempt:
    """Returns the first attempt that loses no more than it may, or else the one that loses least.

    Args:
        name: of the model.
        network: an ONNX file that has been vetted.
        inputs: files, folders or patterns, as `Sample` takes them.
        options: how.
        tried: told of each attempt.

    Raises:
        ModelError: the model cannot be quantized, or finds nothing in the frames that it is compared on.
        StreamError: an input cannot be read, or there are too few frames.
    """
    calibrating, held_out = halves(spread(inputs, options.frames))
    engine = OnnxEngine(network, "cpu")
    calibration = Calibration(network, lambda: _fed(engine, calibrating, options.compared.size))
    steps = range(options.recipe.keep, KEPT_STEPS + 1 if options.search else options.recipe.keep + 1)
    attempts = []
    for keep in steps:
        attempt = _attempt(
            name, network, engine.card, calibration, replace(options.recipe, keep=keep), held_out, options
        )
        if not attempt.comparison.boxes.boxes_a:
            raise ModelError(f"{name} finds nothing in the frames to compare on; name a clip with what it is to find")
        tried(attempt)
        if attempt.loss <= options.max_loss:
            return attempt
        attempts.append(attempt)
    return min(attempts, key=lambda attempt: attempt.loss)


def halves(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Returns the samples without every second frame, and those frames."""
    return (
        [replace(s, every=2 * s.every, most=(s.most + 1) // 2) for s in samples],
        [replace(s, every=2 * s.every, offset=s.offset + s.every, most=max(1, s.most // 2)) for s in samples],
    )


def write(onnx: bytes, out: Path) -> None:
    """Writes a model whole or not at all.

    Raises:
        OutputError: the system refuses.
    """
    part = out.with_name(f"{out.name}.part")
    with writing(out):
        try:
            part.write_bytes(onnx)
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)


def inputs_of(spec: str) -> list[str]:
    """Returns what a person named: a folder without images stands for the files in it."""
    folder = Path(spec)
    if not folder.is_dir():
        return [spec]
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in files):
        return [spec]
    if not files:
        raise StreamError(f"{spec}: the folder is empty; name one with clips or images")
    return [str(path) for path in files]


def _attempt(
    name: str,
    network: Path,
    card: ModelCard,
    calibration: Calibration,
    recipe: Recipe,
    held_out: Sequence[Sample],
    options: QuantizeOptions,
) -> Attempt:
    onnx = calibration.quantized(recipe, card)
    with tempfile.TemporaryDirectory(prefix="watchline-") as folder:
        made = Path(folder) / "int8.onnx"
        with writing(made):
            made.write_bytes(onnx)
        sides = Candidate(name, network, "cpu"), Candidate(f"{name} int8", made, "cpu")
        return Attempt(recipe, onnx, compare(*sides, held_out, options.compared))


def _fed(engine: Engine, samples: Sequence[Sample], size: int) -> Iterator[F32]:
    """Gives what the network sees of each frame, (1, 3, H, W) float32."""
    tap = _Tap(engine)
    detector = NetworkDetector(tap, DetectorOptions(size=size))
    for sample in samples:
        for frame in sample.frames():
            detector.detect([frame])
            yield tap.seen


class _Tap:
    """An `Engine` that keeps what it was last given: so calibration takes the very road of detection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seen: F32

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        return self._engine.fixed_size

    def run(self, batch: F32) -> tuple[F32, ...]:
        self.seen = batch.copy()
        return self._engine.run(batch)
