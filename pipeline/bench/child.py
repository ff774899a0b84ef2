"""A side's process, as its parent sees it: started, asked, and always ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from watchline.streams.errors import ModelError

_START_S: Final = 180.0  # PyTorch loads for many seconds on a busy machine
_END_S: Final = 5.0
_MOST_SAID: Final = 300


class Child:
    """A process that answers lines of JSON by lines of JSON; a context manager that ends it.

    Args:
        name: whose side it is, for errors.
        command: what to start.
        threads: that its libraries may use; they read it once, as they are loaded.
        environment: more variables for it.

    Raises:
        ModelError: it cannot be started or is not ready in time; one line says why.
    """

    def __init__(self, name: str, command: Sequence[str], threads: int, environment: Mapping[str, str]) -> None:
        self._name = name
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        variables = {**os.environ, **dict.fromkeys(names, str(threads)), **environment}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`; a pipe that nobody reads would fill
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own file, no shell
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=variables
            )
        except OSError as error:
            self._said.close()
            raise ModelError(f"{name}: {command[0]} cannot be started: {error.strerror}") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        try:
            self.facts: dict[str, Any] = self._answer(_START_S)
        except BaseException:
            self.close(at_once=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(at_once=error is not None)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, request: Mapping[str, object], limit_s: float) -> Any:
        """Returns the answer to `request`.

        Raises:
            ModelError: it failed, ended, or took longer than `limit_s`.
        """
        with contextlib.suppress(OSError):  # it has ended: its answer, or the lack of one, says why
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()
        return self._answer(limit_s)

    def close(self, *, at_once: bool = False) -> None:
        """Ends the process: it does so by itself when there are no more requests, and is killed where it does not."""
        if at_once:
            self._process.kill()
        try:
            with contextlib.suppress(OSError):
                self._stdin.close()
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        except BaseException:
            self._process.kill()
            raise
        finally:
            self._process.wait()
            self._stdout.close()
            self._said.close()

    def _answer(self, limit_s: float) -> Any:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(limit_s, give_up)
        timer.start()
        try:
            line = self._stdout.readline()
        finally:
            timer.cancel()
        try:
            answer = json.loads(line)
        except ValueError:
            what = f"no answer within {limit_s:.0f} s" if late.is_set() else self._end()
            raise ModelError(f"{self._name}: {what}") from None
        if "error" in answer:
            raise ModelError(f"{self._name}: {answer['error']}")
        return answer["ok"]

    def _end(self) -> str:
        """Returns how the process ended, with the last line that it wrote for people."""
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return "it closed its answers and goes on"
        self._said.seek(0)
        last = self._said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        last = "".join(c if c.isprintable() else "?" for c in last[:_MOST_SAID])
        return f"the process ended with status {status}" + (f": {last}" if last else "")
