"""`watchline run --metrics FILE`: what Prometheus' node_exporter collects."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.command import summary_of, watchline
from watchline.detectors.engine import Fallback
from watchline.pipeline import metrics_file
from watchline.pipeline.metrics_file import MetricsFile
from watchline.pipeline.stopwatch import StageTime
from watchline.pipeline.summary import FrameCounts, InputFacts, MachineFacts, ModelFacts, Status, Summary
from watchline.streams.errors import OutputError

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(path: Path) -> Samples:
    """Every value of a metrics file, by its name without prefix and its labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.documentation, family.name
        assert family.type == "gauge", family.name
        for sample in family.samples:
            key = sample.name.removeprefix("watchline_run_"), frozenset(sample.labels.items())
            assert sample.name.startswith("watchline_run_")
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def labels_of(found: Samples, name: str) -> list[dict[str, str]]:
    return [dict(labels) for named, labels in found if named == name]


def made(*fallbacks: tuple[Fallback, ...], status: Status = "complete") -> Summary:
    """What a run of one input by two models says, each with its changes of device."""
    models = tuple(
        ModelFacts(name, sha, "yolov8", task, "", "cpu", task, 1.0, 1.0, 3, 0, gone)
        for (name, sha, task), gone in zip(
            (("first", "ab", "detect"), ("faces", "cd", "face")), fallbacks or ((), ()), strict=True
        )
    )
    return Summary(
        status=status,
        warnings=(),
        input=InputFacts("yard.mp4", None, "video", 64, 64, 25.0, None, "h264"),
        frames=FrameCounts(None, 10, 7, {"sampling": 3}, 1, 2),
        detections=3,
        tracks=2,
        tracks_with_face=0,
        tracks_by_class={"person": 2},
        fps=20.0,
        wall_s=0.5,
        cpu_s=0.75,
        stages=(StageTime("decode", 0.25, 0.5),),
        peak_memory_bytes=123_000_000,
        model=models[0],
        models=models,
        machine=MachineFacts("cpu", "CPUExecutionProvider", "onnxruntime 1", "", 2, 1, "native", "bytetrack"),
        options={},
        versions={"watchline": "0.1.0"},
        outputs=(),
    )


def test_a_run_leaves_what_it_did_and_cost(tiny: Path, clip: Path, tmp_path: Path) -> None:
    file, missing = tmp_path / "watchline.prom", str(tmp_path / "gone.mp4")
    file.write_text("what an earlier run left\n")
    done = watchline(
        "run", clip, missing, "--model", tiny, "--out", tmp_path / "out", "--no-video", "--every", "4",
        "--metrics", file,
    )  # fmt: skip
    assert done.returncode == 3
    found, name, summary = samples(file), str(clip), summary_of(tmp_path / "out" / "yard")
    (info,) = labels_of(found, "info")
    assert info == {
        "input": name,
        "version": summary["versions"]["watchline"],
        "device": "cpu",
        "runtime": summary["machine"]["runtime"],
        "provider": "CPUExecutionProvider",
        "model": summary["model"]["name"],
        "sha256": summary["model"]["sha256"],
        "tracker": summary["machine"]["tracker"],
    }
    assert [model["stage"] for model in labels_of(found, "model_info")] == ["detect"]
    frames = {kind: value(found, f"{kind}_frames", input=name) for kind in ("decoded", "processed", "damaged")}
    assert frames == {"decoded": 40, "processed": 10, "damaged": 0}
    assert value(found, "dropped_frames", input=name, reason="sampling") == 30
    assert value(found, "dropped_frames", input=name, reason="failure") == 0
    for stage in summary["stages"]:
        assert value(found, "stage_cpu_seconds", input=name, stage=stage["name"]) == stage["cpu_s"]
        assert value(found, "stage_wall_seconds", input=name, stage=stage["name"]) == stage["wall_s"]
    assert value(found, "tracks", input=name) == 1
    assert value(found, "engine_fallbacks", input=name) == 0
    assert value(found, "peak_memory_bytes", input=name) == summary["peak_memory_bytes"]
    assert value(found, "status", input=name, status="complete") == 1
    assert value(found, "status", input=name, status="failed") == 0
    assert value(found, "status", input=missing, status="failed") == 1
    ended_s = value(found, "end_timestamp_seconds", input=name)
    assert abs(ended_s - file.stat().st_mtime) < 60
    assert [value(found, "inputs", status=status) for status in ("complete", "failed", "partial")] == [1, 1, 0]
    assert [path.name for path in tmp_path.iterdir() if "watchline.prom" in path.name] == ["watchline.prom"]


def test_what_fails_to_load_is_a_failed_run_and_not_the_success_of_the_day_before(clip: Path, tmp_path: Path) -> None:
    model, file = tmp_path / "broken.onnx", tmp_path / "watchline.prom"
    model.write_bytes(b"no network")
    done = watchline("run", clip, "--model", model, "--out", tmp_path / "out", "--metrics", file)
    assert done.returncode == 1
    assert value(samples(file), "status", input=str(clip), status="failed") == 1


@pytest.mark.parametrize("path", ["nowhere/watchline.prom", "folder.prom"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_runs(
    tiny: Path, clip: Path, tmp_path: Path, path: str
) -> None:
    (tmp_path / "folder.prom").mkdir()
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path / "out", "--metrics", tmp_path / path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "choose another --metrics" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_film_given_by_a_slip_is_not_overwritten(tiny: Path, clip: Path, tmp_path: Path) -> None:
    before = clip.read_bytes()
    done = watchline("run", "--model", tiny, "--out", tmp_path / "out", "--metrics", clip, clip)
    assert done.returncode == 2
    assert "ends in .prom" in done.stderr
    assert clip.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="allow writing there or choose another --metrics"):
        MetricsFile(tmp_path / "watchline.prom")


def test_a_trial_leaves_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "watchline.prom"
    file.write_text("kept")
    MetricsFile(file)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("name", ['a "quoted" name', "two\nlines", "back\\slash", "\udcff is no text", "{},="])
def test_any_name_of_an_input_comes_back_whole(name: str, tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "watchline.prom")
    file.add(name, made())
    (info,) = labels_of(samples(tmp_path / "watchline.prom"), "info")
    assert info["input"] == name.replace("\udcff", "?")


def test_an_input_that_is_named_twice_is_told_twice(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "watchline.prom", lambda: 100.5)
    for status in ("complete", "cancelled"):
        file.add("yard.mp4", made(status=status))
    found = samples(tmp_path / "watchline.prom")
    assert value(found, "status", input="yard.mp4", status="complete") == 1
    assert value(found, "status", input="yard.mp4 (2)", status="cancelled") == 1
    assert value(found, "end_timestamp_seconds", input="yard.mp4") == 100.5


def test_of_very_many_inputs_the_last_are_told_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_file, "_MOST_INPUTS", 3)
    file = MetricsFile(tmp_path / "watchline.prom")
    for number in range(5):
        file.add(f"{number}.mp4", None)
    found = samples(tmp_path / "watchline.prom")
    assert {labels["input"] for labels in labels_of(found, "status")} == {"2.mp4", "3.mp4", "4.mp4"}
    assert value(found, "inputs", status="failed") == 5


def test_devices_that_gave_way_to_another_are_counted_over_all_models(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "watchline.prom")
    gone = Fallback("cuda", "openvino", "no driver"), Fallback("openvino", "cpu", "it broke")
    file.add("yard.mp4", made(gone, gone[:1]))
    assert value(samples(tmp_path / "watchline.prom"), "engine_fallbacks", input="yard.mp4") == 3


def test_a_file_that_can_no_longer_be_written_is_an_error_and_leaves_the_last_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = MetricsFile(folder / "watchline.prom")
    folder.rmdir()
    with pytest.raises(OutputError, match=r"watchline\.prom: cannot write .*choose another --metrics"):
        file.add("yard.mp4", made())


def test_promtool_finds_nothing_to_better(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here; it comes with Prometheus")
    path = tmp_path / "watchline.prom"
    file = MetricsFile(path)
    file.add('a "quoted" name', made())
    file.add("gone.mp4", None)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=path.read_bytes(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
