"""A real headless Chromium, as people have it but for its window."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Error, async_playwright

from bench.table import Unmeasured

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser, gone afterwards. Raises `Unmeasured` where there is none."""
    if not CHROMIUM.exists():
        raise Unmeasured(f"there is no {CHROMIUM}: apt-get install chromium, or name one with CHROMIUM=...")
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except Error as error:
            raise Unmeasured(f"{CHROMIUM} does not start: {error}") from None
        try:
            yield browser
        finally:
            await browser.close()
