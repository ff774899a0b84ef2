"""An engine for isolated processes whose first number of a batch says what it does: a fault, or twice the batch."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.detectors.small_network import CARD
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import EngineInfo, Fallback
from watchline.detectors.isolated_engine import IsolatedEngine
from watchline.detectors.isolated_process import IsolationBounds
from watchline.detectors.restarts import Restarts
from watchline.streams.errors import ModelError

ROOT: Final = Path(__file__).parents[2]
OPENER: Final = "tests.detectors.isolated_inner:open_inner"
EXIT, ABORT, HANG, SPIN, EAT, REFUSE, DEFECT, FALL, ENVIRONMENT, FLOOD, NONSENSE, SLOW = range(-1, -13, -1)

SAID: Final = (  # in place of an answer
    b".[]",
    b".{",
    b"?",
    b"." + b"[" * 20_000,
    b'.{"number": 1}',
    b'.{"number": 1, "do": "done", "outputs": [["<f4", [1000000000000, 1000000000000]]]}',
    b'.{"number": 1, "do": "done", "outputs": [["O", [1]]]}',
    b'.{"number": 1, "do": "done", "outputs": [["<f4", [-1]]]}',
    b'.{"number": 1, "do": "room", "bytes": "x"}',
    b'.{"number": 1, "do": "done", "outputs": [], "news": 9, "info": []}',
)


def picture(order: int = 0, side: int = 8, number: int = 1) -> F32:
    """Returns a batch (number, 3, side, side) that has the engine do what `order` says."""
    batch = np.arange(number * 3 * side * side, dtype=np.float32).reshape(number, 3, side, side)
    batch[0, 0, 0, 0] = order
    return batch


def isolated(
    folder: Path,
    workers: int = 1,
    bounds: IsolationBounds | None = None,
    restarts: Restarts | None = None,
    **script: Any,
) -> IsolatedEngine:
    """Returns an isolated engine whose opening follows a script; see `open_inner`."""
    path = folder / "inner.json"
    path.write_text(json.dumps(script))
    return IsolatedEngine(
        path, "cpu", "", workers, folder, name="people", bounds=bounds, restarts=restarts, opener=OPENER
    )


def open_inner(path: Path, device: str, family: str, workers: int, engines: Path) -> InnerEngine:
    """Opens the engine. `fault`: "exit" or "hang" as it opens; `labels`: how many; `once`: a file, made at first."""
    script: dict[str, Any] = json.loads(path.read_text())
    once = path.with_suffix(".once")
    if once.exists() or not script.get("later"):
        match script.get("fault"):
            case "exit":
                os._exit(4)
            case "hang":
                time.sleep(100)
            case "error":
                raise ModelError(f"{path}: damaged")
    once.touch()
    return InnerEngine(int(script.get("labels", 2)), path)


class InnerEngine:
    """Gives twice the batch, its sum as a whole number, and nothing in an array of no rows."""

    def __init__(self, labels: int, path: Path) -> None:
        self._card = replace(CARD, labels=tuple(f"label {i}" for i in range(labels)))
        self._info = EngineInfo("inner 1", "cpu", "Inner")
        self._path = path
        self._eaten: list[Any] = []

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def card(self) -> ModelCard:
        return self._card

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        return 8, 8

    def run(self, batch: F32) -> tuple[F32, ...]:
        order = int(batch[0, 0, 0, 0])
        if order < 0:
            (self._ends if order >= EAT else self._oddities)(order, batch)
        whole = np.array([int(batch[:, :, 1:].sum())])
        return batch * 2, whole, np.empty((len(batch), 0, 4), np.float32)

    def _ends(self, order: int, batch: F32) -> None:
        match order:
            case _ if order == EXIT:
                os._exit(3)
            case _ if order == ABORT:
                os.abort()
            case _ if order == HANG:
                time.sleep(100)
            case _ if order == SPIN:
                ctypes.PyDLL(None).sleep(100)  # holds the interpreter
            case _ if order == EAT:
                for _ in range(60):
                    self._eaten.append(np.ones(1 << 21))  # 16 MiB
                    time.sleep(0.02)

    def _oddities(self, order: int, batch: F32) -> None:
        match order:
            case _ if order == SLOW:
                time.sleep(0.5)
            case _ if order == REFUSE:
                raise ModelError("CPU failed on purpose")
            case _ if order == NONSENSE:
                os.write(int(sys.argv[2]), SAID[int(batch[0, 0, 0, 1])])
            case _ if order == DEFECT:
                raise KeyError("a defect")
            case _ if order == FALL:
                self._info = replace(self._info, note="it fell", fallbacks=(Fallback("cuda", "cpu", "on purpose"),))
            case _ if order == ENVIRONMENT:
                self._path.with_suffix(".environment").write_text(json.dumps(dict(os.environ)))
            case _ if order == FLOOD:
                for i in range(100):
                    logging.getLogger("watchline.detectors").warning("line %d", i)
                sys.stderr.write("words\n" * 1000)
