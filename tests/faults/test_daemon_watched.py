"""A real daemon on real streams, watched by a real Prometheus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.kit.daemon import DaemonProcess
from tests.kit.prometheus_server import PrometheusServer
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer
from tests.pipeline.reid_models import write_tiny_embedder
from tests.pipeline.test_dashboards import FILL, HASTE, all_queries
from watchline.pipeline.dashboards.alerts import JOB, alerts, rule_file

pytestmark = pytest.mark.usefixtures("require_rtsp_server")

_SOON_S = 30.0


def wait_for(what: str, holds: Any, timeout_s: float = _SOON_S) -> None:
    """Waits until `holds()` is true."""
    until_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until_s, what
        time.sleep(0.2)


def test_every_panel_finds_data_and_alerts_fire_and_clear_with_a_camera(
    tiny: Path, record: Record, tmp_path: Path
) -> None:
    rules = tmp_path / "alerts.yaml"
    rules.write_text(yaml.safe_dump(rule_file(alerts(HASTE), HASTE)))
    with RtspServer(life_s=150) as server, RtspServer(life_s=150) as other:
        for each, name in ((server, "gate"), (other, "dock")):
            each.add(f"/{name}", record(Scene(frames=1000)), shared=False)
        site = {
            "models": {"people": {"model": str(tiny), "device": "cpu", "workers": 1}},
            "cameras": [{"id": "gate", "url": server.url("/gate")}, {"id": "dock", "url": other.url("/dock")}],
            "sightings": {"model": str(write_tiny_embedder(tmp_path / "body.onnx")), "part_s": 5},
        }
        with DaemonProcess(tmp_path, site) as daemon:
            target = daemon.url.removeprefix("http://")
            with PrometheusServer(tmp_path / "prometheus", target, rules, JOB) as prometheus:

                def fires(camera: str) -> bool:
                    found = [alert["labels"] for alert in prometheus.firing()]
                    return any(
                        labels["alertname"] == "WatchlineCameraDown" and labels["camera"] == camera for labels in found
                    )

                missing = dict(enumerate(all_queries()))

                def all_found() -> bool:
                    for number, (_, expr) in list(missing.items()):
                        for name, value in FILL.items():
                            expr = expr.replace(name, value)
                        if prometheus.query(expr):
                            del missing[number]
                    return not missing

                until_s = time.monotonic() + _SOON_S
                while not all_found() and time.monotonic() < until_s:
                    time.sleep(0.5)
                assert not missing, list(missing.values())
                server.stop()
                wait_for("a camera that stands still is told of", lambda: fires("gate"))
                assert not fires("dock")
                server.cont()
                wait_for("it clears when the camera is back", lambda: not fires("gate"))
            code, _ = daemon.stop()
        assert code == 0
