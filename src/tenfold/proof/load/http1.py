"""Reads HTTP/1.1 answers off the wire, in whatever pieces they arrive.

Stage: bytes from a connection become "the answer is complete", its status and its head. Bodies are counted, and kept only if asked for.

Our own, because the load engine has to cost a tenth of what the server costs: a common answer (head and body in one
piece, with a Content-Length) takes one pass over its head and makes no object per header. It reads what a client must
be able to read (RFC 9112: sections 4, 6, 7 and 9), and calls everything else by its name instead of guessing.
"""

import re

HEAD_BYTES_MAX = 65_536
BODY_BYTES_MAX = 8 * 1024 * 1024
"""Of a body that is kept."""
_LINE_BYTES_MAX = 4_096
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9]\d\d(?: |$|\r)")
_HEADER = {
    name: re.compile(rb"\r\n" + name + rb":[ \t]*([^\r\n]*)", re.IGNORECASE)
    for name in (b"content-length", b"transfer-encoding", b"connection", b"x-request-id")
}
_CONNECTION, _CODING = _HEADER[b"connection"].search, _HEADER[b"transfer-encoding"].search
_LENGTHS = _HEADER[b"content-length"].findall
_HEX = frozenset(b"0123456789abcdefABCDEF")


class ProtocolError(Exception):
    """The peer sent something that is not an HTTP/1.1 answer. The text says what."""


def request_id(head: bytes) -> str | None:
    """The answer's x-request-id, by which `explain` finds the request."""
    found = _HEADER[b"x-request-id"].search(head)
    return found[1].decode("latin-1").strip() if found else None


_SET_COOKIE = re.compile(rb"\r\nset-cookie:[ \t]*([^\r\n;=]*)=([^\r\n;]*)([^\r\n]*)", re.IGNORECASE)
_GONE = re.compile(rb";\s*max-age\s*=\s*(?:0|-\d+)\s*(?:;|$)|;\s*expires\s*=[^;]*\b19[0-9]{2}\b", re.IGNORECASE)


def set_cookies(head: bytes) -> list[tuple[str, str | None]]:
    """The cookies that an answer sets, by name; None for one that it takes back (an age of nothing, or a date long past).

    Paths, domains and later expiry are not looked at: a user asks one site, and for minutes."""
    if b"et-cookie" not in head and b"ET-COOKIE" not in head and b"et-Cookie" not in head:
        return []
    return [
        (name.decode("latin-1").strip(), None if _GONE.search(more) else value.decode("latin-1").strip())
        for name, value, more in _SET_COOKIE.findall(head)
    ]


class AnswerReader:
    """Reads the answers of one connection, one after another.

    `start` before each request; then `feed` each piece until it returns True. `status`, `head` and `keep_alive` are
    of the answer just read; `began` says whether any byte of it has come.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_for_head",
        "_left",
        "_pieces",
        "_trailers",
        "began",
        "head",
        "keep_alive",
        "status",
    )

    def __init__(self) -> None:
        self.start(for_head=False)

    def start(self, for_head: bool, keeps: bool = False) -> None:
        """Await a new answer; `for_head`: to a HEAD request, whose answer has no body; `keeps`: its body is wanted."""
        self._buffer = b""
        self._pieces: bytearray | None = bytearray() if keeps else None
        self._for_head = for_head
        self._left = 0
        """Bytes of the body, or of the chunk, still to come; -1: the body ends with the connection."""
        self._chunked = False
        self._trailers = False
        self.began = False
        self.head = b""
        self.status = 0
        self.keep_alive = True

    def feed(self, data: bytes) -> bool:
        """Take what came; True when the answer is complete. Raises `ProtocolError`."""
        self.began = True
        if not self.status:
            body = self._take_head(self._buffer + data if self._buffer else data)
            if body is None:
                return False
            data = body
        return self._feed_chunks(data) if self._chunked else self._feed_body(data)

    @property
    def body(self) -> bytes:
        """The body, if it was to be kept."""
        return bytes(self._pieces or b"")

    def ended(self) -> bool:
        """The connection was closed: True if that completes the answer."""
        return self.status != 0 and not self._chunked and self._left <= 0

    def _take_head(self, data: bytes) -> bytes | None:
        """Read the head, and interim ones before it; what follows it, or None as long as it is not complete."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._check_unfinished_head(data)
                self._buffer = data
                return None
            final = self._read_head(data[:end])
            data = data[end + 4 :]
            if final:
                self._buffer = b""
                return data

    def _check_unfinished_head(self, data: bytes) -> None:
        if not b"HTTP/1.".startswith(data[:7]) or (len(data) >= 13 and not _STATUS_LINE.match(data)):
            raise ProtocolError(f"not an HTTP/1.1 answer: it begins with {data[:16]!r}")
        if len(data) > HEAD_BYTES_MAX:
            raise ProtocolError(f"the head of the answer is longer than {HEAD_BYTES_MAX} bytes")

    def _read_head(self, head: bytes) -> bool:
        """Understand a head; False if it is an interim one (1xx), which another follows."""
        if not _STATUS_LINE.match(head):
            raise ProtocolError(f"not an HTTP/1.1 answer: it begins with {head[:16]!r}")
        status = int(head[9:12])
        if status < 200:
            if status == 101:
                raise ProtocolError("the server switched protocols without being asked")
            return False
        self.status, self.head = status, head
        connection = _CONNECTION(head)
        options = connection[1].lower() if connection else b""
        self.keep_alive = b"close" not in options if head[7:8] == b"1" else b"keep-alive" in options
        if self._for_head or status in (204, 304):
            return True
        coding = _CODING(head)
        if coding:
            if coding[1].strip().lower() != b"chunked":
                raise ProtocolError(f"unknown transfer-encoding {coding[1][:40]!r}")
            self._chunked = True
            return True
        lengths = set(_LENGTHS(head))
        if not lengths:
            self._left, self.keep_alive = -1, False
            return True
        length = lengths.pop().strip()
        if lengths or not length.isdigit() or len(length) > 18:
            raise ProtocolError(f"no usable content-length: {length[:40]!r}")
        self._left = int(length)
        return True

    def _keep(self, piece: bytes) -> None:
        if self._pieces is not None:
            self._pieces += piece
            if len(self._pieces) > BODY_BYTES_MAX:
                raise ProtocolError(f"the answer is longer than the {BODY_BYTES_MAX} bytes that can be kept")

    def _feed_body(self, data: bytes) -> bool:
        self._keep(data if self._left < 0 else data[: self._left])
        if self._left < 0:
            return False
        self._left -= len(data)
        if self._left < 0:
            # More than was promised: the answer stands, but the connection can't be trusted with another.
            self._left, self.keep_alive = 0, False
        return self._left == 0

    def _feed_chunks(self, data: bytes) -> bool:
        """`_left` counts a chunk's bytes and the CRLF after them."""
        data = self._buffer + data
        position = 0
        while True:
            skipped = min(self._left, len(data) - position)
            # The last two of what is left are the line's end.
            self._keep(data[position : position + max(0, min(skipped, self._left - 2))])
            position += skipped
            self._left -= skipped
            end = data.find(b"\r\n", position)
            if self._left or end < 0:
                self._buffer = data[position:]
                if len(self._buffer) > _LINE_BYTES_MAX:
                    raise ProtocolError("a chunk's size line is longer than 4096 bytes")
                return False
            line = data[position:end]
            position = end + 2
            if self._trailers:
                if not line:
                    self.keep_alive = self.keep_alive and position == len(data)
                    self._chunked = False
                    return True
                continue
            size = line.partition(b";")[0].strip()
            if not size or len(size) > 15 or not _HEX.issuperset(size):
                raise ProtocolError(f"not a chunk size: {line[:40]!r}")
            self._trailers = int(size, 16) == 0
            self._left = 0 if self._trailers else int(size, 16) + 2
