"""`tenfold prove` on Crewboard, as a person calls it: a figure for each verdict."""

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.shop import Shop, Tell, crewboard
from bench.table import Figure, Unmeasured, told

WITHIN_S = 900.0


async def prove(tell: Tell) -> list[Figure]:
    """All targets of the blueprint, load and harm."""
    with TemporaryDirectory(prefix="tenfold-bench-") as folder:
        async with crewboard(tell) as shop:
            path, page = Path(folder) / "proof.json", Path(folder) / "proof.html"
            since_s = time.monotonic()
            said = await _told(shop, tell, "prove", "--json", str(path), "--html", str(page))
            took_s = time.monotonic() - since_s
        if not path.exists():
            raise Unmeasured(f"`tenfold prove` wrote nothing: {said}")
        report, page_bytes = json.loads(path.read_bytes()), page.stat().st_size
    verdicts = [figure_of(verdict) for verdict in report["verdicts"]]
    notes = [told("note", note) for note in report["notes"]]
    return [
        *verdicts,
        told("score out of 100", f"{report['score']:.0f}", report["score"]),
        told("took", f"{took_s:.0f} s; the report is {page_bytes / 1024:.0f} KiB", took_s),
        *notes,
    ]


def figure_of(verdict: dict[str, Any]) -> Figure:
    """A verdict as a figure; one that could not be shown is missed, as in the score."""
    is_met = verdict["is_met"]
    open_why = f" (not shown: {verdict['confidence']})" if is_met is None else ""
    return Figure(verdict["target"], f"{verdict['measured']}{open_why}", verdict["asked"], bool(is_met))


async def _told(shop: Shop, tell: Tell, *words: str) -> str:
    """Run a command to its end, telling what it says; its last words."""
    process, last = await shop.begin(*words, dies_with_us=True), ""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WITHIN_S):
            async for line in process.stdout:
                last = line.decode(errors="replace").strip() or last
                tell(last)
            await process.wait()
    except TimeoutError:
        raise Unmeasured(f"`tenfold {words[0]}` did not end within {WITHIN_S:.0f} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return last
