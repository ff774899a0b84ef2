"""What only the GStreamer connection does: hardware with its fallback, pipelines of a site's own, backlog."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.clips import read_number
from tests.kit import barcode
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer
from tests.streams.web_cameras import Content, Kind, follow_on, web_camera
from watchline.streams.address import Address
from watchline.streams.camera_settings import Backend, CameraSettings, Hardware
from watchline.streams.connecting import open_connection
from watchline.streams.failure import CameraError, Reason

SMALL = Scene(frames=500)
BALLS = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=NV12,width=160,height=120,framerate=25/1"


def settings(url: str, **others: Any) -> CameraSettings:
    wanted = {"backend": Backend.GSTREAMER, "open_timeout_s": 5.0, "silent_after_s": 1.0, **others}
    return CameraSettings("gate", Address.parse(url), **wanted)


@pytest.fixture
def server(require_rtsp_server: None, require_gstreamer: None) -> Iterator[RtspServer]:
    with RtspServer(life_s=60) as server:
        yield server


def refusal(wanted: CameraSettings, **others: Any) -> CameraError:
    with pytest.raises(CameraError) as caught:
        open_connection(wanted, **others).close()
    return caught.value


@pytest.mark.parametrize("module", ["connecting", "gstreamer", "gstreamer_library", "libav_live"])
def test_importing_a_backend_loads_neither_ffmpeg_nor_gstreamer(module: str) -> None:
    code = f"import sys, watchline.streams.{module}; sys.exit(bool({{'av', 'gi'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_without_pygobject_the_backend_says_what_to_install() -> None:
    code = """
import sys
sys.modules["gi"] = None
from tests.streams.web_cameras import Content, Kind, follow_on, web_camera
from watchline.streams.address import Address
from watchline.streams.camera_settings import Backend, CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.failure import CameraError, Reason
try:
    open_connection(CameraSettings("gate", Address.parse("rtsp://127.0.0.1:1/gate"), Backend.GSTREAMER))
except CameraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "PyGObject is not installed" in done.stdout
    assert 'pip install "watchline[gstreamer]"' in done.stdout


def test_without_pygobject_hardware_decoding_becomes_pyav_with_one_warning() -> None:
    code = """
import logging, sys
sys.modules["gi"] = None
logging.basicConfig(stream=sys.stdout)
from watchline.streams.address import Address
from watchline.streams.camera_settings import CameraSettings, Hardware
from watchline.streams.connecting import open_connection
from watchline.streams.failure import CameraError, Reason
try:
    open_connection(CameraSettings("gate", Address.parse("rtsp://127.0.0.1:1/gate"), hardware=Hardware.AUTO))
except CameraError as error:
    print(error.reason)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    warning, reason = done.stdout.splitlines()
    assert 'camera "gate": no chip decodes (PyGObject is not installed' in warning
    assert reason == "refused"


def test_hardware_decoding_falls_to_software_with_one_warning(
    server: RtspServer, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    from watchline.streams.gstreamer import GStreamerConnection

    server.add("/gate", record(SMALL), shared=False)
    chips = {"h264": ("no-such-chip-dec", "vp8dec")}
    wanted = settings(server.url("/gate"), hardware=Hardware.AUTO)
    with caplog.at_level(logging.WARNING), closing(GStreamerConnection(wanted, chips)) as connection:
        assert barcode.read(connection.read().picture().planes[0]) == 0
        assert "avdec_h264 in software" in connection.backend
    (warning,) = caplog.messages
    assert "no-such-chip-dec not installed" in warning
    assert "vp8dec failed" in warning


def test_a_chip_that_fails_while_it_decodes_is_left_for_software(
    server: RtspServer, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    from watchline.streams.gstreamer import GStreamerConnection

    server.add("/gate", record(SMALL), shared=False)
    register_broken_chip()
    wanted = settings(server.url("/gate"), hardware=Hardware.AUTO)
    with (
        caplog.at_level(logging.WARNING),
        closing(GStreamerConnection(wanted, {"h264": ("brokenchipdec",)})) as connection,
    ):
        assert barcode.read(connection.read().picture().planes[0]) == 0
        assert "avdec_h264 in software" in connection.backend
    (warning,) = caplog.messages
    assert "brokenchipdec failed" in warning


def test_a_chip_that_works_is_named(server: RtspServer, record: Record, caplog: pytest.LogCaptureFixture) -> None:
    from watchline.streams.gstreamer import GStreamerConnection

    server.add("/gate", record(SMALL), shared=False)
    wanted = settings(server.url("/gate"), hardware=Hardware.AUTO)
    with closing(GStreamerConnection(wanted, {"h264": ("openh264dec",)})) as connection:
        connection.read()
        assert "openh264dec in hardware" in connection.backend
    assert not caplog.messages


def register_broken_chip() -> None:
    """Adds a decoder to this process's GStreamer that fails at its first packet."""
    from gi.repository import GLib, Gst

    Gst.init(None)
    if Gst.ElementFactory.find("brokenchipdec") is not None:
        return

    def template(name: str, direction: Any, caps: str) -> Any:
        return Gst.PadTemplate.new(name, direction, Gst.PadPresence.ALWAYS, Gst.Caps.from_string(caps))

    templates = (
        template("sink", Gst.PadDirection.SINK, "video/x-h264"),
        template("src", Gst.PadDirection.SRC, "video/x-raw"),
    )

    class BrokenChip(Gst.Element):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            sink = Gst.Pad.new_from_template(templates[0], "sink")
            sink.set_chain_function_full(self.fail)
            self.add_pad(sink)
            self.add_pad(Gst.Pad.new_from_template(templates[1], "src"))

        def fail(self, _pad: Any, _parent: Any, _buffer: Any) -> Any:
            error = GLib.Error.new_literal(GLib.quark_from_string("gst-stream-error-quark"), "broken", 7)
            self.post_message(Gst.Message.new_error(self, error, "the chip is broken"))
            return Gst.FlowReturn.ERROR

    BrokenChip.set_metadata("Broken chip", "Decoder/Video", "Fails", "tests")
    for each in templates:
        BrokenChip.add_pad_template(each)
    Gst.Element.register(None, "brokenchipdec", Gst.Rank.NONE, BrokenChip)


def test_a_pipeline_of_the_sites_own_needs_leave() -> None:
    error = refusal(settings("rtsp://cam-7/gate", pipeline=f"{BALLS} ! appsink name=out"))
    assert "allow_custom_pipelines: true" in str(error)


def test_pyav_runs_no_pipeline_of_gstreamers() -> None:
    wanted = settings("rtsp://cam-7/gate", pipeline="fakesrc ! appsink name=out", backend=Backend.PYAV)
    assert "set its backend to gstreamer" in str(refusal(wanted, allow_custom_pipelines=True))


@pytest.mark.usefixtures("require_gstreamer")
@pytest.mark.parametrize("url", ["rtsp://cam-7/gate", "http://cam-7/live.m3u8", "rtmp://cam-7/live/gate"])
def test_a_pipeline_of_the_sites_own_gives_pictures(url: str) -> None:
    wanted = settings(url, pipeline=f"{BALLS} ! appsink name=out", backend=Backend.AUTO)
    with closing(open_connection(wanted, allow_custom_pipelines=True)) as connection:
        picture = connection.read().picture()
        assert "its own pipeline" in connection.backend
    assert [plane.shape for plane in picture.planes] == [(120, 160), (60, 80, 2)]
    assert picture.rgb().shape == (120, 160, 3)


@pytest.mark.usefixtures("require_gstreamer")
@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("fakesrc ! appsink name=in", 'no appsink named "out"'),
        ("fakesrc ! fakesink name=out", 'no appsink named "out"'),
        ("fakesrc", 'no appsink named "out"'),
        ("no-such-element ! appsink name=out", "no-such-element"),
        ("rtspsrc location=rtsp://admin:canary@cam ! ! appsink name=out", "cannot be built"),
    ],
)
def test_a_pipeline_that_cannot_be_used_is_refused(pipeline: str, said: str) -> None:
    error = refusal(settings("rtsp://cam-7/gate", pipeline=pipeline), allow_custom_pipelines=True)
    assert said in str(error)
    assert "canary" not in str(error)


@pytest.mark.usefixtures("require_gstreamer")
@pytest.mark.parametrize("kind", ["hls", "fmp4", "rtmp"])
def test_a_chip_that_fails_is_left_for_software_whatever_fetches_the_stream(kind: Kind, web_content: Content) -> None:
    from watchline.streams.gstreamer import GStreamerConnection

    register_broken_chip()
    with web_camera(kind, web_content) as camera:
        wanted = settings(camera.url(), hardware=Hardware.AUTO)
        with closing(GStreamerConnection(wanted, {"h264": ("brokenchipdec",)})) as connection:
            assert follow_on([read_number(connection.read().picture().rgb()) for _ in range(30)])
            assert "avdec_h264 in software" in connection.backend
            assert ("pyav" in connection.backend) == (kind != "rtmp")


@pytest.mark.usefixtures("require_gstreamer")
def test_certificate_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    error = refusal(settings("https://127.0.0.1:1/video.mjpg", tls_authorities=str(tmp_path / "none.pem")))
    assert error.reason is Reason.TLS
    assert "none.pem" in str(error)
    assert "name a PEM file" in str(error)


def test_a_reader_that_is_late_loses_packets_up_to_a_keyframe_and_they_are_counted(
    server: RtspServer, record: Record
) -> None:
    server.add("/gate", record(Scene(width=160, height=120, fps=200, gop=20, frames=2000)), shared=False)
    with closing(open_connection(settings(server.url("/gate")))) as connection:
        first = barcode.read(connection.read().picture().planes[0])
        time.sleep(1.5)  # 300 packets; 100 may wait
        numbers = [barcode.read(connection.read().picture().planes[0]) for _ in range(300)]
        lost = connection.undecodable
    assert first == 0
    known = [number for number in numbers if number is not None]
    assert len(known) == 300
    assert known == sorted(set(known))
    gaps = [(one, other) for one, other in pairwise(known) if other != one + 1]
    assert gaps
    assert all(other % 20 == 0 for _, other in gaps)
    assert lost >= sum(other - one - 1 for one, other in gaps) > 100
