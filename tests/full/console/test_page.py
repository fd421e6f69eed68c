"""The page in a real headless Chromium, over the real console and a project that the simulator plays."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import axe_playwright_python
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Route, expect

from bench.browser import chromium
from bench.console import TOKEN, Shown, shown, waves
from bench.played import opened, played
from tenfold.console.console import Console, Place
from tenfold.drivers.clock import WallClock
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.effects.faults import Kill

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACES = {"us-central1": (41.3, -95.9), "europe-west1": (50.4, 3.8), "australia-southeast2": (-37.8, 144.9)}
LOST, TAKES_OVER = "europe-west1", "us-central1"
LOST_AGO_S, PAST_S = 120.0, 400.0
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"


@pytest_asyncio.fixture(loop_scope="module", scope="module", name="here")
async def _here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shown]:
    """Three regions, of which one has been lost for two minutes."""
    journal = opened(tmp_path_factory.mktemp("console") / "journal.db")
    world = played(journal, PLACES, waves(PLACES), seconds=PAST_S)
    world.run(PAST_S - LOST_AGO_S)
    world.world.inflict(Kill(f"region/{LOST}", 3600.0))
    world.play_until_now()
    async with shown(world, journal.path) as here:
        yield here
    journal.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module", name="browser")
async def _browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module", name="page")
async def _page(browser: Browser, here: Shown) -> AsyncIterator[Page]:
    """The page, filled; it must say nothing to the browser's console and ask nobody else."""
    async with await browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light") as context:
        page = await context.new_page()
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if is_error(message) else None)
        page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(here.url) else None)
        await filled(page, here)
        yield page
        assert not said


def is_error(message: ConsoleMessage) -> bool:
    """Whether the browser found something wrong; that an answer was a refusal is no fault of the page."""
    return message.type == "error" and "Failed to load resource" not in message.text


async def filled(page: Page, here: Shown) -> None:
    """Open the page, and wait until it shows the state and the past."""
    await page.goto(here.url)
    await expect(page.locator("main[data-seq]")).to_be_attached()
    await expect(page.locator(".plot path.line").first).to_have_attribute("d", re.compile("L"))


async def one_that_did_something(page: Page) -> Locator:
    """The newest decision with an effect, by its name: it is soon not the newest any more."""
    newest = page.locator(".decision", has=page.locator(".effect")).first
    return page.locator(f"#{await newest.get_attribute('id')}")


async def test_one_look_says_how_it_is_and_why(page: Page) -> None:
    """With a region lost, the first screen says so, whose clients go where, and which decision did what for which reason."""
    await expect(page.get_by_role("heading", level=1)).to_contain_text(f"Not well: region {LOST} is out")
    await expect(page.locator("#line")).to_have_text("Live")
    await expect(page.locator(f"#region-{LOST}")).to_contain_text(f"100% of its clients go to {TAKES_OVER}.")
    await expect(page.locator(f"#region-{LOST} .state").first).to_have_text("out")
    await expect(page.locator(".flow")).to_have_count(1)
    await expect(page.locator(".doing")).not_to_contain_text("publish routes")
    users = page.locator(".figure", has_text="Users").locator("b")
    assert int((await users.inner_text()).replace(",", "")) > 100


NOTHING_SEEN = """window.EventSource = class extends EventTarget {
    constructor() { super(); setTimeout(() => this.dispatchEvent(new Event("nothing")), 100); }
};"""
"""A control plane that answers, and has not looked yet."""


async def test_what_was_not_asked_yet_is_not_told(page: Page, here: Shown) -> None:
    """Until the control plane has answered the page says that it asks; that nothing was seen it says only when it was told so."""
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    heading = page.get_by_role("heading", level=1)
    await page.route("**/api/events", hold)
    await page.goto(here.url)
    await expect(heading).to_have_text("One moment.")
    await held[0].continue_()
    await expect(heading).to_contain_text("Not well: region")
    await page.add_init_script(NOTHING_SEEN)
    await page.goto(here.url)
    await expect(heading).to_have_text("Nothing was seen yet.")


async def test_it_is_live(page: Page, here: Shown) -> None:
    """What the console is told is on the page soon after, without being asked."""
    seen = int(await page.locator("main").get_attribute("data-seq") or 0)
    await page.wait_for_function(f"() => document.querySelector('main').dataset.seq > {seen + 1}", timeout=10_000)
    newest = max(here.told_at)
    assert newest - int(await page.locator("main").get_attribute("data-seq") or 0) <= 1


async def test_a_decision_opens_into_what_it_rests_on(page: Page) -> None:
    """A decision of the timeline opens into the facts it saw, what it did and how that ended, and closes again."""
    decision = await one_that_did_something(page)
    opener = decision.locator("> button")
    await opener.click()
    await expect(opener).to_have_attribute("aria-expanded", "true")
    await expect(decision.locator(".known")).to_contain_text("What it did")
    await opener.click()
    await expect(decision.locator(".known")).to_have_count(0)


async def test_who_started_an_instance_is_a_click_away(page: Page) -> None:
    """An instance names the decision that started it; the name leads to that decision, opened."""
    name = page.locator(".life .because").first
    id_ = await name.inner_text()
    await page.evaluate("document.querySelector('#decisions').scrollIntoView()")
    if await page.locator(f"#decision-{id_}").count() == 0:
        await page.get_by_role("button", name="Older").click()
    await name.click()
    await expect(page.locator(f"#decision-{id_} .known")).to_contain_text("What it did")
    assert await page.evaluate("document.activeElement.id") == f"opens-{id_}"


async def test_the_past_is_shown_whole(page: Page, here: Shown) -> None:
    """Before the loss all regions serve: figures, map, decisions and sentence are of that moment, until one goes back to live."""
    slider = page.get_by_role("slider")
    before = float(await slider.get_attribute("max") or 0) - LOST_AGO_S - 60.0
    await slider.fill(str(round(before - (before - float(await slider.get_attribute("min") or 0)) % 1.0, 3)))
    await expect(page.locator("#line")).to_contain_text("Paused at")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Well: 6 of 6 instances in 3 regions")
    await expect(page.locator(f"#region-{LOST} .state").first).to_have_text("serving")
    await expect(page.locator(".flow")).to_have_count(0)
    shown_at = float(await page.locator("main").get_attribute("data-at") or 0)
    assert abs(shown_at - before) <= 2.0
    assert all(not re.search(r"killed by signal", text) for text in await page.locator(".decision").all_inner_texts())
    await page.get_by_role("button", name="Back to live").click()
    await expect(page.locator(f"#region-{LOST} .state").first).to_have_text("out")
    await expect(page.locator("#line")).to_have_text("Live")


async def test_a_pause_holds_still(page: Page, here: Shown) -> None:
    """Paused by a key, the page stays at its moment while ticks go on; the same key goes on live."""
    await page.keyboard.press("Space")
    await expect(page.locator("#line")).to_contain_text("Paused at")
    held = await page.locator("main").get_attribute("data-seq")
    newest = max(here.told_at)
    await page.wait_for_timeout(2500)
    assert max(here.told_at) > newest
    assert await page.locator("main").get_attribute("data-seq") == held
    await page.keyboard.press("Shift+ArrowLeft")
    await expect(page.locator("main")).not_to_have_attribute("data-seq", held or "")
    await page.keyboard.press("Space")
    await expect(page.locator("#line")).to_have_text("Live")


async def test_a_click_on_a_chart_looks_at_that_moment(page: Page) -> None:
    """A chart leads to the moment that is clicked at, and tells by its label what its lines were then."""
    plot = page.locator(".plot").first
    box = await plot.bounding_box()
    assert box is not None
    await plot.click(position={"x": box["width"] * 0.7, "y": 40})
    await expect(page.locator("#line")).to_contain_text("Paused at")
    await expect(plot).to_have_attribute(
        "aria-label", re.compile(r"Response time at \d\d:\d\d:\d\d: p99 [\d.]+ ms, at most")
    )


async def test_it_says_when_it_is_not_live(browser: Browser, tmp_path: Path) -> None:
    """When the console stops the page says so and keeps its last figures, and is live again as soon as there is a console again."""
    journal = opened(tmp_path / "journal.db")
    world = played(journal, {}, waves({}), seconds=0.0)
    async with await browser.new_context() as context:
        page = await context.new_page()
        async with shown(world, journal.path) as here:
            await page.goto(here.url)
            await expect(page.locator("#line")).to_have_text("Live")
        await expect(page.locator("#line")).to_contain_text("Not live")
        await expect(page.locator("main.stale")).to_be_attached()
        await expect(page.locator("#said")).to_contain_text("Not live.")
        await expect(page.locator(".figure", has_text="Instances").locator("b")).to_have_text("2")
        async with shown(world, journal.path, here.port):
            await expect(page.locator("#line")).to_have_text("Live", timeout=20_000)
    journal.close()


async def test_elsewhere_one_signs_in(browser: Browser, tmp_path: Path) -> None:
    """A console that is bound to more than loopback shows nothing until one signs in with its token."""
    journal = opened(tmp_path / "journal.db")
    world = played(journal, {}, waves({}), seconds=0.0)
    async with shown(world, journal.path, host="0.0.0.0") as here, await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(here.url)
        await expect(page.locator("#line")).to_have_text("Not signed in")
        await expect(page.locator("main[data-seq]")).to_have_count(0)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_label("Token of the console").fill(TOKEN)
        await page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
        await expect(page.locator("#line")).to_have_text("Live")
    journal.close()


async def test_a_run_that_is_over_can_be_looked_at(browser: Browser, tmp_path: Path) -> None:
    """Over the journal of a run that is over the page shows its last word as such, and what was before."""
    journal = opened(tmp_path / "journal.db")
    played(journal, PLACES, waves(PLACES), seconds=0.0).run(60.0)
    console = Console(journal.path, TOKEN, WallClock(), is_live=False)
    place = Place(FreePorts(Project(tmp_path, tmp_path.name)).take())
    await console.start(place)
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(place.url)
        await expect(page.locator("#line")).to_have_text("A run that is over")
        last = await page.locator("main").get_attribute("data-seq")
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator("main")).not_to_have_attribute("data-seq", last or "")
        await expect(page.locator("#line")).to_contain_text("Paused at")
    await console.close()
    journal.close()


async def test_keys_reach_everything(page: Page) -> None:
    """Tab alone walks through links, decisions, buttons, tables and the time bar with a visible focus; a key jumps to each part."""
    met: list[str] = []
    for _ in range(160):
        await page.keyboard.press("Tab")
        found = await page.evaluate(
            """() => { const at = document.activeElement, look = getComputedStyle(at);
            return [at.id || at.className || at.tagName, look.outlineStyle !== 'none', at.tagName]; }"""
        )
        if found[2] == "BODY":
            break
        assert found[1] or found[2] == "INPUT", f"{found[0]} has no visible focus"
        met.append(found[0])
    for wanted in ("skip", "timeline", "opens-", "because", "button small", "button icon-only main", "scroll"):
        assert any(wanted in name for name in met), f"{wanted} is not reached by Tab: {met}"
    for key, part in enumerate(("now", "regions", "decisions", "charts", "targets", "instances"), 1):
        await page.keyboard.press(str(key))
        assert await page.evaluate("document.activeElement.id") == part


async def test_help_tells_the_keys_and_single_keys_can_be_off(page: Page) -> None:
    """A question mark opens the help, Escape closes it, and once single keys are off they do nothing."""
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys and signs")).to_be_visible()
    await page.get_by_label("Single keys do this").uncheck()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Space")
    await expect(page.locator("#line")).to_have_text("Live")


async def test_axe_finds_nothing(page: Page) -> None:
    """Axe finds no breach of WCAG 2.2 A and AA, with a decision open, and no lack of contrast in the dark theme either."""
    await page.emulate_media(reduced_motion="reduce")
    await (await one_that_did_something(page)).locator("> button").click()
    await expect(page.locator(".known h4").first).to_be_visible()
    await page.keyboard.press("Space")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = await breaches(page, {"type": "tag", "values": tags})
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found += await breaches(page, {"type": "rule", "values": ["color-contrast"]})
    assert not found, "\n".join(found)


async def breaches(page: Page, only: dict[str, object]) -> list[str]:
    """What axe finds by these rules."""
    result = await page.evaluate(f"() => axe.run(document, {{runOnly: {json.dumps(only)}}})")
    return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in result["violations"] for n in v["nodes"]]


async def test_a_switch_chooses_the_theme(page: Page) -> None:
    """The page follows the system until the switch is pressed, and remembers what was chosen."""
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = await page.evaluate(ground)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(ground)
    assert light != dark
    await page.keyboard.press("t")
    assert await page.evaluate(ground) == light
    await page.reload()
    assert await page.evaluate(ground) == light


@pytest.mark.parametrize("width", [360, 768])
async def test_a_phone_sees_all_of_it(page: Page, width: int) -> None:
    """On a narrow screen nothing sticks out sideways, and what one taps is large enough."""
    await page.set_viewport_size({"width": width, "height": 780})
    await page.locator(".decision > button").first.click()
    await expect(page.locator(".known").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    small = await page.evaluate(
        """() => [...document.querySelectorAll('button')].map(b => [b.className, b.getBoundingClientRect()])
        .filter(([, box]) => box.height && box.height < 24).map(([name]) => name).filter(name => name !== 'because')"""
    )
    assert not small


async def test_an_action_needs_the_token_and_shows_the_answer(page: Page, here: Shown) -> None:
    """Draining a region asks for the token, says that a wrong one is wrong, and shows with the right one what came of it."""
    card = page.locator(f"#region-{TAKES_OVER}")
    await card.get_by_role("button", name="Drain").click()
    dialog = page.get_by_role("dialog", name=f"Drain region/{TAKES_OVER}")
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("Token of the console").fill("wrong")
    await dialog.get_by_role("button", name="Drain").click()
    await expect(dialog.locator("#ask-answer.bad")).to_contain_text("token")
    await dialog.get_by_label("Token of the console").fill(TOKEN)
    await dialog.get_by_role("button", name="Drain").click()
    await expect(dialog.locator("#ask-answer.good, #ask-answer.bad")).to_contain_text(TAKES_OVER, timeout=15_000)
    await dialog.get_by_role("button", name="Close").click()
    await card.get_by_role("button").first.click()
    await expect(page.get_by_label("Token of the console")).to_be_hidden()
    await page.keyboard.press("Escape")
    purge = page.get_by_role("button", name="Purge")
    await expect(purge).to_be_disabled()
    await expect(purge).to_have_accessible_description(re.compile("keeps no answers"))
