"""What a browser has to fetch for the page."""

import gzip
import re

from tenfold.console.pages import FOLDER

SCRIPT_BYTES_MAX = 40_000


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
