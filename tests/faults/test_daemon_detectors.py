"""What goes wrong with a daemon's detector: its process dies, its device is lost or was never there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.daemon_models import write_touchy_model
from tests.kit.daemon import DaemonProcess, small_site
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="detectors have a process of their own on Linux")

BACK_S = 8.0  # within which a detector that was killed works again; half of that is the start of its runtime
DARK = Scene(frames=250, numbered=False, noise=0.0)


@pytest.fixture
def daemon(tiny: Path, clip: Path, tmp_path: Path) -> Iterator[DaemonProcess]:
    site = small_site(tiny, {"east": clip, "west": clip}, fps=10)
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames()
        yield daemon


def kill_detector(daemon: DaemonProcess) -> psutil.Process:
    """Kills the process that runs the network, and waits until its death is counted."""
    (detector,) = daemon.detectors()
    deaths = daemon.metrics().value("watchline_detector_deaths_total")
    detector.kill()
    daemon.wait(lambda: daemon.metrics().value("watchline_detector_deaths_total") > deaths)
    return detector


def test_a_killed_detector_is_soon_back_and_costs_a_few_counted_frames(daemon: DaemonProcess) -> None:
    before = daemon.metrics()
    killed = kill_detector(daemon)
    took_s = daemon.wait(lambda: daemon.metrics().value("watchline_detector_up") == 1)
    daemon.wait_for_frames()
    assert took_s < BACK_S
    (again,) = daemon.detectors()
    assert again.pid != killed.pid
    after = daemon.metrics()
    assert after.value("watchline_detector_deaths_total") == 1
    assert 1 <= after.value("watchline_frames_dropped_total", reason="detector") <= 4
    for camera in ("east", "west"):
        assert after.value("watchline_camera_up", camera=camera) == 1
        assert after.value("watchline_reconnects_total", camera=camera) == 0
        assert daemon.track_ids(camera) == [1], "who stood there still does"
        seen = "watchline_frames_received_total"
        assert after.value(seen, camera=camera) > before.value(seen, camera=camera) + 10
    assert daemon.said("signal 9")
    assert daemon.said("it is opened anew")
    assert daemon.said("runs again")


def test_one_that_is_killed_again_and_again_is_down_and_says_so_while_cameras_stay_up(daemon: DaemonProcess) -> None:
    for _ in range(5):
        kill_detector(daemon)
        daemon.wait(lambda: daemon.detectors() and daemon.metrics().value("watchline_detector_up") == 1)
    kill_detector(daemon)
    daemon.wait(lambda: daemon.metrics().value("watchline_detector_up") == 0)
    before = daemon.metrics()
    lost = ("watchline_frames_dropped_total", "detector")
    daemon.wait(lambda: daemon.metrics().value(lost[0], reason=lost[1]) > before.value(lost[0], reason=lost[1]) + 20)
    after = daemon.metrics()
    for camera in ("east", "west"):
        assert after.value("watchline_camera_up", camera=camera) == 1
        assert after.value("watchline_frames_processed_total", camera=camera) == before.value(
            "watchline_frames_processed_total", camera=camera
        )
    status, body = daemon.get("/readyz")
    assert status == 503
    waiting: list[dict[str, str]] = json.loads(body)["waiting"]
    assert {one["id"] for one in waiting} == {"east", "west"}
    assert all("down, next try in" in one["why"] for one in waiting)
    detector: dict[str, Any] = json.loads(daemon.get("/api/cameras")[1])["detectors"][0]
    assert (detector["state"], detector["deaths"]) == ("down", 6)
    assert daemon.get("/healthz")[0] == 200, "a restart of the whole daemon would help nobody"
    assert daemon.stop()[0] == 0


@pytest.mark.usefixtures("require_rtsp_server")
def test_a_device_that_fails_is_opened_anew_until_it_works_again(record: Record, tmp_path: Path) -> None:
    bright = Scene(frames=250, numbered=False, noise=0.0, clip=str(_white_clip(tmp_path)))
    with RtspServer(life_s=120) as server:
        server.add("/cam", record(DARK))
        site = small_site(write_touchy_model(tmp_path / "touchy.onnx"), {"cam": server.url("/cam")}, fps=5)
        with DaemonProcess(tmp_path, site) as daemon:
            daemon.wait_for_frames()
            server.change("/cam", record(bright))
            daemon.wait(lambda: daemon.metrics().value("watchline_detector_deaths_total") >= 2)
            server.change("/cam", record(DARK))
            daemon.wait(lambda: daemon.metrics().value("watchline_detector_up") == 1)
            daemon.wait_for_frames()
            after = daemon.metrics()
            assert after.value("watchline_frames_dropped_total", reason="detector") >= 2
            assert after.value("watchline_camera_up") == 1
            assert after.value("watchline_reconnects_total") == 0
            assert daemon.said("indices element out of data bounds")
            assert len(daemon.detectors()) == 1, "those that failed are gone"
            assert daemon.stop()[0] == 0


def test_a_camera_whose_pictures_make_it_fail_does_not_take_it_from_others(clip: Path, tmp_path: Path) -> None:
    model = write_touchy_model(tmp_path / "touchy.onnx")
    with DaemonProcess(tmp_path, small_site(model, {"bad": _white_clip(tmp_path), "usual": clip}, fps=10)) as daemon:
        daemon.wait(lambda: daemon.said('camera "bad": the detector fails on its frames and works on those of others'))
        before = daemon.cameras()["usual"]["processed"]
        daemon.wait(lambda: daemon.cameras()["usual"]["processed"] > before + 50)
        after = daemon.metrics()
        assert after.value("watchline_detector_up") == 1
        assert 3 <= after.value("watchline_detector_deaths_total") <= 5
        assert after.value("watchline_frames_dropped_total", camera="bad", reason="detector") > 20
        assert after.value("watchline_frames_dropped_total", camera="usual", reason="detector") <= 3
        assert after.value("watchline_camera_up", camera="bad") == 1
        assert daemon.stop()[0] == 0


def test_one_that_opens_but_never_works_again_leaves_no_process_behind(clip: Path, tmp_path: Path) -> None:
    model = write_touchy_model(tmp_path / "touchy.onnx")
    with DaemonProcess(tmp_path, small_site(model, {"east": clip}, fps=10)) as daemon:
        daemon.wait_for_frames()
        write_touchy_model(tmp_path / "none.onnx", brightest=-1.0).replace(model)
        daemon.detectors()[0].kill()
        daemon.wait(lambda: daemon.metrics().value("watchline_detector_deaths_total") == 6)
        daemon.wait(lambda: not daemon.detectors(), 5)
        assert daemon.metrics().value("watchline_camera_up") == 1
        assert daemon.stop()[0] == 0


def test_an_end_waits_for_no_detector_that_hangs_however_many(tiny: Path, clip: Path, tmp_path: Path) -> None:
    site = small_site(tiny, {"east": clip, "west": clip, "north": clip}, fps=10)
    for camera, model in zip(site["cameras"], ("people", "others", "third"), strict=True):
        site["models"][model] = dict(site["models"]["people"])
        camera["model"] = model
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames()
        detectors = daemon.detectors()
        assert len(detectors) == 3
        for detector in detectors:
            detector.suspend()
        waiting = "watchline_frames_in_flight"
        daemon.wait(lambda: all(daemon.metrics().value(waiting, camera=c) for c in ("east", "west", "north")))
        code, took_s = daemon.stop()
    assert code == 3, "not all was finished, and it says so"
    assert took_s < 8
    assert daemon.said("some frames were left unfinished")
    assert not [detector for detector in detectors if detector.is_running()]
    for camera in ("east", "west", "north"):
        assert daemon.journal(camera)


def test_a_device_that_is_not_there_gives_way_to_the_next_and_is_told(tiny: Path, clip: Path, tmp_path: Path) -> None:
    from watchline.detectors.gpu import why_not

    if not why_not("cuda"):
        pytest.skip("there is a CUDA device here")
    site = small_site(tiny, {"east": clip})
    site["models"]["people"]["device"] = "cuda,cpu"
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames()
        scrape = daemon.metrics()
        assert scrape.labels("watchline_detector_info", "device") == ["cpu"]
        assert scrape.value("watchline_detector_fallbacks_total") == 1
        assert scrape.value("watchline_detector_up", device="cpu") == 1
        assert any("cuda" in line and "cpu" in line for line in daemon.lines), daemon.lines


def _white_clip(folder: Path) -> Path:
    """Writes ten bright pictures."""
    import av
    import numpy as np

    path = folder / "white.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 250, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path
