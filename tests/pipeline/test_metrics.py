"""What Prometheus is told: names, forms, truth, and what it costs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.kit.require import skip_or_fail
from tests.pipeline.live_app import ScriptedDaemon
from tests.pipeline.live_statuses import ScriptedSite, pool
from watchline.pipeline.live.status import LaneStatus, PoolState
from watchline.pipeline.metrics.camera_families import CAMERA_FAMILIES
from watchline.pipeline.metrics.camera_page import CameraPage
from watchline.pipeline.metrics.facts import SightingFacts
from watchline.pipeline.metrics.process_facts import ProcessWatch
from watchline.streams.camera import CameraState
from watchline.streams.failure import Reason

NAMES = Path(__file__).with_name("metric_names.txt")
LABELS = {"camera", "stage", "reason", "kind", "model", "device", "le"}
INFO_LABELS = {"version", "python", "network", "sha256", "provider", "runtime", "model", "device"}


def families(text: str) -> dict[str, Metric]:
    """By name; counters without `_total`, as the parser has them."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text: str, name: str, **labels: str) -> float:
    for family in families(text).values():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    raise AssertionError(f"no {name} {labels}")


@pytest.fixture
def daemon() -> ScriptedDaemon:
    made = ScriptedDaemon("dock-1", "dock-2")
    made.site.advance(100.0)
    return made


@pytest.fixture
def text(daemon: ScriptedDaemon) -> str:
    return daemon.metrics().render().decode()


def test_names_types_and_labels_are_those_that_dashboards_were_written_for(text: str) -> None:
    """A change here breaks what others have built: say so in the CHANGELOG, and renew the list."""
    told = []
    for family in families(text).values():
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        told.append(f"{family.name} {family.type} {','.join(labels)}".rstrip())
    assert sorted(told) == NAMES.read_text().splitlines()


def test_labels_are_few_and_say_nothing_of_addresses_processes_tracks_or_people(text: str) -> None:
    for family in families(text).values():
        allowed = INFO_LABELS if family.name.endswith("_info") else LABELS
        for sample in family.samples:
            assert set(sample.labels) <= allowed, sample
            assert not any("/" in value for value in sample.labels.values()), sample


class _Oracle(Collector):
    """The lines of cameras as prometheus-client's own objects."""

    def __init__(self, lanes: dict[str, LaneStatus]) -> None:
        self.lanes = lanes

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for family in CAMERA_FAMILIES:
            metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
            for camera, lane in self.lanes.items():
                for (name, (label, of)), number in zip(family.series, family.values(lane), strict=True):
                    metric.add_sample(name, {"camera": camera, **({label: of} if label else {})}, number)
            yield metric


def test_the_lines_of_cameras_are_those_of_prometheus_client(daemon: ScriptedDaemon) -> None:
    daemon.site.go("dock-2", CameraState.OFFLINE, Reason.TIMEOUT)
    lanes = dict(daemon.site.status().lanes)
    strange = 'a "quoted" \\ 100 % %s name\nof two lines'
    lanes[strange] = lanes["dock-1"]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Oracle(lanes))
    expected, got = generate_latest(registry).decode().splitlines(), CameraPage().render(lanes).splitlines()
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        if mine.startswith("#"):
            assert mine == theirs
        else:
            assert mine.rpartition(" ")[0] == theirs.rpartition(" ")[0]
            assert float(mine.rpartition(" ")[2]) == float(theirs.rpartition(" ")[2])


def test_every_family_is_told_once_and_in_one_piece(text: str) -> None:
    heads = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    current = ""
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            current = line.split()[2]
        elif not line.startswith("#"):
            assert line.startswith(current), line


def test_the_rules_of_openmetrics_hold_for_names_and_buckets(text: str) -> None:
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            name, kind = line.split()[2:4]
            assert name.startswith("watchline_")
            assert name.endswith("_total") == (kind == "counter"), name
            assert not name.endswith(("_ms", "_milliseconds", "_minutes", "_mb", "_percent")), name
    for family in families(text).values():
        if family.type != "histogram":
            continue
        buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        counts = {}
        for sample in family.samples:
            key = tuple(sorted((label, of) for label, of in sample.labels.items() if label != "le"))
            if sample.name.endswith("_bucket"):
                assert "." in sample.labels["le"] or "e" in sample.labels["le"] or sample.labels["le"] == "+Inf"
                buckets.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
            elif sample.name.endswith("_count"):
                counts[key] = sample.value
        for key, rows in buckets.items():
            assert rows == sorted(rows)
            assert [count for _, count in rows] == sorted(count for _, count in rows)
            assert rows[-1] == (float("inf"), counts[key])


def test_promtool_has_nothing_to_find_fault_with(text: str) -> None:
    if shutil.which("promtool") is None:
        skip_or_fail("no command 'promtool' here; install prometheus")
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_site_without_cameras_detectors_or_journal_has_metrics_too() -> None:
    site = ScriptedDaemon()
    site.site.pools.clear()
    text = site.metrics().render().decode()
    assert value(text, "watchline_build_info", version="0.1.0") == 1
    assert "# TYPE watchline_camera_up gauge" in text


def test_a_new_camera_has_zeros_and_one_that_is_removed_has_nothing() -> None:
    site = ScriptedSite("dock-1", "dock-2")
    page = CameraPage()
    new = page.render({name: replace(lane, last_frame_at=None) for name, lane in site.status().lanes.items()})
    for reason in ("rate", "detector", "lost"):
        assert value(new, "watchline_frames_dropped_total", camera="dock-2", reason=reason) == 0
    assert value(new, "watchline_reconnects_total", camera="dock-2", reason="auth") == 0
    assert value(new, "watchline_camera_last_frame_timestamp_seconds", camera="dock-2") == 0
    del site.cameras["dock-2"]
    assert "dock-2" not in page.render(site.status().lanes)


def test_frames_received_are_those_processed_dropped_and_in_flight(text: str) -> None:
    told = families(text)

    def total(name: str) -> float:
        return sum(sample.value for sample in told[name].samples if sample.labels["camera"] == "dock-1")

    assert total("watchline_frames_received") == 1000
    settled = total("watchline_frames_processed") + total("watchline_frames_dropped")
    assert total("watchline_frames_received") == settled + total("watchline_frames_in_flight")


def test_states_of_cameras_and_detectors_are_ones_and_zeros(daemon: ScriptedDaemon) -> None:
    daemon.site.go("dock-1", CameraState.OFFLINE, Reason.AUTH)
    daemon.site.go("dock-2", CameraState.FROZEN, Reason.FROZEN)
    daemon.site.pools["people"] = pool("people", PoolState.RESTARTING)
    text = daemon.metrics().render().decode()
    assert value(text, "watchline_camera_up", camera="dock-1") == 0
    assert value(text, "watchline_camera_frozen", camera="dock-1") == 0
    assert value(text, "watchline_camera_frozen", camera="dock-2") == 1
    assert value(text, "watchline_reconnects_total", camera="dock-1", reason="auth") == 1
    assert value(text, "watchline_detector_up", model="people", device="cpu") == 0


def test_journal_configuration_and_viewers_are_told(daemon: ScriptedDaemon) -> None:
    daemon.journal = replace(daemon.journal, lost={"disk": 7, "queue_full": 0}, failing=True)
    daemon.reloads = replace(daemon.reloads, refused=2, last_ok=False)
    view = daemon.pictures.watch("dock-1")
    text = daemon.metrics().render().decode()
    view.close()
    assert value(text, "watchline_journal_lost_total", reason="disk") == 7
    assert value(text, "watchline_journal_failing") == 1
    assert value(text, "watchline_config_reloads_total", reason="refused") == 2
    assert value(text, "watchline_config_last_reload_successful") == 0
    assert value(text, "watchline_viewers") == 1


def test_sightings_are_told_with_what_became_of_those_that_were_not_kept(daemon: ScriptedDaemon) -> None:
    usual = daemon.sightings()
    assert usual is not None
    unkept = {"queue_full": 2, "unfit": 1, "closed": 0}
    seeing = replace(usual.seeing, unkept=unkept, state=PoolState.DOWN, deaths=6)
    store = replace(usual.store, refused={"queue_full": 3, "disk": 4}, failing=True, purged={"crops": 9})
    daemon.sightings_now = SightingFacts(seeing, store)
    text = daemon.metrics().render().decode()
    assert value(text, "watchline_tracklets_total", camera="dock-2") == 20
    assert value(text, "watchline_sightings_refused_total", reason="queue_full") == 5
    assert value(text, "watchline_sightings_refused_total", reason="disk") == 4
    assert value(text, "watchline_sightings_failing") == 1
    assert value(text, "watchline_sightings_purged_total", kind="crops") == 9
    assert value(text, "watchline_describer_up") == 0
    assert value(text, "watchline_embedding_seconds_count") > 0


def test_a_site_that_keeps_no_sightings_tells_of_none(daemon: ScriptedDaemon) -> None:
    daemon.keeps_sightings = False
    text = daemon.metrics().render().decode()
    assert not any(word in text for word in ("sighting", "tracklet", "describer", "embed"))


def test_the_process_is_told_with_its_children() -> None:
    watch = ProcessWatch()
    alone = watch.facts()
    script = "import time\nwhile time.process_time() < 0.4: pass\nprint('spent', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        both = watch.facts()
        assert both.processes == alone.processes + 1
        assert both.resident_bytes > alone.resident_bytes
        assert both.cpu_s >= alone.cpu_s + 0.3
        child.communicate("\n", timeout=10)
    after = watch.facts()
    assert after.processes == alone.processes
    assert after.cpu_s >= both.cpu_s
    assert abs(after.started_at - time.time()) < 86400


def test_a_thousand_cameras_are_told_in_less_than_two_hundred_milliseconds() -> None:
    daemon = ScriptedDaemon(*(f"camera-{index:04}" for index in range(1000)))
    daemon.site.advance(100.0)
    page = daemon.metrics()
    page.render()  # the text of lines is made once
    spent = []
    for _ in range(5):
        begun = time.process_time()
        text = page.render()
        spent.append(time.process_time() - begun)
    assert text.count(b"\n") > 50_000
    assert min(spent) < 0.2, spent
