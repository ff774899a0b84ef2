"""A real browser for a test: the Chromium of the distribution, without a window, which may reach loopback only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

from tests.kit.require import skip_or_fail

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--metrics-recording-only",
)
PATIENCE_MS = 15_000


@dataclass
class Browser:
    """A page, and what went wrong in it."""

    page: Page
    errors: list[str] = field(default_factory=list)  # that the console or a script told
    foreign: list[str] = field(default_factory=list)  # addresses asked for that are not of this machine
    asked: list[str] = field(default_factory=list)  # paths asked for


@contextmanager
def open_browser(folder: Path, *, dark: bool = False, width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """A browser with its files in `folder`; skips (or fails) the test where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        skip_or_fail("no browser here; install chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder),
            executable_path=program,
            headless=True,
            args=list(FLAGS),
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": height},
        )
        context.set_default_timeout(PATIENCE_MS)
        browser = Browser(context.pages[0])
        page = browser.page
        page.on("console", lambda said: browser.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: browser.errors.append(str(error)))

        def asked(url: str) -> None:
            parts = urlsplit(url)
            browser.asked.append(parts.path)
            if parts.hostname not in ("127.0.0.1", "localhost") and parts.scheme not in ("data", "blob", "about"):
                browser.foreign.append(url)

        page.on("request", lambda request: asked(request.url))
        try:
            yield browser
        finally:
            context.close()
