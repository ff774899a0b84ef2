"""What runs watchline as a service."""

from __future__ import annotations

import configparser
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from tests.command import watchline
from watchline.pipeline.serving.outputs import STUCK_S


def test_the_files_are_written_and_never_over_others_unasked(tmp_path: Path) -> None:
    done = watchline("deploy", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Dockerfile", "compose.yaml", "watchline.service"]
    (tmp_path / "Dockerfile").write_text("mine")
    again = watchline("deploy", tmp_path)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr
    assert (tmp_path / "Dockerfile").read_text() == "mine"


def test_the_unit_watches_longer_than_a_stage_may_stand_still_and_kills_later_than_the_end_takes(
    tmp_path: Path,
) -> None:
    watchline("deploy", tmp_path)
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(tmp_path / "watchline.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"].removesuffix("s")) > STUCK_S
    assert int(service["TimeoutStopSec"].removesuffix("s")) > 10
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_compose_opens_ports_to_this_machine_alone(tmp_path: Path) -> None:
    watchline("deploy", tmp_path)
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    assert set(services) == {"watchline", "prometheus", "grafana"}
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
