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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from tests.command import COMMAND

_PAGES = re.compile(r"pages at (http\S+)")
_DETECTOR = "watchline: detector"  # how the processes that run networks call themselves


@dataclass(frozen=True)
class Scrape:
    """What /metrics said at one moment: (name, labels, value) of each sample."""

    samples: tuple[tuple[str, Mapping[str, str], float], ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """Reads the text format of Prometheus."""
        families = text_string_to_metric_families(text)
        return cls(tuple((one.name, one.labels, one.value) for family in families for one in family.samples))

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of a name with these labels; there must be one."""
        found = [value for is_called, has, value in self.samples if is_called == name and labels.items() <= has.items()]
        assert found, (name, labels)
        return sum(found)

    def labels(self, name: str, label: str) -> list[str]:
        """The values that a label has in the samples of a name, in order."""
        return list(dict.fromkeys(has[label] for is_called, has, _ in self.samples if is_called == name))

    def assert_exact(self) -> None:
        """Checks that every frame of every camera is somewhere, once."""
        for camera in self.labels("watchline_frames_received_total", "camera"):
            received, processed, dropped, in_flight = (
                self.value(f"watchline_frames_{name}", camera=camera)
                for name in ("received_total", "processed_total", "dropped_total", "in_flight")
            )
            assert received == processed + dropped + in_flight, (camera, received, processed, dropped, in_flight)
            assert in_flight >= 0, (camera, in_flight)


def small_site(model: Path, cameras: Mapping[str, object], **of_each: object) -> dict[str, Any]:
    """A site of cameras by name and address, and one model, "people", on the CPU; a looped file is never frozen."""
    usual = {"fps": 0, "frozen_after_s": 0, **of_each}
    return {
        "site": "yard",
        "models": {"people": {"model": str(model), "device": "cpu", "workers": 1}},
        "cameras": [{"id": name, "url": str(url), **usual} for name, url in cameras.items()],
    }


class DaemonProcess:
    """A running daemon; ended with the test.

    Args:
        folder: for its files; "site.yaml" is written there from `site`, whose storage and address are filled in.
        site: what the file says.
        environment: beside this process's own.
        arguments: of the command, beside the file.
    """

    def __init__(
        self,
        folder: Path,
        site: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.file = folder / "site.yaml"
        self.storage = folder / site.get("storage", {"path": "storage"})["path"]
        self.write(site)
        self._arguments = arguments
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
            [*COMMAND, "serve", "--config", str(self.file), *self._arguments],
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

    def metrics(self) -> Scrape:
        """What Prometheus would read; every frame is accounted for in it."""
        status, body = self.get("/metrics")
        assert status == 200, body
        scrape = Scrape.of(body.decode())
        scrape.assert_exact()
        return scrape

    def wait_for_frames(self, more: int = 10, timeout_s: float = 20) -> None:
        """Waits until so many more frames of each camera were processed."""
        before = {name: camera["processed"] for name, camera in self.cameras().items()}
        self.wait(lambda: all(c["processed"] >= before[name] + more for name, c in self.cameras().items()), timeout_s)

    def children(self) -> list[psutil.Process]:
        """All processes that it started, and those that they started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def detectors(self) -> list[psutil.Process]:
        """The processes that run networks now."""
        found = []
        for child in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(word.startswith(_DETECTOR) for word in child.cmdline()):
                    found.append(child)
        return found

    def memory_bytes(self) -> int:
        """What it holds for itself alone, without its children."""
        return int(psutil.Process(self.process.pid).memory_full_info().uss)

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
