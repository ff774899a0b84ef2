"""Makes a smaller model of a float one, and compares both on frames that it was not made with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from watchline.streams.errors import ModelError

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
        """By which of two attempts that will do the better is told: recall and precision together."""
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
    name: str,
    network: Path,
    inputs: Sequence[str],
    options: QuantizeOptions,
    tried: Callable[[Attempt], None],
    say: Callable[[str], None],
) -> Attempt:
    """Returns the first int8 model that loses no more than it may, or else the one that loses least.

    Args:
        name: of the model.
        network: an ONNX file that has been vetted.
        inputs: files, folders or patterns, as `Sample` takes them.
        options: how.
        tried: told of each attempt.
        say: told what is under way.

    Raises:
        ModelError: the model cannot be quantized, or finds nothing in the frames that it is compared on.
        StreamError: an input cannot be read, or there are too few frames.
        UsageError: the model is quantized already.
    """
    size = options.compared.size
    calibrating, held_out = spread_apart(inputs, options.frames)
    bench = _Bench(name, network, options.recipe.runtime, held_out, options.compared)
    engine = OnnxEngine(network, "cpu")
    plain = Fed(engine, calibrating, size)
    calibrations = {0: Calibration(network, plain)}
    say(f"calibrating with {_told(calibrating)}, comparing on {_told(held_out)}")
    if options.clusters:
        calibrations[0].looks()  # only then is it known how many frames there are
        pool, _ = spread_apart(inputs, options.frames, _POOL)
        say(f"choosing from {_told(pool)}")
        picked = _picked(network, Fed(engine, pool, size), pool, options.clusters, len(plain.came))
        calibrations[options.clusters] = Calibration(network, Fed(engine, picked, size))
    attempts = []
    for keep in range(options.recipe.keep, KEPT_STEPS + 1 if options.search else options.recipe.keep + 1):
        tries = _tries(calibrations, replace(options.recipe, keep=keep), engine.card, bench, tried)
        best = best_of(tries, options.max_loss)
        if best.loss <= options.max_loss:
            return best
        attempts.append(best)
    return min(attempts, key=lambda attempt: attempt.loss)


def best_of(attempts: Sequence[Attempt], max_loss: float) -> Attempt:
    """Returns the best of one or two attempts, with the other as its rival.

    Of those that lose no more than they may it is the one of most worth, or else the one that loses least; of equal
    ones the first.
    """

    def rank(attempt: Attempt) -> tuple[bool, float]:
        will_do = attempt.loss <= max_loss
        return will_do, attempt.worth if will_do else -attempt.loss

    best, *rivals = sorted(attempts, key=rank, reverse=True)
    return replace(best, rival=rivals[0]) if rivals else best


def _picked(network: Path, fed: Fed, pool: Sequence[Sample], count: int, frames: int) -> list[Sample]:
    """Returns `frames` frames of `pool`, which `fed` gives: as many of each of `count` clusters, if there are."""
    looks = Calibration(network, fed).looks()
    return chosen(pool, [fed.came[i] for i in shared_out(clusters(looks, count), frames)])


def _tries(
    calibrations: dict[int, Calibration],
    recipe: Recipe,
    card: ModelCard,
    bench: _Bench,
    tried: Callable[[Attempt], None],
) -> list[Attempt]:
    """Returns what a recipe gives without clusters, and with frames that were chosen by them if there are any."""
    attempts = []
    for count, calibration in calibrations.items():
        how = f"{recipe}, {count} clusters" if count else str(recipe)
        onnx = calibration.quantized(recipe, card)
        attempts.append(Attempt(how, onnx, bench.compared(onnx, "int8"), recipe, count))
        tried(attempts[-1])
    return attempts


def halve(
    name: str,
    network: Path,
    inputs: Sequence[str],
    to: Half,
    runtime: Runtime,
    frames: int,
    compared: CompareOptions,
    say: Callable[[str], None],
) -> Attempt:
    """Returns the model with weights of 16 bits, compared on `frames` of the inputs: nothing calibrates it.

    Args:
        name: of the model.
        network: an ONNX file that has been vetted.
        inputs: files, folders or patterns, as `Sample` takes them.
        to: the kind of numbers.
        runtime: what both run on.
        frames: of all inputs together.
        compared: how.
        say: told what is under way.

    Raises:
        ModelError: it cannot be made, or the float model finds nothing in the frames.
        StreamError: an input cannot be read.
        UsageError: the model is quantized already.
    """
    onnx = halved(network, to, OnnxEngine(network, "cpu").card)
    bench = _Bench(name, network, runtime, spread(inputs, frames), compared)
    say(f"comparing on {_told(bench.held_out)}")
    return Attempt(f"{to} weights", onnx, bench.compared(onnx, to))


def _told(samples: Sequence[Sample]) -> str:
    """Returns in words how many frames there are at most, and of how many inputs."""
    frames, inputs = sum(len(sample.numbers()) for sample in samples), len(samples)
    return f"{frames} frame{'s' * (frames != 1)} of {inputs} input{'s' * (inputs != 1)}"


class Fed:
    """Gives what the network sees of each frame, (1, 3, H, W) float32, at each call anew.

    Attributes:
        came: of each picture of the last call the place of its input among the samples, and its number in it. Inputs
            may give fewer frames than they announce.

    Args:
        engine: that runs the network.
        samples: the frames.
        size: longest side of an input that is left open, pixels.
    """

    def __init__(self, engine: Engine, samples: Sequence[Sample], size: int) -> None:
        self._engine = engine
        self._samples = samples
        self._size = size
        self.came: list[tuple[int, int]] = []

    def __call__(self) -> Iterator[F32]:
        """Gives one picture after the other.

        Raises:
            StreamError: an input cannot be read.
        """
        self.came = []
        tap = _Tap(self._engine)
        detector = NetworkDetector(tap, DetectorOptions(size=self._size))
        for place, sample in enumerate(self._samples):
            for number, (_, frame) in zip(sample.numbers(), sample.frames(), strict=False):
                detector.detect([frame])
                self.came.append((place, number))
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
