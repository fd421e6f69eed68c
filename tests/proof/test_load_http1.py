"""Reading answers off the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.proof.load.http1 import AnswerReader, ProtocolError, request_id

PLAIN = b"HTTP/1.1 200 OK\r\nX-Request-ID: abc-1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 404 Not Found\r\ntransfer-encoding: Chunked\r\n\r\n"
    b"5;name=value\r\nhel\r\n\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n000\r\nX-Trailer: 1\r\n\r\n"
)
EMPTY = b"HTTP/1.1 204 No Content\r\nContent-Length: 99\r\n\r\n"
CLOSING = b"HTTP/1.1 500\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "keep_alive"),
    [(PLAIN, 200, True), (CHUNKED, 404, True), (EMPTY, 204, True), (CLOSING, 500, False)],
)
@given(data=st.data())
def test_the_pieces_do_not_matter(answer: bytes, status: int, keep_alive: bool, data: st.DataObject) -> None:
    """However the network cuts an answer, it is complete with its last byte and not before, and read the same."""
    cuts = sorted(data.draw(st.lists(st.integers(1, len(answer) - 1), unique=True)))
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    reader = AnswerReader()
    assert [reader.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (reader.status, reader.keep_alive) == (status, keep_alive)


def test_the_request_id_is_found() -> None:
    """A person can ask `explain` about a request only if its id was kept."""
    reader = AnswerReader()
    assert reader.feed(PLAIN)
    assert request_id(reader.head) == "abc-1"
    assert request_id(b"HTTP/1.1 200 OK\r\nServer: x") is None


def test_an_answer_to_head_has_no_body() -> None:
    """Its length is what a GET would have got."""
    reader = AnswerReader()
    reader.start(for_head=True)
    assert reader.feed(PLAIN.removesuffix(b"hello"))


def test_without_a_length_the_connection_ends_the_answer() -> None:
    """As HTTP/1.0 servers do it; and an answer that had a length and was cut is not complete."""
    reader = AnswerReader()
    assert not reader.feed(b"HTTP/1.0 200 OK\r\n\r\nhel")
    assert not reader.feed(b"lo")
    assert reader.ended() and not reader.keep_alive
    reader.start(for_head=False)
    assert not reader.feed(PLAIN[:-1])
    assert not reader.ended()
    reader.start(for_head=False)
    assert not reader.feed(CHUNKED[:-1])
    assert not reader.ended()


def test_more_than_was_promised_spoils_the_connection() -> None:
    """What follows an answer must not be taken for the next one."""
    reader = AnswerReader()
    assert reader.feed(PLAIN + PLAIN)
    assert not reader.keep_alive
    reader.start(for_head=False)
    assert reader.feed(CHUNKED + b"x")
    assert not reader.keep_alive


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\x15\x03\x01\x00\x02",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 5000,
    ],
)
def test_what_is_not_an_answer_is_called_so(answer: bytes) -> None:
    """Bytes that no rule of HTTP/1.1 explains are an error with a name, never a guess."""
    with pytest.raises(ProtocolError):
        AnswerReader().feed(answer)


@given(st.lists(st.binary(max_size=60), max_size=8), st.sampled_from([b"", PLAIN[:12], PLAIN[:50], CHUNKED[:100]]))
def test_no_bytes_break_the_reader(pieces: list[bytes], start: bytes) -> None:
    """Whatever a server sends, the reader goes on, is done, or names the fault."""
    reader = AnswerReader()
    try:
        for piece in (start, *pieces):
            if reader.feed(piece):
                break
    except ProtocolError as error:
        assert str(error)
    reader.ended()
