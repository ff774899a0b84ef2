"""`python -m tests.soak.daemon --minutes 120 --seed 7`: a daemon on cameras that fail, watched by a second process.

Faults are drawn at random, one of a camera and one of the system at a time. The daemon itself is killed or restarted
only in the first fifth and the last tenth: between them it lives once, so that what it holds can be seen to grow.
Prints a report, and leaves it in --out with all that was measured. Ends with 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

from tests.soak.daemon_board import Board, wait_until
from tests.soak.daemon_faults import CAMERA_FAULTS, DAEMON_FAULTS, SYSTEM_FAULTS, Fault, Outcome, befall
from tests.soak.daemon_journals import check_end
from tests.soak.daemon_report import report
from tests.soak.daemon_store import check_store
from tests.soak.daemon_yard import Yard

ROOT: Final = Path(__file__).resolve().parent.parent.parent
START_S: Final = 60.0  # within which all cameras give a first picture
CAMERA_PART: Final = 0.8  # of all rounds have a fault of a camera
SYSTEM_PART: Final = 0.6
DAEMON_PART: Final = 0.2  # of the rounds in which the daemon may be ended
EARLY: Final = 0.2  # before this part of the time, and after the next, it may
LATE: Final = 0.9
_DEATHS_A_MINUTE: Final = 3  # of the detector: five more, and it would rightly be left alone for a minute
_QUIET_S: Final = (4.0, 25.0)
_SHORT_QUIET_S: Final = (1.0, 4.0)
_SHORT_S: Final = 240.0


@dataclass(frozen=True, slots=True)
class Soak:
    """What is asked for."""

    seed: int
    seconds: float
    folder: Path


class Draw:
    """Draws faults; what has not happened yet is likelier.

    Args:
        seed: of all chance.
        seconds: of the soak.
    """

    def __init__(self, seed: int, seconds: float) -> None:
        self._random = Random(seed)
        self._seconds = seconds
        self._drawn: Counter[str] = Counter()
        self._deaths_s: list[float] = []
        self._late_done = self._early_done = False

    def next(self, at_s: float) -> list[tuple[Fault, Random]]:
        """Returns what happens next, at the same time, each with its own chance."""
        part = at_s / self._seconds
        may_end = part < EARLY or part >= LATE
        due = (part >= LATE and not self._late_done) or (EARLY / 2 < part < EARLY and not self._early_done)
        if may_end and (due or self._random.random() < DAEMON_PART):
            self._late_done |= part >= LATE
            self._early_done |= part < EARLY
            return [self._one(DAEMON_FAULTS, at_s)]
        with_camera = self._random.random() < CAMERA_PART
        faults = [self._one(CAMERA_FAULTS, at_s)] if with_camera else []
        if not faults or self._random.random() < SYSTEM_PART:
            faults.append(self._one(SYSTEM_FAULTS, at_s))
        return faults[-1:] if faults[-1][0].alone else faults

    def quiet_s(self) -> float:
        """Returns for how long nothing happens."""
        return self._random.uniform(*(_SHORT_QUIET_S if self._seconds < _SHORT_S else _QUIET_S))

    def _one(self, faults: Sequence[Fault], at_s: float) -> tuple[Fault, Random]:
        self._deaths_s = [death_s for death_s in self._deaths_s if at_s - death_s < 60]
        fit = [
            fault
            for fault in faults
            if not (fault.long_s and self._seconds < _SHORT_S)
            and not (_kills_detector(fault) and len(self._deaths_s) >= _DEATHS_A_MINUTE)
        ]
        (fault,) = self._random.choices(fit, [fault.weight / (1 + 4 * self._drawn[fault.name]) for fault in fit])
        self._drawn[fault.name] += 1
        if _kills_detector(fault):
            self._deaths_s.append(at_s)
        return fault, Random(self._random.getrandbits(64))


def _kills_detector(fault: Fault) -> bool:
    return fault.name in ("detector killed", "detector hung")


def main() -> None:
    """Runs a soak; ends with 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.daemon", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, help="of the faults; drawn and printed where left out")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), metavar="FOLDER")
    arguments = parser.parse_args()
    seed = SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}: {arguments.minutes:g} minutes", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    told = soak(Soak(seed, 60 * arguments.minutes, arguments.out))
    text = report(told)
    (arguments.out / "soak.json").write_text(json.dumps(told, indent=1))
    (arguments.out / "soak.txt").write_text(text)
    print(text, flush=True)
    if told["wrong"]:
        sys.exit(1)


def soak(asked: Soak) -> dict[str, Any]:
    """Runs a soak; returns what was found, with "wrong" empty where all was well."""
    begun_s = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        board = Board(folder / "board.json")
        with Yard(folder, board, int(asked.seconds) + 900) as yard:
            with _verifier(board, folder) as verdict:
                wrong = _run(yard, asked, begun_s, outcomes)
                time.sleep(2)
                wrong += [f"at the end: {end}" for end in [yard.end_daemon()] if end]
            wrong += check_end(yard.daemon.storage)
            wrong += _said(yard.daemon.lines)
            (asked.folder / "daemon.log").write_text("\n".join(yard.daemon.lines) + "\n")
        found: dict[str, Any] = json.loads(verdict.read_text()) if verdict.exists() else {"wrong": ["no verdict"]}
        wrong += [f"at the end: {problem}" for problem in check_store(yard.store, found.get("stored", 0))]
    wrong += [f"{one.begun_s:.1f} s, {one.name}: {problem}" for one in outcomes for problem in one.wrong]
    return {
        **found,
        "seed": asked.seed,
        "minutes": asked.seconds / 60,
        "faults": [asdict(one) for one in outcomes],
        "wrong": wrong + found["wrong"],
    }


def _run(yard: Yard, asked: Soak, begun_s: float, outcomes: list[Outcome]) -> list[str]:
    """Lets faults happen until the time is over; returns what ended that early."""
    draw = Draw(asked.seed, asked.seconds)
    started = wait_until(lambda: len(counts := yard.processed()) and min(counts.values()) > 3, START_S)
    if started is None:
        return [f"not all cameras gave a picture within {START_S:g} s: {yard.processed()}"]
    with ThreadPoolExecutor(2) as pool:
        while (at_s := time.monotonic() - begun_s) < asked.seconds:
            faults = draw.next(at_s)
            bound_s = max(fault.bound_s for fault, _ in faults)  # what happens at the same time delays the other, too
            under_way = [pool.submit(befall, yard, fault, random, begun_s, bound_s) for fault, random in faults]
            for one in under_way:
                try:
                    outcome = one.result()
                except Exception as error:  # noqa: BLE001  # the others are undone first
                    return [f"{at_s:.1f} s: the soak itself failed ({type(error).__name__}: {error})"]
                outcomes.append(outcome)
                print(_line(outcome), flush=True)
            if yard.has_ended():
                return [f"{at_s:.1f} s: the daemon ended by itself: {yard.daemon.lines[-5:]}"]
            time.sleep(draw.quiet_s())
    return []


@contextmanager
def _verifier(board: Board, folder: Path) -> Iterator[Path]:
    """Runs the verifier within the block; yields where its verdict will be."""
    verdict = folder / "verdict.json"
    command = [sys.executable, "-m", "tests.soak.daemon_verifier", str(board.path), str(folder / "storage")]
    process = subprocess.Popen([*command, str(verdict)], cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        yield verdict
        board.over()
        process.wait(30)
    finally:
        process.kill()
        process.wait(10)


def _said(lines: Sequence[str]) -> list[str]:
    """Returns what a log should not hold."""
    return [f"in the log: {line}" for line in lines if "Traceback" in line or "Error:" in line][:20]


def _line(outcome: Outcome) -> str:
    well = f"well after {outcome.recovered_s:.1f} s" if outcome.recovered_s is not None else "NOT WELL AGAIN"
    hit = f" of {', '.join(outcome.cameras)}" if outcome.cameras else ""
    wrong = "".join(f"\n         wrong: {problem}" for problem in outcome.wrong)
    return f"{outcome.begun_s:7.1f} s {outcome.name}{hit}: {outcome.lasted_s:.1f} s, {well}{wrong}"


if __name__ == "__main__":
    main()
