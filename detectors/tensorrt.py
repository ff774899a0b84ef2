"""TensorRT through ONNX Runtime: how an engine is built in a process of its own, kept, and opened."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from watchline.detectors.card import ModelCard
from watchline.detectors.engine import CUDA_OPTIONS, Engine, EngineInfo, OnnxEngine, start_session
from watchline.detectors.engine_cache import EngineCache, EngineKey, Entry, is_whole
from watchline.detectors.gpu import Platform
from watchline.detectors.importer.description import hash_file
from watchline.detectors.onnx_header import read_header
from watchline.detectors.runtime import load_onnxruntime
from watchline.detectors.swapping import Size
from watchline.detectors.warming import warm_up
from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

NETWORK: Final = "network.onnx"  # ONNX Runtime looks for its engine under a name made of that of the model's file
DEFAULT_BATCH: Final = (1, 8, 8)
BUILD_DEADLINE_S: Final = 3600.0
PRECISIONS: Final = {"tensorrt": "fp16", "tensorrt-f32": "fp32"}

_PROVIDER: Final = "TensorrtExecutionProvider"
_WORKSPACE_BYTES: Final = 2 << 30
Build: TypeAlias = Callable[[EngineKey, Path], None]
Open: TypeAlias = Callable[[Entry, ModelCard], Engine]


def provider_options(folder: Path, key: EngineKey, name: str) -> dict[str, str]:
    """Returns what ONNX Runtime is told for an engine that is, or will be, in `folder`.

    Args:
        folder: of the engine.
        key: what it is for.
        name: of the network's input.
    """
    least, usual, most = (f"{name}:{count}x3x{key.height}x{key.width}" for count in key.batch)
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_fp16_enable": str(key.precision == "fp16"),
        "trt_max_workspace_size": str(_WORKSPACE_BYTES),
        "trt_profile_min_shapes": least,
        "trt_profile_opt_shapes": usual,
        "trt_profile_max_shapes": most,
    }


def open_built(folder: Path, key: EngineKey, card: ModelCard, name: str) -> OnnxEngine:
    """Returns an engine on TensorRT, built if its files are not in `folder`, which holds `NETWORK`.

    Parts of the network that TensorRT does not claim are left to CUDA and the processor, where these know them.

    Raises:
        ModelError: TensorRT does not start, or refuses the network.
    """

    def start(path: Path) -> tuple[InferenceSession, EngineInfo]:
        providers = [
            (_PROVIDER, provider_options(folder, key, name)),
            ("CUDAExecutionProvider", CUDA_OPTIONS),
            ("CPUExecutionProvider", {}),
        ]
        session = start_session(path, providers)
        if session.get_providers()[0] != _PROVIDER:
            raise ModelError(f"{_PROVIDER} did not start; see `watchline doctor`")
        runtime = f"onnxruntime {load_onnxruntime().__version__}, TensorRT {key.tensorrt}"
        return session, EngineInfo(runtime, "cuda", f"{_PROVIDER} {key.precision}")

    return OnnxEngine(folder / NETWORK, card=card, start=start, most=key.batch[2])


def open_entry(entry: Entry, card: ModelCard) -> Engine:
    """Returns the engine of an entry of the cache, warmed up.

    Raises:
        ModelError: it does not start; or ONNX Runtime did not take it, and built another.
    """
    engine = open_built(entry.folder, entry.key, card, input_name(entry.folder / NETWORK))
    warm_up(engine, (entry.key.height, entry.key.width), batch=entry.key.batch[2])
    if not is_whole(entry.folder):
        raise ModelError(f"ONNX Runtime did not take the engine in {entry.folder}, and built it anew")
    return engine


def input_name(path: Path) -> str:
    """Returns the name of the one input of a picture network.

    Raises:
        ModelError: it has another number of them.
    """
    inputs = read_header(path).inputs
    if len(inputs) != 1:
        raise ModelError(f"{path}: not a picture network: want one input, it has {len(inputs)}")
    return inputs[0].name


def build_in_child(card: ModelCard, deadline_s: float = BUILD_DEADLINE_S) -> Build:
    """Returns what builds an engine in a process of its own, which may crash, hang and take memory as it likes.

    It ends when this process does, and when `deadline_s` have passed.
    """

    def build(key: EngineKey, folder: Path) -> None:
        job = {"key": dataclasses.asdict(key), "folder": str(folder), "card": dict(card.to_metadata())}
        run_child([sys.executable, "-P", "-m", "watchline.detectors.tensorrt_build", json.dumps(job)], deadline_s)

    return build


def run_child(command: list[str], deadline_s: float) -> None:
    """Runs a builder to its end.

    Args:
        command: it prints `{"ok": ...}` or `{"error": "the reason"}` as its last line, and ends when its stdin does.
        deadline_s: when to kill it.

    Raises:
        ModelError: it failed, crashed or took too long.
    """
    theirs, ours = os.pipe()
    try:
        child = subprocess.Popen(  # noqa: S603  # our own module, no shell
            command,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the terminal is for this process, which then ends that one
        )
        os.close(theirs)
        theirs = -1
        with child:
            try:
                said, _ = child.communicate(timeout=deadline_s)
            finally:
                child.kill()
    except OSError as error:
        raise ModelError(f"the process that builds cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"not built within {deadline_s:g} s") from error
    finally:
        os.close(ours)  # held open until now: its end tells the child that this process has gone
        if theirs >= 0:
            os.close(theirs)
    reason = _reason(said, child.returncode)
    if reason:
        raise ModelError(reason)


def _reason(said: bytes, status: int) -> str:
    """Returns why a builder failed, from what it printed and its exit status; "" if it did not."""
    try:
        answer = json.loads(said.strip().rpartition(b"\n")[2])
        if "ok" in answer:
            return ""
        return str(answer["error"])
    except (ValueError, TypeError, KeyError):
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"the process that builds it ended with {how}"


class TensorRtWorkshop:
    """Finds engines in a cache, and builds those that are not there: a `Workshop` of `SwappingEngine`.

    Args:
        network: the ONNX file, and its SHA-256.
        card: what it is.
        device: "tensorrt" or "tensorrt-f32".
        platform: what engines are for.
        cache: where they are kept.
        build: builds one into a folder, which holds the network already.
        open_built: opens one.
        batch: least, usual and most pictures a call of an engine that is built.
    """

    name = "TensorRT"

    def __init__(
        self,
        network: tuple[Path, str],
        card: ModelCard,
        device: str,
        platform: Platform,
        cache: EngineCache,
        build: Build,
        open_built: Open = open_entry,
        batch: tuple[int, int, int] = DEFAULT_BATCH,
    ) -> None:
        self._network, self._card, self.device, self._platform = network, card, device, platform
        self._cache, self._make, self._open, self._batch = cache, build, open_built, batch

    def key(self, size: Size) -> EngineKey:
        """Returns the key of the engine for pictures of `size`."""
        return EngineKey.of(self._network[1], self._platform, PRECISIONS[self.device], size, self._batch)

    def find(self, size: Size) -> Engine | None:
        """Returns the engine that was built before for `size`, or for it and another batch; None where none was.

        Raises:
            ModelError: there is one, and it does not start; or the last build failed, and none was asked for since.
        """
        key = self.key(size)
        entry = self._cache.best(key)
        if entry is not None:
            try:
                return self._open(entry, self._card)
            except ModelError as error:  # not remembered: a GPU that is full now may not be so at the next start
                hint = "if it stays so, `watchline models build --force` builds the engine anew"
                raise ModelError(f"{error} ({hint})") from error
        reason = self._cache.failure(key)
        if reason:
            raise ModelError(f"{reason} (`watchline models build` tries again)")
        return None

    def build(self, size: Size) -> Engine:
        """Returns an engine that it builds and keeps; a failure is remembered.

        Raises:
            ModelError: it could not be built, or does not start.
            OutputError: it could not be kept.
        """
        entry = self.make(size)
        try:
            return self._open(entry, self._card)
        except ModelError as error:
            self._cache.remember_failure(entry.key, str(error))  # or each start would build it, in vain
            raise

    def make(self, size: Size) -> Entry:
        """Builds and keeps an engine, as `build`, without starting it here."""
        key = self.key(size)
        started = time.monotonic()
        with self._cache.building(key) as (folder, put):
            try:
                shutil.copyfile(self._network[0], folder / NETWORK)
            except OSError as error:
                raise ModelError(f"{self._network[0]}: cannot be copied to {folder}: {error.strerror}") from error
            if hash_file(folder / NETWORK) != key.model:
                raise ModelError(f"{self._network[0]}: changed while it was in use; start again")
            try:
                self._make(key, folder)
            except ModelError as error:
                reason = str(error).removeprefix(f"{folder / NETWORK}: ")  # which will be gone
                self._cache.remember_failure(key, reason)
                raise ModelError(reason) from error
            return put(time.monotonic() - started)
