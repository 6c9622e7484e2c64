"""Take the pictures of the pages that the handbook shows: light, dark, and as wide as a phone.

From a service with forecasts and evaluations, such as that of ``pear demo``, with the extra
``test`` and Chromium installed::

    python deploy/handbook/screenshots.py http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import Final, Literal

import httpx
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

TARGET: Final = Path(__file__).parents[1] / "docs" / "images" / "pages"
MAX_BYTES: Final = 9_000
"""Largest picture: they are in the archives that are installed."""
PAGES: Final = {
    "forecast": "/?lead=72&plat=48.2&plon=16.4",
    "beside": "/?variable=2m_temperature&lead=120&show=beside&compare={analysis}",
    "runs": "/forecasts",
    "run": "/forecasts/{run}",
    "scores": "/scores?metric=rmse",
    "schedules": "/schedules",
    "operator": "/operator",
    "api": "/docs",
    "model": "/models/{model}",
}
DRAWN: Final = ("forecast", "beside", "scores")
"""Pages that say when their charts are drawn."""
LOOKS: Final[dict[str, tuple[int, int, Literal["light", "dark"], int]]] = {
    "light": (1200, 760, "light", 560),
    "dark": (1200, 760, "dark", 560),
    "phone": (390, 780, "light", 260),
}
"""Width and height of the window, colours, and width of the picture, pixels."""


def compress(png: bytes, width: int) -> bytes:
    """Return a picture as WebP of this width, at the best quality that is small enough."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    height = round(image.height * width / image.width)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    for quality in range(80, 4, -5):
        buffer = io.BytesIO()
        image.save(buffer, "webp", quality=quality, method=6)
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue()


def shoot(browser: Browser, address: str, name: str, target: Path) -> None:
    """Take the pictures of one page."""
    for look, (width, height, scheme, shown) in LOOKS.items():
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
        )
        page.goto(address)
        if name in DRAWN:
            page.wait_for_selector("body[data-ready=yes]")
        page.wait_for_timeout(1500)  # charts and the map
        file = target / f"{name}-{look}.webp"
        file.write_bytes(compress(page.screenshot(), shown))
        sys.stdout.write(f"{file.name}: {file.stat().st_size} bytes\n")
        page.close()


def main() -> None:
    """Take all pictures from the command line."""
    parser = argparse.ArgumentParser(description="Take the pictures of the pages.")
    parser.add_argument("base", help="address of a service, such as http://127.0.0.1:8000")
    parser.add_argument("--output", type=Path, default=TARGET, help="folder of the pictures")
    given = parser.parse_args()
    base = given.base.rstrip("/")
    run = httpx.get(f"{base}/v1/forecasts/latest", timeout=60).raise_for_status().json()
    stores = httpx.get(f"{base}/v1/stores?kind=analysis", timeout=60).raise_for_status().json()
    found = {
        "run": run["id"],
        "model": run["model"],
        "analysis": f"analysis:{stores['items'][0]['name']}",
    }
    given.output.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, path in PAGES.items():
            shoot(browser, base + path.format(**found), name, given.output)
        browser.close()


if __name__ == "__main__":
    main()
