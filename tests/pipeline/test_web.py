"""The HTTP interface, answered by the application itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.pipeline.live_app import TOKEN, ScriptedDaemon
from tests.pipeline.live_statuses import pool
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.web.access import Access
from watchline.pipeline.web.connection import BoundedConnection
from watchline.pipeline.web.server import WebServer
from watchline.streams.camera import CameraState
from watchline.streams.failure import Reason


@pytest.fixture
def daemon() -> ScriptedDaemon:
    made = ScriptedDaemon("dock-1", "dock-2", "gate")
    made.site.advance(5.0)
    return made


@pytest.fixture
def client(daemon: ScriptedDaemon) -> Iterator[httpx.Client]:
    with WebServer(daemon.app()) as server, httpx.Client(base_url=server.url, timeout=10) as made:
        yield made


def test_the_metrics_are_those_of_the_exporter(client: httpx.Client) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'watchline_camera_up{camera="dock-1"} 1\n' in answer.text


def test_health_is_that_of_the_daemon_and_says_what_is_wrong(client: httpx.Client, daemon: ScriptedDaemon) -> None:
    assert client.get("/healthz").json() == {"alive": True, "detail": ""}
    daemon.wrong = "the journal did not advance for 40 s"
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["detail"]) == (503, daemon.wrong)


def test_readiness_names_the_cameras_that_do_not_advance_and_why(client: httpx.Client, daemon: ScriptedDaemon) -> None:
    assert client.get("/readyz").json() == {"ready": True, "cameras": 3, "waiting": []}
    daemon.site.go("dock-2", CameraState.OFFLINE, Reason.TIMEOUT)
    time.sleep(0.3)  # for which an answer is kept
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["waiting"] == [{"id": "dock-2", "why": "offline: timeout: nothing came for 3.0 s"}]


def test_a_camera_that_gives_pictures_of_which_none_is_processed_is_not_ready(daemon: ScriptedDaemon) -> None:
    daemon.patience_s = 0.2
    daemon.site.cameras["gate"].analysed = 0.0
    with WebServer(daemon.app()) as server:
        time.sleep(0.4)
        answer = httpx.get(f"{server.url}/readyz").json()
    assert [one["id"] for one in answer["waiting"]] == ["gate"]
    assert "none was processed" in answer["waiting"][0]["why"]


def test_cameras_of_a_detector_that_is_down_are_not_ready(client: httpx.Client, daemon: ScriptedDaemon) -> None:
    daemon.site.pools["people"] = pool("people", PoolState.DOWN, "failed 5 times in 60 s")
    waiting = client.get("/readyz").json()["waiting"]
    assert {one["why"] for one in waiting} == {'detector "people" is down: failed 5 times in 60 s'}


def test_all_cameras_are_told_with_their_states_reasons_and_ages(client: httpx.Client, daemon: ScriptedDaemon) -> None:
    daemon.site.go("gate", CameraState.FROZEN, Reason.FROZEN)
    told = client.get("/api/cameras").json()
    assert told["site"] == "north-gate"
    cameras = {one["id"]: one for one in told["cameras"]}
    assert cameras["gate"]["state"] == "frozen"
    assert cameras["gate"]["reason"] == "frozen"
    assert cameras["dock-1"]["advancing"]
    assert 0.1 < cameras["dock-1"]["age_s"] < 2
    assert told["detectors"][0]["state"] == "running"


def test_the_counts_of_a_camera_add_up(client: httpx.Client) -> None:
    one = client.get("/api/cameras/dock-1").json()
    assert one["received"] == one["processed"] + sum(one["dropped"].values()) + one["in_flight"]


def test_an_unknown_camera_is_said_to_be_unknown(client: httpx.Client) -> None:
    for path in ("/api/cameras/attic", "/cameras/attic/snapshot.jpg", "/cameras/attic/live.mjpg"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["detail"]) == (404, 'there is no camera "attic"')


def test_a_snapshot_is_a_jpeg_and_an_offline_camera_says_why_it_has_none(
    client: httpx.Client, daemon: ScriptedDaemon
) -> None:
    answer = client.get("/cameras/dock-1/snapshot.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:2] == b"\xff\xd8"
    daemon.site.go("dock-1", CameraState.OFFLINE, Reason.AUTH)
    time.sleep(0.3)
    answer = client.get("/cameras/dock-1/snapshot.jpg")
    assert answer.status_code == 503
    assert "offline: auth" in answer.json()["detail"]


def test_live_pictures_come_one_after_the_other_and_end_with_their_client(
    client: httpx.Client, daemon: ScriptedDaemon
) -> None:
    with client.stream("GET", "/cameras/dock-1/live.mjpg") as answer:
        assert answer.headers["content-type"].startswith("multipart/x-mixed-replace; boundary=")
        seen = b""
        for part in answer.iter_raw():
            seen += part
            assert daemon.pictures.looking() == 1
            if seen.count(b"Content-Type: image/jpeg") >= 3:
                break
    until = time.monotonic() + 5
    while daemon.pictures.looking() and time.monotonic() < until:
        time.sleep(0.05)
    assert daemon.pictures.looking() == 0


def test_live_pictures_of_a_camera_that_is_removed_end(client: httpx.Client, daemon: ScriptedDaemon) -> None:
    with client.stream("GET", "/cameras/gate/live.mjpg") as answer:
        daemon.pictures.remove("gate")
        for _ in answer.iter_raw():
            pass
    assert daemon.pictures.looking() == 0


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/healthz", "/readyz", "/api/cameras", "/cameras/gate/snapshot.jpg", "/cameras/gate/live.mjpg"],
)
def test_head_is_answered_like_get_without_a_body(client: httpx.Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_every_answer_forbids_foreign_content_guessing_and_keeping(client: httpx.Client) -> None:
    for path in ("/", "/metrics", "/api/cameras", "/nowhere", "/cameras/gate/snapshot.jpg", "/static/page.js"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_pages_that_load_scripts_from_elsewhere_are_off_and_the_description_is_there(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404
    assert set(client.get("/openapi.json").json()["paths"]) == {
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/cameras",
        "/api/cameras/{camera}",
        "/cameras/{camera}/live.mjpg",
        "/cameras/{camera}/snapshot.jpg",
    }
    for path in ("/", "/static/page.js", "/static/page.css"):
        assert "http" not in client.get(path).text.replace("http.token_file", "")


def test_a_foreign_host_name_is_refused_where_there_is_no_token(client: httpx.Client) -> None:
    assert client.get("/api/cameras", headers={"host": "attacker.example:8770"}).status_code == 403
    for good in ("localhost:1", "127.0.0.1", "[::1]:8770", "LOCALHOST"):
        assert client.get("/api/cameras", headers={"host": good}).status_code == 200


def test_a_long_body_is_refused(client: httpx.Client) -> None:
    assert client.request("GET", "/metrics", content=b"x" * 5000).status_code == 413
    assert client.post("/login", content=iter([b"x" * 10])).status_code == 413  # of unknown length


def test_what_is_not_offered_is_refused(client: httpx.Client) -> None:
    assert client.post("/api/cameras").status_code == 405
    assert client.get("/api/cameras/..%2f..%2fetc").status_code in (404, 422)
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_a_defect_is_answered_without_telling_of_it(daemon: ScriptedDaemon, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise RuntimeError("rtsp://admin:hunter2@10.0.0.7/h264")

    with WebServer(daemon.app(ailing=broken)) as server:
        answer = httpx.get(f"{server.url}/healthz")
    assert (answer.status_code, answer.json()["detail"]) == (500, "internal error; the log says more")
    assert "RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text


def test_no_answer_tells_a_secret(client: httpx.Client, daemon: ScriptedDaemon) -> None:
    canary = "hunter2-canary"
    address = f"rtsp://admin:{canary}@10.0.0.7/h264?password={canary}"
    daemon.site.cameras["dock-1"].sentence = f'camera "dock-1": cannot open {address}'
    daemon.site.go("dock-1", CameraState.OFFLINE, Reason.AUTH)
    daemon.site.pools["people"] = pool("people", PoolState.DOWN, f"no model at {address}")
    paths = ["/", "/metrics", "/healthz", "/readyz", "/api/cameras", "/api/cameras/dock-1", "/api/cameras/gate"]
    for path in [*paths, "/cameras/dock-1/snapshot.jpg", "/cameras/dock-1/live.mjpg", "/openapi.json"]:
        answer = client.get(path)
        assert canary not in answer.text + str(answer.headers), path


class TestWithAToken:
    @pytest.fixture
    def client(self, daemon: ScriptedDaemon) -> Iterator[httpx.Client]:
        app = daemon.app(Access(TOKEN, hosts=None))
        with WebServer(app) as server, httpx.Client(base_url=server.url, timeout=10) as made:
            yield made

    def test_nothing_but_health_is_told_without_it(self, client: httpx.Client) -> None:
        paths = ["/metrics", "/readyz", "/api/cameras", "/api/cameras/gate", "/cameras/gate/snapshot.jpg"]
        paths += ["/cameras/gate/live.mjpg", "/openapi.json", "/nowhere"]
        for path in paths:
            for given in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
                answer = client.get(path, headers={"authorization": given})
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (path, given)
                assert TOKEN not in answer.text
        assert client.get("/healthz").status_code == 200

    def test_everything_is_told_with_it(self, client: httpx.Client) -> None:
        for path in ("/metrics", "/readyz", "/api/cameras", "/openapi.json", "/"):
            answer = client.get(path, headers={"authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 200
            assert TOKEN not in answer.text

    def test_the_page_asks_for_it_and_remembers_who_knew_it(self, client: httpx.Client) -> None:
        answer = client.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "login")
        assert "Token" in client.get("/login").text
        wrong = client.post("/login", data={"token": "wrong"})
        assert wrong.status_code == 401
        assert "That is not the token." in wrong.text
        right = client.post("/login", data={"token": TOKEN})
        cookie = right.headers["set-cookie"]
        assert right.status_code == 303
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/api/cameras").status_code == 200
        client.post("/logout")
        client.cookies.clear()
        assert client.get("/api/cameras").status_code == 401

    def test_a_made_up_session_opens_nothing(self, client: httpx.Client) -> None:
        for cookie in ("", "x", "99999999999.", "99999999999.deadbeef", ".", "1.2.3", "٣.x"):
            answer = client.get("/api/cameras", headers=[(b"cookie", f"watchline_session={cookie}".encode())])
            assert answer.status_code == 401

    def test_who_guesses_has_to_wait(self, client: httpx.Client) -> None:
        for _ in range(10):
            assert client.post("/login", data={"token": "guess"}).status_code == 401
        answer = client.post("/login", data={"token": TOKEN})
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 60

    def test_a_cookie_demands_tls_where_there_is_some(self, daemon: ScriptedDaemon) -> None:
        with WebServer(daemon.app(Access(TOKEN, None, secure=True))) as server:
            answer = httpx.post(f"{server.url}/login", data={"token": TOKEN})
        assert "Secure" in answer.headers["set-cookie"]


def test_a_token_is_not_shown_by_what_holds_it() -> None:
    assert TOKEN not in repr(replace(Access(), token=TOKEN))


def test_a_connection_has_bounds() -> None:
    assert BoundedConnection.request_s <= 30
    assert BoundedConnection.stall_s <= 30
