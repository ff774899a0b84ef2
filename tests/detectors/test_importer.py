"""Importing a checkpoint: a child process, a cache, and one error line for everything that goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.detectors import checkpoints
from tests.detectors.checkpoints import Made
from watchline.detectors.card import ModelCard
from watchline.detectors.confined import Bounds
from watchline.detectors.importer.child import Job
from watchline.detectors.importer.convert import ModelDescription, describe, import_checkpoint
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.selfcheck import check
from watchline.streams.errors import ModelError, OutputError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt"
    path.write_bytes(checkpoints.checkpoint({"model": checkpoints.small_network(), "license": "MIT"}))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


def parameters_of(module: Made) -> int:
    own: int = sum(numbers.size for numbers in module.part("_parameters").values() if numbers is not None)
    return own + sum(parameters_of(child) for child in module.part("_modules").values())


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_an_imported_checkpoint_is_onnx_that_says_what_it_is(source: Path, cache: Path) -> None:
    session = session_of(import_checkpoint(source, cache))
    card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map)
    assert (card.family, card.task, card.labels, card.strides) == ("yolov8", "detect", ("person", "dog", "car"), (4, 8))
    assert (card.source_name, card.licence, len(card.source_sha256)) == ("net.pt", "MIT", 64)
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert [output.name for output in session.get_outputs()] == ["output0"]


def test_a_second_import_takes_the_file_of_the_first(source: Path, cache: Path) -> None:
    first = import_checkpoint(source, cache)
    written = first.stat().st_mtime_ns
    again = import_checkpoint(source.rename(source.with_name("renamed.pt")), cache)
    assert (again, again.stat().st_mtime_ns) == (first, written)
    assert sorted(child.suffix for child in cache.iterdir()) == [".onnx", ".sha256"]


def test_a_damaged_cache_is_made_anew(source: Path, cache: Path) -> None:
    made = import_checkpoint(source, cache)
    whole = made.read_bytes()
    made.write_bytes(whole[:1000])
    assert import_checkpoint(source, cache).read_bytes() == whole


def test_each_fixed_size_has_a_file_of_its_own(source: Path, cache: Path) -> None:
    fixed = import_checkpoint(source, cache, (16, 24))
    assert fixed.name.endswith("-16x24.onnx")
    assert session_of(fixed).get_inputs()[0].shape == ["batch", 3, 16, 24]
    assert import_checkpoint(source, cache) != fixed


def test_several_may_import_the_same_file_at_once(source: Path, cache: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: import_checkpoint(source, cache), range(3)))
    assert len(paths) == 1
    assert len(list(cache.iterdir())) == 2
    session_of(paths.pop())


def test_a_payload_does_not_run_in_the_child_either(tmp_path: Path, cache: Path) -> None:
    sentinel, path = tmp_path / "ran", tmp_path / "evil.pt"
    path.write_bytes(checkpoints.checkpoint({"model": Made("os.system", (f"touch {sentinel}",), {"a": 1})}))
    with pytest.raises(ModelError, match=r"^evil\.pt: a network of class os\.system is not supported; supported: "):
        import_checkpoint(path, cache)
    assert not sentinel.exists()
    assert list(cache.iterdir()) == []


def test_weights_that_lead_to_nonsense_fail_the_self_check(tmp_path: Path, cache: Path) -> None:
    network = checkpoints.small_network(dtype="float32")
    first = network.part("model").part("0").part("conv")
    first.part("_parameters")["weight"][:] = np.inf
    path = tmp_path / "net.pt"
    path.write_bytes(checkpoints.checkpoint({"model": network}))
    with pytest.raises(ModelError, match=r"^net\.pt: self-check: it answers a grey picture with infinite"):
        import_checkpoint(path, cache)


def test_the_self_check_notices_another_answer_than_the_card_promises(source: Path, cache: Path) -> None:
    model = import_checkpoint(source, cache).read_bytes()
    with pytest.raises(ModelError, match=r"self-check: its answer has shape \(1, 7, \d+\), expected \(1, 6, \d+\)"):
        check(model, ModelCard("yolov8", "detect", ("a", "b"), (4, 8)), Head(2, (4, 8)), None)


@pytest.mark.parametrize("size", [(0, 32), (32, -32), (32, 100_000)])
def test_a_size_of_nonsense_is_refused(size: tuple[int, int], source: Path, cache: Path) -> None:
    with pytest.raises(ModelError, match="is not within 1 to 4096"):
        import_checkpoint(source, cache, size)


def test_a_missing_file_is_named(tmp_path: Path, cache: Path) -> None:
    for read in (describe, lambda path: import_checkpoint(path, cache)):
        with pytest.raises(ModelError, match=r"none\.pt: No such file or directory"):
            read(tmp_path / "none.pt")
        with pytest.raises(ModelError, match=r": not a file"):
            read(tmp_path)


def test_a_cache_that_cannot_be_written_is_named(source: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    with pytest.raises(OutputError, match=r"model cache .*file.*: "):
        import_checkpoint(source, in_the_way / "models")


def test_a_checkpoint_is_described_without_being_converted(source: Path) -> None:
    assert describe(source) == ModelDescription(
        path=source,
        format="torch checkpoint",
        size_bytes=source.stat().st_size,
        sha256=describe(source).sha256,
        family="yolov8",
        task="detect",
        labels=("person", "dog", "car"),
        strides=(4, 8),
        input=("batch", "3", "height", "width"),
        parameters=parameters_of(checkpoints.small_network()),
        gflops=describe(source).gflops,
        gflops_at="640x640",
        licence="MIT",
        supported=True,
        reason="",
    )


def test_the_work_of_a_network_is_told_for_the_size_that_is_asked_for(source: Path) -> None:
    whole, half = describe(source), describe(source, (320, 640))
    assert half.gflops_at == "320x640"
    assert half.gflops == pytest.approx(whole.gflops / 2, abs=0.001)
    assert whole.gflops > 0


def test_an_onnx_file_is_described(source: Path, cache: Path) -> None:
    made = import_checkpoint(source, cache)
    found = describe(made)
    assert (found.format, found.family, found.task, found.licence) == ("onnx", "yolov8", "detect", "MIT")
    assert (found.input, found.strides, found.supported) == (("batch", "3", "height", "width"), (4, 8), True)


def test_an_unsupported_checkpoint_is_described_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "turned.pt"
    network = checkpoints.small_network()
    path.write_bytes(checkpoints.checkpoint(Made("ultralytics.nn.tasks.OBBModel", (), network.state)))
    found = describe(path)
    assert not found.supported
    assert found.reason == (
        "a network of class ultralytics.nn.tasks.OBBModel is not supported; "
        "supported: ultralytics.nn.tasks.DetectionModel (yolov8 detect), ultralytics.nn.tasks.PoseModel (yolov8 pose), "
        "ultralytics.nn.tasks.SegmentationModel (yolov8 segment), models.yolo.Model (yolov7 detect, pose), "
        "yolov6.models.yolo.Model (yolov6 detect, face), yolov6.models.yolo_lite.Model (yolov6 detect, face)"
    )
    assert found.parameters == parameters_of(network)


@pytest.mark.parametrize("data", [b"", b"\x08\x08\x12\x07pytorch", bytes(50), b"\xff" * 50])
def test_a_damaged_onnx_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"^net\.onnx: not an ONNX model, or "):
        describe(path)


def test_a_truncated_onnx_file_is_refused(source: Path, cache: Path) -> None:
    made = import_checkpoint(source, cache)
    made.write_bytes(made.read_bytes()[:-3000])
    with pytest.raises(ModelError, match="not an ONNX model, or damaged"):
        describe(made)


def test_the_importing_process_loads_neither_onnx_nor_a_runtime() -> None:
    code = (
        "import sys, watchline.detectors.importer.convert; print({'onnx', 'onnxruntime', 'pickle'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout in ("set()\n", "{'pickle'}\n")  # NumPy imports pickle by itself


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the child through /proc")
def test_a_child_that_dies_is_one_line(source: Path, cache: Path) -> None:
    """The operating system kills the child while it is at work."""

    def kill_the_child() -> None:
        children = Path(f"/proc/self/task/{caller}/children")
        while not stop.wait(0.002):
            for pid in children.read_text().split():
                if b"detectors.importer.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)
                    return

    stop, caller = threading.Event(), threading.get_native_id()
    killer = threading.Thread(target=kill_the_child)
    killer.start()
    try:
        with pytest.raises(
            ModelError, match=r"^net\.pt: the process that reads it ended with signal 9, out of memory\?"
        ):
            import_checkpoint(source, cache)
    finally:
        stop.set()
        killer.join()
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only there the address space is bounded for sure")
def test_a_child_without_memory_says_so_in_one_line(source: Path) -> None:
    job = Job(source=str(source), target="x.onnx", sha256="", size=[], batch=0, raw=False)
    bounds = json.dumps(asdict(Bounds(memory_bytes=10 << 20, cpu_s=60)))
    command = [sys.executable, "-m", "watchline.detectors.importer.child", json.dumps(job), bounds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert set(json.loads(done.stdout)) == {"error"}
    assert "Traceback" not in done.stderr


# --- the real thing ---


@pytest.fixture(scope="module")
def yolov8n(data_dir: Path) -> Path:
    return data_dir / "models" / "yolov8n.pt"


@pytest.fixture(scope="module")
def real(yolov8n: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_checkpoint(yolov8n, tmp_path_factory.mktemp("cache"))


def run(session: onnxruntime.InferenceSession, images: NDArray[np.float32]) -> NDArray[np.float32]:
    (answer,) = session.run(None, {"images": images})
    return np.asarray(answer)


@pytest.mark.data
def test_the_official_yolov8n_is_described(yolov8n: Path) -> None:
    found = describe(yolov8n)
    assert (found.parameters, len(found.labels), found.labels[0]) == (3_157_200, 80, "person")
    assert (found.strides, found.licence, found.supported) == ((8, 16, 32), "AGPL-3.0-only", True)


@pytest.mark.data
def test_the_official_yolov8n_answers_any_size_and_batch(
    yolov8n: Path, real: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    session = session_of(real)
    random = np.random.default_rng(5)
    for height, width in ((96, 160), (64, 64)):
        images = random.random((2, 3, height, width), np.float32)
        answer = run(session, images)
        assert answer.shape == (2, 84, height * width * 21 // 1024)
        assert np.isfinite(answer).all()
        for image, together in zip(images, answer, strict=True):
            np.testing.assert_allclose(run(session, image[None])[0], together, rtol=1e-4, atol=1e-4)
    fixed = import_checkpoint(yolov8n, tmp_path_factory.mktemp("fixed"), (64, 64))
    np.testing.assert_allclose(run(session_of(fixed), images), answer, rtol=1e-5, atol=1e-5)


@pytest.mark.data
def test_a_real_network_for_the_corners_of_plates_is_imported(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "models" / "y7plate_yolov7-lite-t.pt"
    found = describe(path)
    assert (found.supported, found.parameters, found.family, found.task) == (True, 251_362, "yolov7", "pose")
    assert (found.labels, found.strides) == (("single", "double"), (8, 16, 32))
    session = session_of(import_checkpoint(path, tmp_path))
    assert session.get_modelmeta().custom_metadata_map["watchline.keypoints"] == "[4, 3]"
    answer = run(session, np.full((1, 3, 64, 96), 114 / 255, np.float32))
    assert answer.shape == (1, 3 * 64 * 96 * 21 // 1024, 5 + 2 + 4 * 3)
    assert answer[..., 4].max() < 0.1  # there is no plate on a grey picture
