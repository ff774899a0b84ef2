"""A real Prometheus for a test: on loopback, in a folder of its own, for a bounded time."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml  # type: ignore[import-untyped]

from tests.kit.require import skip_or_fail

LIFE_S = 180
START_S = 20.0
STOP_S = 5.0


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class PrometheusServer:
    """Scrapes one target and judges rules several times a second; skips (or fails) the test where there is none.

    Args:
        folder: of its own; configuration, data and log lie there.
        target: host and port of what is scraped.
        rules: file of alert rules.
        job: the name under which it scrapes.
        token: that the target asks for.
        interval_s: between two scrapes, and two judgements.
    """

    def __init__(
        self, folder: Path, target: str, rules: Path | None, job: str, token: str = "", interval_s: float = 0.5
    ) -> None:
        if shutil.which("prometheus") is None:
            skip_or_fail("no command 'prometheus' here; install prometheus")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.port = free_port()
        every = f"{interval_s * 1000:.0f}ms"
        scrape: dict[str, Any] = {"job_name": job, "static_configs": [{"targets": [target]}]}
        if token:
            scrape["authorization"] = {"credentials": token}
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [scrape],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = folder / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = ["timeout", "-k", "2", str(LIFE_S), "prometheus", f"--config.file={self._folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"]
        command += ["--log.level=warn"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(OSError):
                self._get("/-/ready")
                return self
            time.sleep(0.05)
        self._stop()
        raise AssertionError(f"prometheus did not start:\n{self._log.read_text()[-2000:]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What an instant query finds: metric and value of each series; NaN is nothing."""
        try:
            answer = json.loads(self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': expr})}"))
        except urllib.error.HTTPError as error:
            told = error.read().decode()
            raise AssertionError(f"{expr}: {told}") from None
        assert answer["status"] == "success", answer
        found = answer["data"]["result"]
        return [series for series in found if not math.isnan(float(series["value"][1]))]

    def firing(self) -> list[dict[str, Any]]:
        """The alerts that fire: labels and annotations."""
        answer = json.loads(self._get("/api/v1/alerts"))
        return [alert for alert in answer["data"]["alerts"] if alert["state"] == "firing"]

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_S)
