"""The analysis of a site: how much text it has, how it is built, how heavy it is. Costs CPU.

Nothing is fetched: an example app should make no requests to addresses that strangers type in. Each page is made up
from the site's address, always the same; the work done on it is real (HTML parsed, words counted, compressed).
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from html.parser import HTMLParser

import msgspec
from anyio import CapacityLimiter, to_thread

from crewboard.replies import not_now

PAGES_DEFAULT = 10
PAGES_LIMIT = 50
# Python runs one thread at a time; a second one only keeps short analyses from waiting behind a long one.
AT_ONCE = 2
WAITING_LIMIT = 200
_WORDS = [
    *("crew", "board", "plan", "ship", "review", "launch", "client", "budget", "draft", "design", "copy", "photo"),
    *("story", "invoice", "order", "garden", "bridge", "harbour", "window", "market", "letter", "summer", "winter"),
    *("coffee", "paper", "signal", "number", "answer", "question", "reason", "minute"),
]


class Analysis(msgspec.Struct, frozen=True):
    """What was found on a site."""

    url: str
    pages: int
    words: int
    headings: int
    links: int
    compressed_share: float
    """Size after compression over size before."""
    common_words: list[str]
    score: int
    """0 to 100: words, headings and links in good proportion."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.words: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_data(self, data: str) -> None:
        self.words.update(data.split())


def _page(url: str, number: int) -> str:
    """Return the HTML of one page, about 8 kB; the same for the same address and number."""
    dice = hashlib.shake_128(f"{url}#{number}".encode()).digest(1200)
    text = [_WORDS[die % len(_WORDS)] for die in dice]
    parts = []
    for start in range(0, len(text), 24):
        line = text[start : start + 24]
        tag = "h2" if dice[start] % 5 == 0 else "p"
        parts.append(f'<{tag}>{" ".join(line[:12])} <a href="/{line[12]}">{" ".join(line[12:])}</a></{tag}>')
    return f"<!doctype html><title>{text[0]}</title><main>{''.join(parts)}</main>"


def analyze(url: str, pages: int) -> Analysis:
    """Look at this many pages of the site. Takes about a millisecond of CPU for each."""
    reader, size_bytes, compressed_bytes = _Reader(), 0, 0
    for number in range(pages):
        html = _page(url, number)
        reader.feed(html)
        size_bytes += len(html)
        compressed_bytes += len(zlib.compress(html.encode(), level=9))
    words, headings, links = reader.words.total(), reader.tags["h2"], reader.tags["a"]
    shape = abs(words / max(headings, 1) - 120) / 120 + abs(words / max(links, 1) - 25) / 25
    return Analysis(
        url=url,
        pages=pages,
        words=words,
        headings=headings,
        links=links,
        compressed_share=round(compressed_bytes / size_bytes, 3),
        common_words=[word for word, _ in reader.words.most_common(5)],
        score=max(0, round(100 - 50 * shape)),
    )


class Analyzer:
    """Analyses sites off the event loop, with a bounded queue."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(AT_ONCE)
        self._waiting = 0

    async def analyze(self, url: str, pages: int) -> Analysis:
        """Analyse in a thread. Raises Problem 503 if too many wait already."""
        if self._waiting >= WAITING_LIMIT:
            raise not_now("Too many sites are being analysed; try again in a moment.")
        self._waiting += 1
        try:
            return await to_thread.run_sync(analyze, url, pages, limiter=self._limiter)
        finally:
            self._waiting -= 1
