"""Dashboards and alert rules, by the tools that will read them: promtool, and a Prometheus that scrapes our server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from typer.testing import CliRunner

from tests.kit.prometheus_server import PrometheusServer
from tests.kit.require import skip_or_fail
from tests.pipeline.live_app import TOKEN, ScriptedDaemon
from tests.pipeline.live_sightings import seeing, store
from tests.pipeline.live_statuses import pool
from watchline.pipeline.cli.app import app
from watchline.pipeline.dashboards.alerts import JOB, Pace, alerts, rule_file
from watchline.pipeline.dashboards.board import grafana
from watchline.pipeline.dashboards.boards import BOARDS
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.metrics.camera_families import CAMERA_FAMILIES
from watchline.pipeline.metrics.facts import SightingFacts
from watchline.pipeline.web.access import Access
from watchline.pipeline.web.server import WebServer
from watchline.streams.camera import CameraState
from watchline.streams.failure import Reason

NAMES = Path(__file__).with_name("metric_names.txt")
HASTE = Pace(window_s=3.0, patience=0.01)
FILL = {"$instance": ".*", "$camera": ".*", "$model": ".*", "$__rate_interval": "4s"}
SOON_S = 30.0


def promtool(*arguments: str) -> str:
    if shutil.which("promtool") is None:
        skip_or_fail("no command 'promtool' here; install prometheus")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def all_queries() -> Iterator[tuple[str, str]]:
    for board in BOARDS:
        for panel in board.panels():
            for query in panel.queries:
                yield f"{board.uid}: {panel.title}", query.expr


def metrics_told() -> set[str]:
    """Names that a query may use."""
    told = {"ALERTS"}
    for line in NAMES.read_text().splitlines():
        name, kind = line.split()[:2]
        parts = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(kind, ("",))
        told |= {name + part for part in parts}
    return told


def test_queries_and_rules_use_only_metrics_that_there_are() -> None:
    told = metrics_told()
    for where, expr in [*all_queries(), *((rule.name, rule.expr) for rule in alerts())]:
        for name in re.findall(r"watchline_[a-z_]+", expr):
            assert name in told, f"{where}: {name}"


def test_labels_that_rules_fill_in_are_ones_that_their_metrics_have() -> None:
    by_camera = {family.name for family in CAMERA_FAMILIES}
    for rule in alerts():
        if "$labels.camera" in rule.summary:
            assert any(name in rule.expr for name in by_camera), rule.name


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    rules = alerts()
    assert len({rule.name for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.name.startswith("Watchline")
        assert rule.summary.endswith(".")
        assert len(rule.description.split()) > 10, rule.name


# Of each rule: series that make it fire, and the labels of the alert.
CAMERA = 'camera="dock-2",instance="here:8770",job="watchline"'
HERE = 'instance="here:8770",job="watchline"'
CAMERA_LABELS = {"camera": "dock-2", "instance": "here:8770", "job": "watchline"}
HERE_LABELS = {"instance": "here:8770", "job": "watchline"}
MODEL = f'model="people",{HERE}'
DEVICE = f'model="people",device="cpu",{HERE}'
FIRING: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "WatchlineCameraDown": (
        {f"watchline_camera_up{{{CAMERA}}}": "0x40", f"watchline_camera_frozen{{{CAMERA}}}": "0x40"},
        CAMERA_LABELS,
    ),
    "WatchlineCameraFrozen": (
        {f"watchline_camera_up{{{CAMERA}}}": "0x40", f"watchline_camera_frozen{{{CAMERA}}}": "1x40"},
        CAMERA_LABELS,
    ),
    "WatchlineCameraNotAnalysed": (
        {f"watchline_camera_up{{{CAMERA}}}": "1x40", f"watchline_camera_idle_seconds{{{CAMERA}}}": "0+60x40"},
        CAMERA_LABELS,
    ),
    "WatchlineCameraFlapping": (
        {f"watchline_camera_up{{{CAMERA}}}": "1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1"},
        CAMERA_LABELS,
    ),
    "WatchlineCameraUndecodable": (
        {f"watchline_packets_undecodable_total{{{CAMERA}}}": "0+60x40"},
        CAMERA_LABELS,
    ),
    "WatchlineCameraFallingBehind": (
        {
            f"watchline_frames_received_total{{{CAMERA}}}": "0+1500x40",
            f'watchline_frames_dropped_total{{{CAMERA},reason="rate"}}': "0+1200x40",
            f'watchline_frames_dropped_total{{{CAMERA},reason="replaced"}}': "0+200x40",
        },
        CAMERA_LABELS,
    ),
    "WatchlineFramesLate": (
        {
            f'watchline_frame_age_seconds_bucket{{{CAMERA},le="2.0"}}': "0+10x40",
            f'watchline_frame_age_seconds_bucket{{{CAMERA},le="5.0"}}': "0+300x40",
            f'watchline_frame_age_seconds_bucket{{{CAMERA},le="+Inf"}}': "0+300x40",
        },
        CAMERA_LABELS,
    ),
    "WatchlineFramesLost": (
        {
            f"watchline_frames_received_total{{{CAMERA}}}": "0+1500x40",
            f'watchline_frames_dropped_total{{{CAMERA},reason="damaged"}}': "0+50x40",
            f'watchline_frames_dropped_total{{{CAMERA},reason="detector"}}': "0+50x40",
        },
        CAMERA_LABELS,
    ),
    "WatchlineQueueFull": (
        {f'watchline_frames_dropped_total{{{CAMERA},reason="no_room"}}': "0+5x40"},
        HERE_LABELS,
    ),
    "WatchlineDetectorDown": (
        {f"watchline_detector_up{{{DEVICE}}}": "0x40"},
        {"model": "people", "device": "cpu", **HERE_LABELS},
    ),
    "WatchlineDetectorFailing": (
        {f"watchline_detector_deaths_total{{{MODEL}}}": "0x20 3x20"},
        {"model": "people", **HERE_LABELS},
    ),
    "WatchlineDetectorFellBack": (
        {f"watchline_detector_fallen_back{{{DEVICE}}}": "1x40"},
        {"model": "people", "device": "cpu", **HERE_LABELS},
    ),
    "WatchlineJournalFailing": ({f"watchline_journal_failing{{{HERE}}}": "1x40"}, HERE_LABELS),
    "WatchlineJournalLosing": ({f'watchline_journal_lost_total{{{HERE},reason="disk"}}': "0+3x40"}, HERE_LABELS),
    "WatchlineDiskFull": (
        {f"watchline_storage_free_bytes{{{HERE}}}": "100x40", f"watchline_storage_reserved_bytes{{{HERE}}}": "200x40"},
        HERE_LABELS,
    ),
    "WatchlineSightingsRefused": (
        {f'watchline_sightings_refused_total{{{HERE},reason="disk"}}': "0+3x40"},
        HERE_LABELS,
    ),
    "WatchlineDescriberDown": ({f"watchline_describer_up{{{HERE}}}": "0x40"}, HERE_LABELS),
    "WatchlineSightingsUndescribed": (
        {
            f"watchline_tracklets_total{{{CAMERA}}}": "0+60x40",
            f'watchline_tracklets_undescribed_total{{{HERE},reason="behind"}}': "0+7x40",
        },
        HERE_LABELS,
    ),
    "WatchlineSightingsNotPurged": ({f"watchline_sightings_purge_failing{{{HERE}}}": "1x40"}, HERE_LABELS),
    "WatchlineClockDoubted": ({f"watchline_sightings_clock_ahead_seconds{{{HERE}}}": "2000000x40"}, HERE_LABELS),
    "WatchlineSightingsTrimmed": ({f"watchline_sightings_trimmed_total{{{HERE}}}": "0+5x40"}, HERE_LABELS),
    "WatchlineConfigRefused": ({f"watchline_config_last_reload_successful{{{HERE}}}": "0x40"}, HERE_LABELS),
    "WatchlineNotScraped": ({f"up{{{HERE}}}": "0x40"}, HERE_LABELS),
}
HEALTHY = {
    f"up{{{HERE}}}": "1x40",
    f"watchline_camera_up{{{CAMERA}}}": "1x40",
    f"watchline_camera_frozen{{{CAMERA}}}": "0x40",
    f"watchline_camera_idle_seconds{{{CAMERA}}}": "0.2x40",
    f"watchline_packets_undecodable_total{{{CAMERA}}}": "3x40",
    f"watchline_frames_received_total{{{CAMERA}}}": "0+1500x40",
    f'watchline_frames_dropped_total{{{CAMERA},reason="rate"}}': "0+1200x40",
    f'watchline_frames_dropped_total{{{CAMERA},reason="replaced"}}': "0+100x40",
    f'watchline_frames_dropped_total{{{CAMERA},reason="damaged"}}': "0+2x40",
    f'watchline_frames_dropped_total{{{CAMERA},reason="no_room"}}': "0x40",
    f'watchline_frame_age_seconds_bucket{{{CAMERA},le="0.5"}}': "0+300x40",
    f'watchline_frame_age_seconds_bucket{{{CAMERA},le="+Inf"}}': "0+300x40",
    f"watchline_detector_up{{{DEVICE}}}": "1x40",
    f"watchline_detector_deaths_total{{{MODEL}}}": "0x20 1x20",
    f"watchline_detector_fallen_back{{{DEVICE}}}": "0x40",
    f"watchline_journal_failing{{{HERE}}}": "0x40",
    f'watchline_journal_lost_total{{{HERE},reason="disk"}}': "4x40",
    f"watchline_storage_free_bytes{{{HERE}}}": "300x40",
    f"watchline_storage_reserved_bytes{{{HERE}}}": "200x40",
    f'watchline_sightings_refused_total{{{HERE},reason="disk"}}': "4x40",
    f"watchline_sightings_failing{{{HERE}}}": "0x40",
    f"watchline_sightings_purge_failing{{{HERE}}}": "0x40",
    f"watchline_sightings_trimmed_total{{{HERE}}}": "7x40",
    f"watchline_sightings_clock_ahead_seconds{{{HERE}}}": "0x40",
    f"watchline_describer_up{{{HERE}}}": "1x40",
    f"watchline_tracklets_total{{{CAMERA}}}": "0+60x40",
    f'watchline_tracklets_undescribed_total{{{HERE},reason="no_crop"}}': "0+30x40",
    f'watchline_tracklets_undescribed_total{{{HERE},reason="behind"}}': "0+1x40",
    f"watchline_config_last_reload_successful{{{HERE}}}": "1x40",
}


def unit_test(series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": expected,
    }


def test_every_rule_fires_for_what_it_is_made_for_and_none_at_a_healthy_site(tmp_path: Path) -> None:
    rules = alerts()
    assert {rule.name for rule in rules} == set(FIRING)
    up = {f"up{{{HERE}}}": "1x40"}
    tests = [unit_test(HEALTHY, [{"eval_time": f"{at}m", "alertname": rule.name} for rule in rules for at in (2, 30)])]
    for rule in rules:
        series, labels = FIRING[rule.name]

        def filled(text: str, labels: dict[str, str] = labels) -> str:
            text = text.replace("{{ with $labels.instance }} at {{ . }}{{ end }}", f" at {labels['instance']}")
            return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)

        alert = {
            "exp_labels": {"severity": rule.severity, **labels},
            "exp_annotations": {"summary": filled(rule.summary), "description": filled(rule.description)},
        }
        tests.append(
            unit_test(
                up | series,
                [{"eval_time": "30m", "alertname": rule.name, "exp_alerts": [alert]}]
                + ([{"eval_time": f"{rule.for_s / 2:.0f}s", "alertname": rule.name}] if rule.for_s else []),
            )
        )
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rule_file(rules)))
    document = {"rule_files": ["alerts.yaml"], "evaluation_interval": "15s", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    promtool("check", "rules", str(tmp_path / "alerts.yaml"))
    promtool("test", "rules", str(tmp_path / "tests.yaml"))


def test_a_site_that_prometheus_has_lost_altogether_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rule_file(alerts())))
    labels = 'alertname="WatchlineNotScraped",alertstate="firing",job="watchline",severity="critical"'
    query = {
        "expr": 'ALERTS{alertname="WatchlineNotScraped",alertstate="firing"}',
        "eval_time": "5m",
        "exp_samples": [
            {
                "labels": f"ALERTS{{{labels}}}",
                "value": 1,
            }
        ],
    }
    test = {"interval": "1m", "input_series": [{"series": "other", "values": "1x10"}], "promql_expr_test": [query]}
    document = {"rule_files": ["alerts.yaml"], "evaluation_interval": "15s", "tests": [test]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", str(tmp_path / "tests.yaml"))


def test_panels_of_a_dashboard_fit_its_grid_and_do_not_overlap() -> None:
    for board in BOARDS:
        taken: set[tuple[int, int]] = set()
        made = grafana(board)
        assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
        for panel in made["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not cells & taken, panel["title"]
            taken |= cells


def test_every_panel_has_a_title_and_says_what_it_shows() -> None:
    for board in BOARDS:
        titles = [panel.title for panel in board.panels()]
        assert len(titles) == len(set(titles))
        assert all(panel.about.endswith(".") and panel.queries for panel in board.panels())


class TestExport:
    def test_it_writes_dashboards_rules_and_what_finds_them(self, tmp_path: Path) -> None:
        folder = tmp_path / "monitoring"
        done = CliRunner().invoke(app, ["dashboards", "export", str(folder), "--target", "watchline:8770"])
        assert done.exit_code == 0, done.output
        boards = sorted((folder / "grafana" / "dashboards").glob("*.json"))
        assert [json.loads(path.read_text())["uid"] for path in boards] == sorted(board.uid for board in BOARDS)
        config = yaml.safe_load((folder / "prometheus" / "prometheus.yml").read_text())
        assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["watchline:8770"]}]
        promtool("check", "config", str(folder / "prometheus" / "prometheus.yml"))
        for path in (folder / "grafana" / "provisioning").rglob("*.yaml"):
            assert yaml.safe_load(path.read_text())["apiVersion"] == 1

    def test_it_keeps_what_somebody_changed(self, tmp_path: Path) -> None:
        run = CliRunner().invoke
        assert run(app, ["dashboards", "export", str(tmp_path)]).exit_code == 0
        assert run(app, ["dashboards", "export", str(tmp_path)]).exit_code == 0
        changed = tmp_path / "prometheus" / "alerts.yaml"
        changed.write_text("groups: []\n")
        done = run(app, ["dashboards", "export", str(tmp_path)])
        assert done.exit_code == 1
        assert "differs; add --overwrite" in str(done.exception)
        assert changed.read_text() == "groups: []\n"
        assert run(app, ["dashboards", "export", str(tmp_path), "--overwrite"]).exit_code == 0
        assert changed.read_text() != "groups: []\n"


def soon(what: str, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.1)


class TestWithPrometheus:
    @pytest.fixture
    def rules(self, tmp_path: Path) -> Path:
        path = tmp_path / "alerts.yaml"
        path.write_text(yaml.safe_dump(rule_file(alerts(HASTE), HASTE)))
        return path

    def test_every_panel_finds_data(self, tmp_path: Path, rules: Path) -> None:
        daemon = ScriptedDaemon("dock-1", "dock-2", "gate")
        with (
            WebServer(daemon.app(Access(TOKEN, hosts=None))) as server,
            PrometheusServer(
                tmp_path / "prometheus", f"127.0.0.1:{server.address[1]}", rules, JOB, TOKEN
            ) as prometheus,
        ):
            missing = dict(enumerate(all_queries()))

            def look() -> bool:
                for number, (_, expr) in list(missing.items()):
                    for name, value in FILL.items():
                        expr = expr.replace(name, value)
                    if prometheus.query(expr):
                        del missing[number]
                return not missing

            until = time.monotonic() + SOON_S
            while not look() and time.monotonic() < until:
                time.sleep(0.2)
            assert not missing, list(missing.values())
            rate = 'rate(watchline_frames_processed_total{camera="gate"}[4s])'
            soon("half of ten frames a second are analysed", lambda: bool(prometheus.query(f"{rate} > 4 < 6")))
            assert float(prometheus.query("scrape_duration_seconds")[0]["value"][1]) < 0.2

    def test_alerts_fire_when_something_breaks_and_clear_when_it_is_mended(self, tmp_path: Path, rules: Path) -> None:
        daemon = ScriptedDaemon("dock-1", "dock-2")
        server = WebServer(daemon.app())
        server.start()
        port = server.address[1]
        with PrometheusServer(tmp_path / "prometheus", f"127.0.0.1:{port}", rules, JOB) as prometheus:

            def fires(name: str, camera: str = "") -> bool:
                found = [alert for alert in prometheus.firing() if alert["labels"]["alertname"] == name]
                return any(alert["labels"].get("camera", "") == camera for alert in found)

            def breaks(name: str, cause: Callable[[], None], cure: Callable[[], None], camera: str = "") -> None:
                soon("it is scraped", lambda: bool(prometheus.query('up{job="watchline"} == 1')))
                soon(f"{name} is quiet", lambda: not fires(name, camera))
                cause()
                soon(f"{name} fires", lambda: fires(name, camera))
                cure()
                soon(f"{name} clears", lambda: not fires(name, camera))

            def go(state: CameraState, reason: Reason | None = None) -> Callable[[], None]:
                return lambda: daemon.site.go("dock-2", state, reason)

            breaks("WatchlineCameraDown", go(CameraState.OFFLINE, Reason.TIMEOUT), go(CameraState.LIVE), "dock-2")
            breaks("WatchlineCameraFrozen", go(CameraState.FROZEN, Reason.FROZEN), go(CameraState.LIVE), "dock-2")
            assert not fires("WatchlineCameraDown", "dock-1")

            def detector(state: PoolState) -> Callable[[], None]:
                return lambda: daemon.site.pools.update(people=pool("people", state))

            breaks("WatchlineDetectorDown", detector(PoolState.DOWN), detector(PoolState.RUNNING))

            def stored(*, failing: bool) -> Callable[[], None]:
                facts = SightingFacts(seeing("dock-1"), replace(store(), failing=failing))
                return lambda: setattr(daemon, "sightings_now", facts)

            breaks("WatchlineSightingsRefused", stored(failing=True), stored(failing=False))

            def reloaded(ok: bool) -> Callable[[], None]:
                return lambda: setattr(daemon, "reloads", replace(daemon.reloads, last_ok=ok))

            breaks("WatchlineConfigRefused", reloaded(ok=False), reloaded(ok=True))

            def again() -> None:
                nonlocal server
                server = WebServer(daemon.app(), port=port)
                server.start()

            def stop() -> None:
                assert server.stop()

            breaks("WatchlineNotScraped", stop, again)
        server.stop()
