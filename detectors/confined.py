"""Work on foreign files in a process of its own, with bounded memory, time and disk.

The parent calls `run` or `exchange`; the module that it names ends in `sys.exit(answer(...))`. The answer is one line
of JSON on stdout: `{"ok": ...}`, or `{"error": "the reason"}` with exit status 1. Bytes may follow the line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from watchline.streams.errors import ModelError, WatchlineError

if sys.platform != "win32":
    import resource

_KILL: Final = 9  # SIGKILL, which Windows does not know
_MAX_REASON: Final = 1000
_PATIENCE: Final = 1.5  # seconds that a busy machine may take for a second of work


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the process may take. Windows bounds the time alone, macOS no memory.

    Attributes:
        memory_bytes: address space.
        cpu_s: processor time; it may last `_PATIENCE` times as long.
        written_bytes: size of a file that it writes; by default enough for Python's own compiled modules.
    """

    memory_bytes: int
    cpu_s: int
    written_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class WithBytes:
    """What work may return in place of its answer: the answer, and bytes beside it.

    Attributes:
        said: the answer.
        data: the bytes.
    """

    said: object
    data: bytes | memoryview


def run(module: str, job: Mapping[str, object], bounds: Bounds, source: Path) -> Any:
    """Runs `python -m MODULE JOB BOUNDS`, both JSON, and returns its answer.

    Args:
        module: dotted name of one of our own.
        job: what it is to do.
        bounds: what it may take.
        source: the foreign file, which errors name.

    Raises:
        ModelError: it refused, crashed, or took too much.
    """
    return exchange(module, job, bounds, source, b"", ModelError)[0]


def exchange(
    module: str,
    job: Mapping[str, object],
    bounds: Bounds,
    source: Path,
    given: bytes,
    error: type[WatchlineError],
) -> tuple[Any, memoryview]:
    """Does the same as `run` with bytes on the way: nothing of them touches a disk.

    Args:
        module: dotted name of one of our own.
        job: what it is to do.
        bounds: what it may take.
        source: the foreign file, which errors name.
        given: on its stdin.
        error: raised where it refused, crashed, or took too much.

    Returns:
        Its answer, and the bytes that follow it.
    """
    # -P: modules in the current folder are not imported. One thread: pools reserve address space, which is bounded.
    command = [sys.executable, "-P", "-m", module, json.dumps(job), json.dumps(asdict(bounds))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603  # our own module, no shell
            command,
            input=given,
            capture_output=True,
            timeout=bounds.cpu_s * _PATIENCE,
            check=False,
            env=environment,
        )
    except OSError as problem:
        raise error(f"{source.name}: the process to read it cannot be started: {problem.strerror}") from problem
    except subprocess.TimeoutExpired as problem:
        limit = f"{bounds.cpu_s * _PATIENCE:.0f} s"
        raise error(f"{source.name}: not read within {limit}; try again on a less busy machine") from problem
    try:
        return _understood(done)
    except (ValueError, TypeError, KeyError, RecursionError):  # nor is the process vouched for that read such a file
        raise error(f"{source.name}: {_end(done, bounds)}") from None
    except _RefusedError as refusal:
        raise error(str(refusal)) from None


class _RefusedError(Exception):
    """The process says why not."""


def answer(bounds: str, source: Path, work: Callable[[], object]) -> int:
    """Does `work` within `bounds`, as `run` wrote them, prints what it returns and returns the exit status."""
    limits = Bounds(**json.loads(bounds))
    _confine(limits)
    try:
        done = work()
        said, data = (done.said, done.data) if isinstance(done, WithBytes) else (done, b"")
        sys.stdout.buffer.write(json.dumps({"ok": said}).encode() + b"\n")
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return 0
    except MemoryError:
        reason = f"{source.name}: needs more than {limits.memory_bytes:,} bytes of memory"
    except WatchlineError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  # the border of the process: whatever it is becomes one line
        reason = f"{source.name}: {type(error).__name__}: {error}"
    print(json.dumps({"error": _one_line(reason)[:_MAX_REASON]}))  # noqa: T201
    return 1


def _confine(bounds: Bounds) -> None:
    """Bounds what this process may take where the system can, so that a hostile file fails here and not the machine."""
    if sys.platform != "win32":
        _limit(resource.RLIMIT_AS, bounds.memory_bytes)
        _limit(resource.RLIMIT_CPU, bounds.cpu_s)
        _limit(resource.RLIMIT_FSIZE, bounds.written_bytes)
        _limit(resource.RLIMIT_CORE, 0)  # a crash leaves no file behind


def _limit(kind: int, limit: int) -> None:
    if sys.platform != "win32":
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (bound, hard))
        except ValueError:  # macOS refuses some; the time limit of the parent still holds
            return


def _understood(done: subprocess.CompletedProcess[bytes]) -> tuple[Any, memoryview]:
    """Returns the answer of the process that has ended, and what follows it.

    Raises:
        ValueError: it gave none; so do TypeError, KeyError and RecursionError say.
        _RefusedError: it gave a reason instead.
    """
    line = done.stdout.find(b"\n") + 1
    found = json.loads(done.stdout[:line])
    if "error" in found:
        raise _RefusedError(_one_line(str(found["error"]))[:_MAX_REASON])
    return found["ok"], memoryview(done.stdout)[line:]


def _end(done: subprocess.CompletedProcess[bytes], bounds: Bounds) -> str:
    """Returns how a process ended that gave no answer."""
    if sys.platform != "win32" and done.returncode == -signal.SIGXCPU:
        return f"not read within {bounds.cpu_s} s of processor time"
    last = _one_line(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])[:300]
    if done.returncode >= 0:
        how = f"status {done.returncode}"
    elif done.returncode in (-signal.SIGABRT, -_KILL):
        how = f"signal {-done.returncode}, out of memory?"
    else:
        how = f"signal {-done.returncode}: it is damaged or hostile"
    return f"the process that reads it ended with {how}" + (f": {last}" if last else "")


def _one_line(text: str) -> str:
    """Returns `text` on one line, without what a terminal would obey instead of showing it."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
