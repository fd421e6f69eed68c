"""The page beside a real Crewboard in three regions: one is killed under load, and the page tells the whole story.

The pictures of docs/img are those of this test: `make pictures` draws them anew.
"""

import math
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from bench.browser import chromium
from bench.globe import PLACES, WAN, near
from bench.shop import Blueprint, Shop, crewboard
from bench.strikes import striking
from bench.traffic import steady
from tenfold.effects.faults import Kill
from tenfold.proof.load import Mix, Request

LOST = "east"
LOST_S = 12.0
RATE_RPS = 60.0
WARM_MS = 4000
WITHIN_MS = 60_000
"""A machine that runs three regions and three browsers may be slow."""
CHANGES: Blueprint = {
    "services": {"web": {"scaling": {"instances": {"min": 1, "max": 2}}}, "reports": None},
    "targets": {
        "latency": {"p95": "500ms"},
        "throughput": "50/s",
        "availability": "99.9%",
        "error_rate": "1%",
        "recovery": "30s",
    },
    "budget": {"monthly": "300 USD", "alert_at": "80%"},
}
SCREENS = {
    "light": {"viewport": {"width": 1240, "height": 820}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1240, "height": 820}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 1000}, "color_scheme": "light", "has_touch": True},
}


class Pictures:
    """The page on each screen, and where its pictures go."""

    def __init__(self, pages: dict[str, Page], folder: Path) -> None:
        self.pages, self.folder = pages, folder

    @property
    def page(self) -> Page:
        return self.pages["light"]

    async def take(self, stage: str, *screens: str, at: str = "body") -> None:
        """One of each screen, from the part `at` on."""
        for screen in screens:
            path = self.folder / f"console-{stage}-{screen}.png"
            await self.pages[screen].evaluate(f"document.querySelector('{at}').scrollIntoView({{behavior: 'instant'}})")
            await self.pages[screen].screenshot(path=path, animations="disabled")


@asynccontextmanager
async def screens(browser: Browser, shop: Shop, folder: Path) -> AsyncIterator[Pictures]:
    """The page open on every screen."""
    port = int((shop.project.run / "console-port").read_text())
    async with AsyncExitStack() as stack:
        pages = {}
        for name, options in SCREENS.items():
            context = await stack.enter_async_context(await browser.new_context(**options))  # type: ignore[arg-type]
            pages[name] = await context.new_page()
            await pages[name].goto(f"http://127.0.0.1:{port}/")
        yield Pictures(pages, folder)


@pytest.mark.timeout(300)
async def test_the_page_tells_how_a_region_is_lost_and_comes_back(tmp_path: Path) -> None:
    """A region is killed under load: the page shows it die, its clients move, the reason, and its return; and all of it once more by
    looking back."""
    assert os.geteuid() == 0, "networks are for root: run these tests as root"
    folder = Path(os.environ.get("PICTURES", tmp_path))
    expect.set_options(timeout=WITHIN_MS)
    async with (
        crewboard(print, CHANGES, *WAN, environment="worldwide") as shop,
        chromium() as browser,
        screens(browser, shop, folder) as pictures,
        striking(shop) as harm,
        steady(
            await shop.target(),
            Mix(tuple(Request("GET", "/api/wait?ms=20", near(name)) for name in PLACES)),
            print,
            RATE_RPS,
        ),
    ):
        await all_is_well(pictures)
        await harm.inflict(Kill(f"region/{LOST}", LOST_S))
        lost_at = await it_dies(pictures)
        await it_comes_back(pictures)
        await looking_back(pictures, lost_at)


async def all_is_well(pictures: Pictures) -> None:
    """Every region serves its own clients."""
    page = pictures.page
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Well:")
    for name in PLACES:
        await expect(page.locator(f"#region-{name} .state").first).to_have_text("serving")
    await page.wait_for_timeout(WARM_MS)
    await pictures.take("well", "light", "dark")


async def it_dies(pictures: Pictures) -> float:
    """The region is out, for a reason, and its clients are served elsewhere; the decision says what it rests on. Gives that moment."""
    page, card = pictures.page, pictures.page.locator(f"#region-{LOST}")
    await expect(card.locator(".state").first).to_have_text("out")
    await expect(page.locator("#now")).to_contain_text(f"region {LOST} is out")
    await expect(card).to_contain_text("of its clients go to")
    await expect(card.locator(".why").first).not_to_be_empty()
    await expect(page.locator(".flow").first).to_be_attached()
    lost_at = float(await page.locator("main").get_attribute("data-at") or 0)
    # By its name: the newest of now is soon not the newest any more.
    newest = page.locator(".decision", has_text=LOST).filter(has=page.locator(".effect")).first
    decision = page.locator(f"#{await newest.get_attribute('id')}")
    await decision.locator("> button").click()
    await expect(decision.locator(".known h4").first).to_be_visible()
    await pictures.take("lost", "light", "phone")
    await pictures.take("lost", "dark", at="#regions")
    return lost_at


async def it_comes_back(pictures: Pictures) -> None:
    """Once the region runs again its own clients are its again, and all is well."""
    page, card = pictures.page, pictures.page.locator(f"#region-{LOST}")
    await expect(card.locator(".state").first).to_have_text("serving")
    await expect(page.locator(".flow")).to_have_count(0)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Well:")
    await pictures.take("back", "light", at="#charts")


async def looking_back(pictures: Pictures, moment: float) -> None:
    """The time bar leads back to the loss."""
    page = pictures.pages["dark"]
    slider = page.get_by_role("slider")
    first = float(await slider.get_attribute("min") or 0)
    # Its steps are whole seconds: the one before the moment may lie before the loss.
    await slider.fill(f"{first + math.ceil(moment - first):.6f}")
    await expect(page.locator("#line")).to_contain_text("Paused at")
    await expect(page.locator(f"#region-{LOST} .state").first).to_have_text("out")
    await pictures.take("past", "dark")
