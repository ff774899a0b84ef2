"""`watchline serve` in a process of its own, as a service manager runs it, and what it says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import yaml  # type: ignore[import-untyped]

from tests.command import COMMAND

_PAGES = re.compile(r"pages at (http\S+)")


class DaemonProcess:
    """A running daemon; ended with the test.

    Args:
        folder: for its files; "site.yaml" is written there from `site`, whose storage and address are filled in.
        site: what the file says.
        environment: beside this process's own.
    """

    def __init__(self, folder: Path, site: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        self.file = folder / "site.yaml"
        self.storage = folder / "storage"
        self.write(site)
        self._environment = {**os.environ, **(environment or {})}
        self.lines: list[str] = []
        self.url = ""
        self.start()

    def write(self, site: Mapping[str, Any]) -> None:
        """Writes the file anew, whole."""
        usual = {
            "storage": {"path": "storage"},
            "http": {"listen": "127.0.0.1:0"},
            "retention": {"free": "1MiB"},
            "ingest": {"group_size": 0},
        }
        part = self.file.with_suffix(".part")
        part.write_text(yaml.safe_dump({**usual, **site}, sort_keys=False))
        part.replace(self.file)

    def start(self, timeout_s: float = 60) -> None:
        """Starts it, and waits until its pages answer."""
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--config", str(self.file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environment,
        )
        before = len(self.lines)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        self.wait(lambda: any(_PAGES.search(line) for line in self.lines[before:]), timeout_s)
        self.url = next(found[1] for line in self.lines[before:] if (found := _PAGES.search(line)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def wait(self, what: Callable[[], object], timeout_s: float = 20) -> float:
        """Waits until `what()` is true; returns how long that took."""
        begun_s = time.monotonic()
        while not what():
            assert self.process.poll() is None, (self.process.returncode, self.lines[-20:])
            assert time.monotonic() - begun_s < timeout_s, self.lines[-20:]
            time.sleep(0.05)
        return time.monotonic() - begun_s

    def said(self, text: str) -> bool:
        """Was a line logged that holds `text`?"""
        return any(text in line for line in self.lines)

    def get(self, path: str, timeout_s: float = 10) -> tuple[int, bytes]:
        """Returns status and body of an answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def cameras(self) -> dict[str, dict[str, Any]]:
        """What /api/cameras says, by camera."""
        status, body = self.get("/api/cameras")
        assert status == 200, body
        return {camera["id"]: camera for camera in json.loads(body)["cameras"]}

    def journal(self, camera: str) -> list[dict[str, Any]]:
        """Every line of a camera's journal, in order; each must be whole."""
        lines = []
        for path in sorted((self.storage / "tracks" / camera).glob("*.jsonl")):
            text = path.read_text()
            assert text == "" or text.endswith("\n"), path
            lines += [json.loads(line) for line in text.splitlines()]
        return lines

    def track_ids(self, camera: str) -> list[int]:
        """Ids of tracks in the journal of a camera, in order, each once."""
        ids = (track["track_id"] for line in self.journal(camera) for track in line.get("tracks", ()))
        return list(dict.fromkeys(ids))

    def stop(self, timeout_s: float = 15) -> tuple[int, float]:
        """Sends SIGTERM; returns the exit code, and how long the end took."""
        begun_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        return code, time.monotonic() - begun_s

    def kill(self) -> None:
        """Ends it at once, with all its children."""
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(10)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._reader.join(5)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.lines.append(line.rstrip("\n"))
