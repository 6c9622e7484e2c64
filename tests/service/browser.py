"""A browser that watches the pages: errors, requests to other hosts, and pictures to look at."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("PEAR_CHROMIUM") or shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SHOTS = os.environ.get("PEAR_SCREENSHOTS")


class Watched:
    """A page that notes what it must not do: errors, and requests to other hosts."""

    def __init__(self, browser: Browser, base: str, width: int = 1300, height: int = 900) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": height})
        self.page.set_default_timeout(60_000)
        self.base, self.faults = base, []  # type: tuple[str, list[str]]
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)

    def _console(self, message: Any) -> None:
        # This test's own looking at the canvas, and drivers in software.
        readback = "willReadFrequently" in message.text or "GL Driver Message" in message.text
        if message.type in ("error", "warning") and not readback:
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        place = urlsplit(request.url)
        if place.scheme not in ("data", "blob") and place.netloc != urlsplit(self.base).netloc:
            self.faults.append(f"left the host: {request.url}")

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.url} {request.failure}")

    def open(self, path: str, charts: bool = False) -> Page:
        self.page.goto(self.base + path)
        self.page.wait_for_selector("body[data-ready=yes]")
        if charts:
            self.page.wait_for_selector("body[data-charts=yes]")
        return self.page

    def close(self, name: str) -> None:
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)
        self.page.close()
        assert self.faults == []


def until(page: Page, expression: str) -> None:
    """Wait for an expression; playwright's own way needs eval, which the pages forbid."""
    end = time.monotonic() + 60
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(expression)
        time.sleep(0.05)


def colours(page: Page) -> int:
    """Number of different colours on the map."""
    return int(
        page.evaluate(
            "() => { const c = document.getElementById('map'); const gl = c.getContext('2d');"
            "const d = new Uint32Array(gl.getImageData(0, 0, c.width, c.height).data.buffer);"
            "return new Set(d).size; }"
        )
    )
