"""Feeds spoilt model files to watchline: `python -m tests.faults.fuzz_models`.

Each file goes through what a user runs (`models import`, `models info`, `run`), in a process forked for it. An offence
is anything but acceptance or one clear line: a crash, a traceback, more than 10 s, more than 2 GB, code that ran, a
file written where none belongs, or a hurtful file accepted. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import importlib
import json
import lzma
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.faults.model_mutations import Mutant, Mutation, interleaved, mutants

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", ORT_DISABLE_TELEMETRY="1")  # a fork has one thread

MOST_S: Final = 10.0
MOST_BYTES: Final = 2_000_000_000
_NETWORKS: Final = Path(__file__).parent.parent / "parity" / "networks"
_UNFORESEEN: Final = re.compile(
    r"\w(Error|Exception|Warning|Fail)\b: |Traceback|internal error|0x[0-9a-f]{6}|ONNXRuntimeError|onnxruntime_src"
)


@dataclass
class Row:
    """A line of the table: what became of the mutants of one mutation."""

    count: int = 0
    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    peak_bytes: int = 0
    reasons: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Result:
    """What became of one mutant.

    Attributes:
        said: the line of each step that refused, by step.
        offences: what must not be.
        wall_s: time of the slowest step.
        peak_bytes: most memory of this process or one that it started.
    """

    said: dict[str, str]
    offences: list[str]
    wall_s: float
    peak_bytes: int

    @property
    def accepted(self) -> bool:
        return not self.said.keys() - {"describe"}


class Bench:
    """A folder for the mutants, with a cache, a canary and a log of what processes did."""

    def __init__(self, folder: Path) -> None:
        for name in ("onnxruntime", "watchline.detectors.network", "watchline.detectors.vetting"):
            importlib.import_module(name)  # once, for all forks
        self.folder = folder
        self.cache = folder / "cache"
        self.work = folder / "work"
        self.canary = folder / "canary"
        self.log = folder / "log"
        os.mkfifo(self.log)  # a pipe: what processes may write to files is bounded
        self._pipe = os.open(self.log, os.O_RDONLY | os.O_NONBLOCK)
        (folder / "hook").mkdir()
        shutil.copyfile(Path(__file__).with_name("model_watch.py"), folder / "hook" / "sitecustomize.py")
        self.environment = os.environ | {
            "PYTHONPATH": str(folder / "hook"),
            "FUZZ_LOG": str(self.log),
            "FUZZ_CACHE": str(self.cache),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, mutant: Mutant, suffix: str) -> Result:
        """Runs what a user would run on the mutant, in a fork, and judges it."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.cache, ignore_errors=True)
        self.work.mkdir()
        (self.work / "weights.bin").write_bytes(bytes(4096))
        path = self.work / f"mutant{suffix}"
        path.write_bytes(mutant.data)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            self._forked(path, write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        _, status, usage = os.wait4(child, 0)
        steps: list[list[Any]] = json.loads(answer) if answer else []
        said = {step: line for step, line, _, wrong in steps if line and not wrong}
        offences = [f"{step}: {line}" for step, line, _, wrong in steps if wrong]
        if status or not answer:
            offences.append(f"our own process ended with status {os.waitstatus_to_exitcode(status)}")
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        slowest = max((seconds for _, _, seconds, _ in steps), default=0.0)
        result = Result(said, offences, slowest, peak)
        offences.extend(self._judged(mutant, result))
        return result

    def _forked(self, path: Path, write: int) -> None:
        """Is the fork: runs all steps, writes what came of each, and never returns."""
        os.environ.update(self.environment)
        os.chdir(self.work)
        signal.alarm(60)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        status = 1
        try:
            os.write(write, json.dumps(list(_steps(path, self.cache))).encode())
            status = 0
        finally:
            os._exit(status)

    def noted(self) -> bytes:
        """Returns what processes did since the last call."""
        try:
            return os.read(self._pipe, 1 << 16)
        except BlockingIOError:
            return b""

    def _judged(self, mutant: Mutant, result: Result) -> Iterator[str]:
        if result.wall_s > MOST_S:
            yield f"took {result.wall_s:.1f} s"
        if result.peak_bytes > MOST_BYTES:
            yield f"took {result.peak_bytes:,} bytes"
        if self.canary.exists():
            self.canary.unlink()
            yield "code ran: the canary is there"
        noted = self.noted()
        if noted:
            yield f"did what none should: {noted[:500].decode(errors='replace')}"
        extra = {path.name for path in self.work.iterdir()} - {"weights.bin", "mutant.pt", "mutant.onnx"}
        extra |= {path.name for path in self.folder.iterdir()} - {"work", "cache", "hook", "log"}
        if extra:
            yield f"left behind {sorted(extra)}"
        for path in self.cache.glob("*") if self.cache.is_dir() else ():
            if path.suffix not in (".onnx", ".sha256", ".vetted"):
                yield f"left {path.name} in the cache"
        # A crash of ONNX Runtime is contained; one of our reader is a fault.
        onnx = (self.work / "mutant.onnx").exists()
        for step, line in result.said.items():
            if not line.isprintable() or len(line) > 1200:
                yield f"{step} is not one clear line: {line[:300]!a}"
            elif _UNFORESEEN.search(line) or ("ended with" in line and not onnx):
                yield f"{step} did not foresee it: {line[:300]}"
        if result.accepted and not mutant.mutation.passes:
            yield "accepted, though it must not be"


def _steps(path: Path, cache: Path) -> Iterator[tuple[str, str, float, bool]]:
    """Yields name, refusal, seconds and whether it is an offence, for each thing that a user does with the file."""
    from watchline.detectors.importer.convert import describe, import_checkpoint
    from watchline.detectors.vetting import vet
    from watchline.streams.errors import WatchlineError

    onnx = path

    def prepare() -> None:
        nonlocal onnx
        if path.suffix == ".onnx":
            vet(path, cache)
        else:
            onnx = import_checkpoint(path, cache)

    for name, step in (("describe", lambda: describe(path)), ("prepare", prepare), ("run", lambda: _detect(onnx))):
        start = time.perf_counter()
        refusal, wrong = "", False
        try:
            step()
        except WatchlineError as error:
            refusal = str(error)
        except Exception as error:  # noqa: BLE001  # that it is none of ours is the offence
            refusal, wrong = f"{type(error).__name__}: {error}"[:500], True
        yield name, refusal, time.perf_counter() - start, wrong
        if name == "prepare" and (refusal or wrong):
            return


def _detect(onnx: Path) -> None:
    """Detects in a grey picture and in a noisy one, as `watchline run` would."""
    import numpy as np

    from watchline.detectors.engine import OnnxEngine
    from watchline.detectors.network import DetectorOptions, NetworkDetector
    from watchline.streams.frame import ClockSource, Frame, Picture

    detector = NetworkDetector(OnnxEngine(onnx, "cpu"), DetectorOptions(size=320))
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    pictures = [np.full_like(noise, 114), noise]
    detector.detect(
        [Frame("cam", i, i, 1e9 + i, ClockSource.FILE, Picture.from_rgb(p)) for i, p in enumerate(pictures)]
    )


def _checkpoints() -> dict[str, bytes]:
    return {path.name[:-3]: lzma.decompress(path.read_bytes()) for path in sorted(_NETWORKS.glob("*.pt.xz"))}


def _onnx(folder: Path) -> dict[str, bytes]:
    """Returns sound networks as ONNX: of any size and of a fixed one."""
    from watchline.detectors.importer.convert import import_checkpoint

    found = {}
    for name, size in (("yolov8n.pt", None), ("yolov8n-seg.pt", (64, 96)), ("yolov7-tiny-face.pt", (128, 64))):
        path = folder / name
        path.write_bytes(_checkpoints()[name])
        found[f"{name}.onnx"] = import_checkpoint(path, folder, size).read_bytes()
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz_models", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=("checkpoint", "onnx"), help="one kind of file; both where none is named")
    parser.add_argument("--count", type=int, default=500, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant, to see one again")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long")
    parser.add_argument("--keep", type=Path, help="folder for every offending file and its reason")
    parser.add_argument("--lines", action="store_true", help="show what is said of every mutant")
    parser.add_argument("--table", action="store_true", help="a line for every mutation instead of every kind")
    return parser.parse_args()


def _mutations(kind: str, bench: Bench) -> tuple[list[Mutation], dict[str, bytes]]:
    if kind == "checkpoint":
        from tests.faults.model_checkpoint_mutations import checkpoint_mutations

        return interleaved(checkpoint_mutations(str(bench.canary))), _checkpoints()
    from tests.faults.model_onnx_mutations import onnx_mutations

    with tempfile.TemporaryDirectory() as folder:
        return interleaved(onnx_mutations()), _onnx(Path(folder))


def _keep(folder: Path, mutant: Mutant, suffix: str, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", f"{mutant.number}-{mutant.title}")[:100]
    (folder / f"{name}{suffix}").write_bytes(mutant.data)
    (folder / f"{name}.txt").write_text("\n".join([mutant.title, *result.offences, *map(str, result.said.items())]))


def _print(rows: dict[str, Row]) -> None:
    print(f"\n{'mutation':58} {'count':>5} {'refused':>7} {'accepted':>8} {'slowest':>8} {'peak':>7}")
    for name, row in sorted(rows.items()):
        print(
            f"{name[:58]:58} {row.count:5} {row.refused:7} {row.accepted:8} {row.slowest_s:6.1f} s"
            f" {row.peak_bytes // 1_000_000:4} MB"
        )
        for reason in sorted(row.reasons):
            print(f"    accepted: {reason}")


def _fuzz(kind: str, options: argparse.Namespace, until: float) -> int:
    """Runs the mutants of one kind and returns how many offended."""
    suffix = ".pt" if kind == "checkpoint" else ".onnx"
    rows: dict[str, Row] = {}
    offences = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder).resolve())
        mutations, origins = _mutations(kind, bench)
        for mutant in mutants(mutations, origins, options.seed, options.count):
            if mutant.number < options.first:
                continue
            if time.monotonic() > until:
                break
            result = bench.run(mutant, suffix)
            if options.lines:
                print(f"{mutant.number} {mutant.title}: {result.said or 'accepted'}"[:500])
            if result.offences:
                offences += 1
                print(f"\noffence {mutant.number}, {mutant.title}: {'; '.join(result.offences)[:600]}")
                if options.keep:
                    _keep(options.keep, mutant, suffix, result)
            _note(
                rows.setdefault(mutant.title.rpartition(" (")[0] if options.table else mutant.mutation.kind, Row()),
                mutant,
                result,
            )
            if sys.stdout.isatty() or mutant.number % 50 == 0:
                print(f"\r{kind} {mutant.number + 1} of {options.count}, {offences} offences", end="", flush=True)
    _print({f"{kind}, {name}": row for name, row in rows.items()})
    return offences


def _note(row: Row, mutant: Mutant, result: Result) -> None:
    row.count += 1
    row.accepted += result.accepted
    row.refused += not result.accepted
    row.slowest_s = max(row.slowest_s, result.wall_s)
    row.peak_bytes = max(row.peak_bytes, result.peak_bytes)
    if result.accepted:
        row.reasons.add(mutant.mutation.passes)


def main() -> int:
    """Returns 1 where anything offended."""
    options = _arguments()
    until = time.monotonic() + (options.seconds or 1e9)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kinds = [options.kind] if options.kind else ["checkpoint", "onnx"]
    offences = sum(_fuzz(kind, options, until) for kind in kinds)
    print(f"{offences} offences, seed {options.seed}")
    return int(offences > 0)


if __name__ == "__main__":
    sys.exit(main())
