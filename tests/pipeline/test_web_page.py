"""The status page in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.browser import Browser, open_browser
from tests.pipeline.live_app import TOKEN, ScriptedDaemon
from tests.pipeline.live_statuses import pool
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.metrics.facts import SightingFacts
from watchline.pipeline.web.access import Access
from watchline.pipeline.web.server import WebServer
from watchline.streams.camera import CameraState
from watchline.streams.failure import Reason

PIXELS = """(image) => {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL();
}"""


@pytest.fixture
def daemon() -> ScriptedDaemon:
    made = ScriptedDaemon("dock-1", "dock-2", "gate", "yard")
    made.site.advance(5.0)
    made.site.go("dock-2", CameraState.OFFLINE, Reason.TIMEOUT)
    made.site.go("yard", CameraState.FROZEN, Reason.FROZEN)
    return made


@pytest.fixture
def server(daemon: ScriptedDaemon) -> Iterator[WebServer]:
    with WebServer(daemon.app()) as made:
        yield made


def loaded(browser: Browser, image: str) -> None:
    """Waits for a picture; not by a script in the page, for the page forbids those."""
    until = time.monotonic() + 15
    while not browser.page.locator(image).evaluate("(image) => image.naturalWidth"):
        assert time.monotonic() < until, image
        browser.page.wait_for_timeout(50)


def shown(browser: Browser, camera: str) -> None:
    """Waits for a camera's picture."""
    loaded(browser, f"[data-camera='{camera}'] img")


def test_it_shows_each_camera_with_its_state_and_a_picture_that_moves(
    server: WebServer, daemon: ScriptedDaemon, tmp_path: Path
) -> None:
    with open_browser(tmp_path / "browser") as browser:
        page = browser.page
        page.goto(server.url)
        for camera in ("dock-1", "gate"):
            shown(browser, camera)
        states = {
            tile.get_attribute("data-camera"): tile.locator(".state").inner_text()
            for tile in page.locator(".tile").all()
        }
        assert states == {"dock-1": "live", "dock-2": "offline", "gate": "live", "yard": "frozen"}
        assert page.locator(".tile h2").all_inner_texts() == ["dock-2", "yard", "dock-1", "gate"]  # trouble comes first
        assert (
            "nothing came for 3.0 s (timeout); next try in 4.0 s" in page.locator("[data-camera='dock-2']").inner_text()
        )
        assert page.locator("#summary").inner_text() == "2 of 4 cameras need a look"
        assert page.title() == "(2) north-gate · watchline"
        first = page.locator("[data-camera='gate'] img").evaluate(PIXELS)
        page.wait_for_timeout(3000)
        assert page.locator("[data-camera='gate'] img").evaluate(PIXELS) != first
        page.screenshot(path=str(tmp_path / "light.png"), full_page=True)
        assert "/cameras/dock-2/snapshot.jpg" not in browser.asked
        assert (browser.errors, browser.foreign) == ([], [])


def test_it_follows_what_happens_without_being_loaded_again(
    server: WebServer, daemon: ScriptedDaemon, tmp_path: Path
) -> None:
    with open_browser(tmp_path / "browser", dark=True) as browser:
        page = browser.page
        page.goto(server.url)
        shown(browser, "gate")
        daemon.site.go("dock-2", CameraState.LIVE)
        daemon.site.pools["people"] = pool("people", PoolState.DOWN, "failed 5 times in 60 s")
        with daemon.site.lock:
            del daemon.site.cameras["dock-1"]
        page.locator(".banner", has_text="Detector people is down: failed 5 times in 60 s").wait_for()
        facts = daemon.sightings()
        assert facts is not None
        seeing = replace(facts.seeing, undescribed={"no_crop": 4, "behind": 0, "model": 3})
        told = SightingFacts(seeing, replace(facts.store, failing=True, sentence="people.db: no room left on its disk"))
        daemon.sightings_now = told
        panel = page.locator("#sightings")
        panel.locator(".why", has_text="no room left on its disk").wait_for()
        assert panel.locator("dd").all_inner_texts() == ["40", "7 (no_crop 4, model 3)", "0", "1", "1.0 MiB"]
        page.locator("[data-camera='dock-1']").wait_for(state="detached")
        page.locator("[data-camera='dock-2'] .state", has_text="not analysed").wait_for()
        page.screenshot(path=str(tmp_path / "dark.png"), full_page=True)
        assert (browser.errors, browser.foreign) == ([], [])


def test_a_click_on_a_picture_shows_it_live_and_closing_it_ends_that(
    server: WebServer, daemon: ScriptedDaemon, tmp_path: Path
) -> None:
    with open_browser(tmp_path / "browser") as browser:
        page = browser.page
        page.goto(server.url)
        shown(browser, "gate")
        page.locator("[data-camera='gate'] .picture").click()
        loaded(browser, "#live img")
        assert daemon.pictures.looking() == 1
        first = page.locator("#live img").evaluate(PIXELS)
        page.wait_for_timeout(500)
        assert page.locator("#live img").evaluate(PIXELS) != first
        page.screenshot(path=str(tmp_path / "live.png"))
        daemon.site.go("gate", CameraState.OFFLINE, Reason.ENDED)
        page.locator("#live.lost .why", has_text="nothing came for 3.0 s (ended)").wait_for()
        daemon.site.go("gate", CameraState.LIVE)
        page.locator("#live:not(.lost)").wait_for()
        loaded(browser, "#live img")
        page.locator("#live button").click()
        until = time.monotonic() + 5
        while daemon.pictures.looking() and time.monotonic() < until:
            page.wait_for_timeout(50)
        assert daemon.pictures.looking() == 0
        assert (browser.errors, browser.foreign) == ([], [])


def test_cameras_can_be_found_by_name_and_by_trouble(server: WebServer, tmp_path: Path) -> None:
    with open_browser(tmp_path / "browser") as browser:
        page = browser.page
        page.goto(server.url)
        page.locator("#search").fill("DOCK")
        page.locator(".tile:visible").nth(1).wait_for()
        assert page.locator(".tile:visible h2").all_inner_texts() == ["dock-2", "dock-1"]
        page.locator("#troubled").check()
        assert page.locator(".tile:visible h2").all_inner_texts() == ["dock-2"]
        page.locator("#search").fill("attic")
        assert page.locator("#empty").inner_text() == "No camera matches."


def test_many_cameras_ask_for_pictures_of_those_in_view_only(tmp_path: Path) -> None:
    daemon = ScriptedDaemon(*(f"camera-{number}" for number in range(1, 101)))
    daemon.site.advance(5.0)
    with WebServer(daemon.app()) as server, open_browser(tmp_path / "browser", height=700) as browser:
        page = browser.page
        page.goto(server.url)
        shown(browser, "camera-1")
        page.wait_for_timeout(4000)
        asked = {path for path in browser.asked if path.endswith(".jpg")}
        assert 4 <= len(asked) <= 16
        assert "/cameras/camera-100/snapshot.jpg" not in asked
        page.locator("[data-camera='camera-100']").scroll_into_view_if_needed()
        shown(browser, "camera-100")
        assert browser.errors == []


def test_a_site_without_cameras_says_what_to_do(tmp_path: Path) -> None:
    with WebServer(ScriptedDaemon().app()) as server, open_browser(tmp_path / "browser") as browser:
        browser.page.goto(server.url)
        browser.page.locator("#empty", has_text="This site has no cameras yet.").wait_for()
        assert browser.page.locator("#summary").inner_text() == "No cameras"
        browser.page.screenshot(path=str(tmp_path / "empty.png"))
        assert (browser.errors, browser.foreign) == ([], [])


def test_a_daemon_that_is_gone_is_told_of_and_a_narrow_screen_shows_all(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    with open_browser(tmp_path / "browser", width=380, height=800) as browser:
        page = browser.page
        with WebServer(daemon.app()) as server:
            page.goto(server.url)
            page.locator("[data-camera='gate']").scroll_into_view_if_needed()
            shown(browser, "gate")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator("#contact", has_text="No contact with watchline since").wait_for()
        place = page.locator("#contact").bounding_box()
        assert place is not None
        assert 0 <= place["y"] < 400, "it is seen though the page is scrolled"
        page.screenshot(path=str(tmp_path / "gone.png"))


def test_the_token_is_asked_for_once(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    app = daemon.app(Access(TOKEN, hosts=None))
    with WebServer(app) as server, open_browser(tmp_path / "browser") as browser:
        page = browser.page
        page.goto(server.url)
        assert page.url == f"{server.url}/login"
        page.screenshot(path=str(tmp_path / "login.png"))
        page.locator("#token").fill("wrong-wrong-wrong-wrong")
        page.locator("button").click()
        page.locator(".wrong", has_text="That is not the token.").wait_for()
        browser.errors.clear()  # a browser counts the answer 401 as one
        page.locator("#token").fill(TOKEN)
        page.locator("button").click()
        shown(browser, "gate")
        page.reload()
        shown(browser, "gate")
        assert page.evaluate("document.cookie") == ""  # no script can read it
        page.locator("button", has_text="Log out").click()
        page.locator("#token").wait_for()
        assert (browser.errors, browser.foreign) == ([], [])
