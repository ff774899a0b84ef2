"""Makes a smaller model of a float one, and compares both on frames that it was not made with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, EngineInfo, OnnxEngine
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.quantize import KEPT_STEPS, Calibration, Recipe, Runtime
from watchline.detectors.quantize_clusters import clusters, shared_out
from watchline.detectors.quantize_half import Half, halved
from watchline.pipeline.compare import Candidate, CompareOptions, Comparison, compare
from watchline.pipeline.compare_sample import Sample, chosen, spread, spread_apart
from watchline.pipeline.files import writing
from watchline.streams.errors import ModelError, StreamError
from watchline.streams.images import IMAGE_SUFFIXES

To: TypeAlias = Literal["int8", "fp16", "bf16"]

FEW_BOXES: Final = 200  # below, a loss of two in a hundred is a matter of a few boxes
_POOL: Final = 4  # frames that clusters choose from, for each that they choose
# What the float model and the other run on. OpenVINO would compute the float model in 16 bits by itself.
_DEVICES: Final[dict[Runtime, tuple[str, str]]] = {
    "onnxruntime": ("cpu", "cpu"),
    "openvino": ("openvino-f32", "openvino"),
}


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """How a model is quantized, and what it may lose.

    Attributes:
        recipe: the first to be tried.
        search: try recipes that keep more in float while the loss is too high.
        clusters: choose the frames that calibrate from so many clusters of four times as many; 0: at equal distances.
        frames: of all inputs together; half of them calibrate, the others compare.
        max_loss: most of the recall that may be lost, in [0, 1].
        compared: how both are compared.
    """

    recipe: Recipe
    search: bool = True
    clusters: int = 0
    frames: int = 128
    max_loss: float = 0.02
    compared: CompareOptions = field(default_factory=CompareOptions)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A model that was made, and what came of it.

    Attributes:
        how: it was made, in words.
        onnx: its bytes.
        comparison: of the float model with it.
        recipe: None for weights of 16 bits, of which there is one kind.
        clusters: how many the frames that calibrated it were chosen from; 0: at equal distances.
        rival: the same but for the clusters, where they were to be tried; the worse of both.
    """

    how: str
    onnx: bytes
    comparison: Comparison
    recipe: Recipe | None = None
    clusters: int = 0
    rival: Attempt | None = None

    @property
    def loss(self) -> float:
        """Share of the float model's boxes that are lost."""
        return 1 - self.comparison.boxes.recall

    @property
    def worth(self) -> float:
        """By which of two attempts the better is told: recall and precision together."""
        return self.comparison.boxes.recall + self.comparison.boxes.precision


@dataclass(frozen=True, slots=True)
class _Bench:
    """A float model and the frames on which others are compared with it."""

    name: str
    network: Path
    runtime: Runtime
    held_out: Sequence[Sample]
    options: CompareOptions

    def compared(self, onnx: bytes, kind: To) -> Comparison:
        """Returns what a model does beside the float one.

        Raises:
            ModelError: it cannot be run, or the float one finds nothing.
        """
        exact, usual = _DEVICES[self.runtime]
        with tempfile.TemporaryDirectory(prefix="watchline-") as folder:
            made = Path(folder) / f"{kind}.onnx"
            with writing(made):
                made.write_bytes(onnx)
            sides = Candidate(self.name, self.network, exact), Candidate(f"{self.name} {kind}", made, usual)
            comparison = compare(*sides, self.held_out, self.options)
        if not comparison.boxes.boxes_a:
            raise ModelError(
                f"{self.name} finds nothing in the frames to compare on; name a clip with what it is to find"
            )
        return comparison


def quantize(
    name: str, network: Path, inputs: Sequence[str], options: QuantizeOptions, tried: Callable[[Attempt], None]
) -> Attempt:
    """Returns the first int8 model that loses no more than it may, or else the one that loses least.

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
    size = options.compared.size
    calibrating, held_out = spread_apart(inputs, options.frames)
    bench = _Bench(name, network, options.recipe.runtime, held_out, options.compared)
    engine = OnnxEngine(network, "cpu")
    calibrations = {0: Calibration(network, partial(_fed, engine, calibrating, size))}
    if options.clusters:
        pool, _ = spread_apart(inputs, options.frames, _POOL)
        looks = Calibration(network, partial(_fed, engine, pool, size)).looks()
        count = sum(len(run) for sample in calibrating for run in sample.runs)
        picked = chosen(pool, shared_out(clusters(looks, options.clusters), count))
        calibrations[options.clusters] = Calibration(network, partial(_fed, engine, picked, size))
    attempts = []
    for keep in range(options.recipe.keep, KEPT_STEPS + 1 if options.search else options.recipe.keep + 1):
        best = _best(calibrations, replace(options.recipe, keep=keep), engine.card, bench, tried)
        if best.loss <= options.max_loss:
            return best
        attempts.append(best)
    return min(attempts, key=lambda attempt: attempt.loss)


def _best(
    calibrations: dict[int, Calibration],
    recipe: Recipe,
    card: ModelCard,
    bench: _Bench,
    tried: Callable[[Attempt], None],
) -> Attempt:
    """Returns the best that a recipe gives with frames chosen by clusters and without, and what the other gave."""
    attempts = []
    for count, calibration in calibrations.items():
        how = f"{recipe}, {count} clusters" if count else str(recipe)
        onnx = calibration.quantized(recipe, card)
        attempts.append(Attempt(how, onnx, bench.compared(onnx, "int8"), recipe, count))
        tried(attempts[-1])
    attempts.sort(key=lambda attempt: attempt.worth, reverse=True)  # of equal ones that without clusters
    return replace(attempts[0], rival=attempts[1]) if len(attempts) > 1 else attempts[0]


def halve(
    name: str, network: Path, inputs: Sequence[str], to: Half, runtime: Runtime, frames: int, compared: CompareOptions
) -> Attempt:
    """Returns the model with weights of 16 bits, compared on `frames` of the inputs: nothing calibrates it.

    Raises:
        ModelError: it cannot be made, or the float model finds nothing in the frames.
        StreamError: an input cannot be read.
    """
    onnx = halved(network, to, OnnxEngine(network, "cpu").card)
    bench = _Bench(name, network, runtime, spread(inputs, frames), compared)
    return Attempt(f"{to} weights", onnx, bench.compared(onnx, to))


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


def _fed(engine: Engine, samples: Sequence[Sample], size: int) -> Iterator[F32]:
    """Gives what the network sees of each frame, (1, 3, H, W) float32."""
    tap = _Tap(engine)
    detector = NetworkDetector(tap, DetectorOptions(size=size))
    for sample in samples:
        for _, frame in sample.frames():
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
