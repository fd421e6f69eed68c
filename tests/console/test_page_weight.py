"""What a browser has to fetch for the page."""

import gzip
import re
from pathlib import Path

from tenfold.console.pages import FOLDER

SCRIPT_BYTES_MAX = 40_000
PICTURE_BYTES_MAX = 250_000
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def test_its_script_is_small() -> None:
    """All script that is served comes to less than 40 KB gzipped, and each part of another hand has its licence beside it."""
    scripts = sorted(FOLDER.rglob("*.js"))
    assert sum(len(gzip.compress(path.read_bytes(), mtime=0)) for path in scripts) <= SCRIPT_BYTES_MAX
    vendored = [path.stem for path in (FOLDER / "vendor").iterdir() if path.suffix in (".js", ".woff2")]
    assert all((FOLDER / "vendor" / f"LICENSE-{name}").exists() for name in vendored)
    loaded = {path.name for path in scripts} - {"app.js"}
    assert loaded == set(
        re.findall(r'modulepreload" href="page/(?:vendor/)?(\S+)"', (FOLDER / "index.html").read_text())
    )


def test_its_pictures_are_small_and_shown() -> None:
    """Each picture of the page is at most 250 KB, and the manual shows it."""
    pictures = sorted((DOCS / "img").glob("console-*.png"))
    assert pictures
    assert not [path.name for path in pictures if path.stat().st_size > PICTURE_BYTES_MAX]
    shown = (DOCS / "console.md").read_text(encoding="utf-8")
    assert not [path.name for path in pictures if f"img/{path.name}" not in shown]
