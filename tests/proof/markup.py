"""Pages as a browser finds them, and texts that try to break out of one."""

from html.parser import HTMLParser

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</title><style>*{display:none}</style>",
    "`<b>`&amp;\u202e\x00",
)
VOID = {"meta", "br"}


class Seen(HTMLParser):
    """What a browser would find: tags with their attributes, and whether each is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def whole(self) -> "Seen":
        assert self._open == []
        return self


def seen(text: str) -> Seen:
    """A page as a browser would find it; every tag is closed."""
    parser = Seen()
    parser.feed(text)
    parser.close()
    return parser.whole()
