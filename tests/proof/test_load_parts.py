"""The pieces of the load engine that need no network: histograms, draws, curves of users, texts with variables, frames."""

import base64
import hashlib
import json
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.model import Action, Check, Scenario, Socket, Step
from tenfold.proof.load import LoadError, Progress, RateCurve, Stretch, Target, UserCurve, UserPlan
from tenfold.proof.load.draws import Draws
from tenfold.proof.load.histogram import Histogram
from tenfold.proof.load.http1 import set_cookies
from tenfold.proof.load.merge import Merger, Outline
from tenfold.proof.load.script import Answer, ready_step, script_of_scenario
from tenfold.proof.load.tally import Slice
from tenfold.proof.load.websocket import WebSocket

HERE = Target("127.0.0.1", 8080)
latencies_us = st.lists(st.integers(0, 4_000_000_000), max_size=300)


def histogram(values_us: list[int]) -> Histogram:
    """One that has recorded these."""
    made = Histogram()
    for value_us in values_us:
        made.record((value_us + 0.5) / 1e6)
    return made


@given(st.lists(latencies_us, min_size=1, max_size=5))
def test_merged_histograms_are_that_of_all_records(shares: list[list[int]]) -> None:
    """Adding up what processes counted gives exactly what one would have counted."""
    merged = Histogram()
    for values_us in shares:
        merged.add(histogram(values_us).counts)
    whole = histogram([value_us for values_us in shares for value_us in values_us])
    assert merged.counts == whole.counts
    assert merged.latency() == whole.latency()


@settings(max_examples=20)
@given(latencies_us.filter(bool))
def test_a_histogram_says_what_hdrhistogram_says(values_us: list[int]) -> None:
    """Its buckets and percentiles are those of the library, its mean within a bucket's width."""
    theirs = HdrHistogram(1, 3_600_000_000, 3)
    for value_us in values_us:
        theirs.record_value(min(value_us, 3_600_000_000))
    percentiles = (50.0, 90.0, 95.0, 99.0, 99.9, 100.0)
    found = theirs.get_percentile_to_value_dict(percentiles)
    ours = histogram(values_us)
    assert ours.percentiles_ms(*percentiles) == tuple(found[percentile] / 1000 for percentile in percentiles)
    mean_ms = ours.latency().mean_ms
    assert mean_ms == pytest.approx(theirs.get_mean_value() / 1000, rel=1e-3, abs=2e-3)


def test_a_histogram_of_nothing_says_nothing() -> None:
    """Without records there is no percentile and no mean."""
    assert Histogram().latency().p99_ms is None
    assert Histogram().latency().mean_ms is None


def test_draws_are_a_users_own() -> None:
    """The same user draws the same, others differ, and what is drawn is even and exponential."""
    first, again, other = (Draws(7, number) for number in (3, 3, 4))
    assert (
        [first.uniform() for _ in range(5)]
        == [again.uniform() for _ in range(5)]
        != [other.uniform() for _ in range(5)]
    )
    # What a thousand users draw first is as even as what one draws a thousand times.
    for values in ([Draws(1, number).uniform() for number in range(1000)], [first.uniform() for _ in range(1000)]):
        assert min(values) >= 0 and max(values) < 1
        assert sum(values) / 1000 == pytest.approx(0.5, abs=0.04)
        assert all(60 < sum(low <= value < low + 0.1 for value in values) < 140 for low in (0.0, 0.3, 0.9))
    assert sum(first.pause_s(10.0) for _ in range(4000)) / 4000 == pytest.approx(10.0, abs=0.8)


steps = st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 1000)), min_size=1, max_size=5)


@given(steps, st.floats(0, 150))
def test_a_curve_of_users_reaches_each_step(given_steps: list[tuple[float, int]], ramp_s: float) -> None:
    """It lasts as long as its steps, ends each at its number, and is between the neighbours' numbers meanwhile."""
    curve = UserCurve.steps(*given_steps, ramp_s=ramp_s)
    assert curve.duration_s == pytest.approx(sum(duration_s for duration_s, _ in given_steps))
    assert curve.peak == max(users for _, users in given_steps)
    end_s, before = 0.0, 0
    for duration_s, users in given_steps:
        for share in (0.01, 0.3, 0.7, 0.99):
            assert min(before, users) <= curve.at(end_s + share * duration_s) <= max(before, users)
        end_s, before = end_s + duration_s, users
    assert curve.at(end_s + 1) == before
    assert all(earlier.users_to == later.users_from or ramp_s == 0 for earlier, later in pairwise(curve.stretches))


def test_curves_and_plans_that_can_not_be_are_sentences() -> None:
    """Nothing, time that does not pass, users below none, both models or none, and what no process could do."""
    scenario = Scenario("s", (Action("a", 1.0, (Step("GET", "/"),)),))
    wrong: list[Any] = [
        lambda: UserCurve(()),
        lambda: UserCurve((Stretch(0.0, 1, 1),)),
        lambda: UserCurve.steps((1.0, -1)),
        lambda: UserCurve.steps((1.0, 2_000_000)),
        lambda: UserPlan(HERE, scenario),
        lambda: UserPlan(HERE, scenario, UserCurve.ramp(1, 1, 1), RateCurve.steps((1, 1))),
        lambda: UserPlan(HERE, scenario, UserCurve.ramp(1, 1, 1), timeout_s=0),
        lambda: UserPlan(HERE, scenario, UserCurve.ramp(1, 1, 1), processes=-1),
        lambda: script_of_scenario(Scenario("s", ()), HERE),
        lambda: script_of_scenario(Scenario("s", (Action("a", 1.0, ()),)), HERE),
        lambda: script_of_scenario(Scenario("s", (Action("a", 0.0, (Step("GET", "/"),)),)), HERE),
        lambda: script_of_scenario(Scenario("s", (Action("a", 1.0, (Step("GET", "/{x}"),)),)), HERE),
        lambda: script_of_scenario(Scenario("s", (Action("a", 1.0, (Step("GET", "here"),)),)), HERE),
    ]
    for make in wrong:
        with pytest.raises(LoadError, match=r": "):
            make()


class Person:
    """Somebody with these variables."""

    def __init__(self, cookie: str = "", **variables: str) -> None:
        self.cookie = cookie
        self._variables = variables

    def variable(self, name: str) -> str:
        """The value of one."""
        return self._variables[name]


@given(st.text(max_size=30), st.text(max_size=30))
def test_variables_arrive_as_they_are(one: str, two: str) -> None:
    """Whatever is in a variable: the path stays a path, JSON stays JSON, a header one line, and the value is what arrives."""
    step = Step("PUT", "/a/{one}?q={two}", '{"v": "{two}"}', headers=(("x-one", "<{one}>"),))
    wire = ready_step(step, HERE).http1(Person(one=one, two=two))
    head, _, body = wire.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, path, version = lines[0].split(" ")
    assert (method, version) == ("PUT", "HTTP/1.1")
    assert unquote(urlsplit(path).path) == f"/a/{one}"
    assert parse_qs(urlsplit(path).query, keep_blank_values=True) == {"q": [two]}
    assert json.loads(body) == {"v": two}
    assert f"Content-Length: {len(body)}" in lines
    assert "Content-Type: application/json" in lines
    assert sum(line.startswith("x-one: <") and line.endswith(">") for line in lines) == 1


def test_what_is_fixed_and_what_is_not_are_written_alike() -> None:
    """A path with a variable, with its headers and body as they are, is written as it would be without one."""
    headers = (("accept", "text/html"),)
    for body in ("", '{"a": 1}'):
        fixed = ready_step(Step("POST", "/a/7", body, headers), HERE)
        filled = ready_step(Step("POST", "/a/{n}", body, headers), HERE)
        person = Person("a=1; b=2", n="7")
        assert fixed.http1(person) == filled.http1(person)
        assert fixed.http2(person) == filled.http2(person)
        assert fixed.http1(person).count(b"\r\nCookie: a=1; b=2\r\n") == 1


def test_a_form_is_written_as_a_form() -> None:
    """In a body of application/x-www-form-urlencoded values are encoded for it."""
    form = (("content-type", "application/x-www-form-urlencoded"),)
    wire = ready_step(Step("POST", "/", "a={v}&b=1", form), HERE).http1(Person(v="x&y=ü z"))
    assert wire.endswith(b"\r\n\r\na=x%26y%3D%C3%BC+z&b=1")


def test_fields_are_kept_by_their_path() -> None:
    """Text, numbers and truth become text, also out of lists; what is not there, or no plain value, is told."""
    answer = b'{"id": "x", "n": 3, "is": true, "list": [{"id": 7}, null]}'

    def kept(path: str) -> str:
        return ready_step(Step("GET", "/", keep={"v": path}), HERE).kept(answer)["v"]

    assert [kept(path) for path in ("id", "n", "is", "list.0.id")] == ["x", "3", "true", "7"]
    for path in ("list.9", "list.1", "list", "id.more", "none", "list.x"):
        with pytest.raises(Answer):
            kept(path)
    with pytest.raises(Answer, match="not JSON"):
        ready_step(Step("GET", "/", keep={"v": "id"}), HERE).kept(b"<html>")


def test_variables_must_be_known_where_they_are_named() -> None:
    """Each step knows what every user has, what enter keeps, and what the steps before it in its own action keep."""
    scenario = Scenario(
        "s",
        (
            Action("a", 0.5, (Step("GET", "/{me}", keep={"mine": "id"}), Step("GET", "/{mine}/{user}/{name}"))),
            Action("b", 0.5, (Step("GET", "/{mine}"),)),
        ),
        enter=(Step("POST", "/{later}", keep={"me": "id", "later": "x"}),),
        users=({"name": "ada", "age": "3"}, {"name": "ben"}),
        socket=Socket("/{age}", send="{me}"),
        check=Check(Step("PUT", "/{value}/{me}", keep={"w": "id"}), Step("GET", "/{w}/{value}/{own}")),
    )
    assert list(scenario.unknown_variables()) == [
        ("enter[0]", "later"),
        ("actions.b.requests[0]", "mine"),
        ("socket.path", "age"),
        ("check.read", "own"),
    ]


def test_cookies_come_and_go() -> None:
    """Each Set-Cookie is found, however it is spelt, and one that is taken back is told from one that is set."""
    head = (
        b'HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/; HttpOnly\r\nset-cookie: b="x y"; Max-Age=60\r\n'
        b"SET-COOKIE: c=; Max-Age=0\r\nSet-Cookie: d=gone; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    )
    assert set_cookies(head) == [("a", "1"), ("b", '"x y"'), ("c", None), ("d", None)]
    assert set_cookies(b"HTTP/1.1 200 OK\r\ncontent-length: 3") == []


class Pipe:
    """Stands in for a transport."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_over = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.is_over

    def close(self) -> None:
        """Close it."""
        self.is_over = True

    abort = close


class Holder:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def socket_opened(self) -> None:
        """Accepted."""
        self.told.append("opened")

    def socket_said(self) -> None:
        """A message."""
        self.told.append("said")

    def socket_closed(self, code: int) -> None:
        """Closed."""
        self.told.append(f"closed {code}")

    def socket_refused(self, why: str) -> None:
        """Refused."""
        self.told.append("refused")


def opened(holder: Holder) -> tuple[WebSocket, Pipe, bytes]:
    """A socket whose handshake is written, the pipe, and the answer that accepts it."""
    socket, pipe = WebSocket(holder, "127.0.0.1:80", "/feed"), Pipe()
    key = socket._key
    socket.connection_made(pipe)  # type: ignore[arg-type]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    answer = b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-ACCEPT: " + accept + b"\r\n\r\n"
    pipe.written.clear()
    return socket, pipe, answer


def frame(first: int, payload: bytes) -> bytes:
    """A server's frame."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    return (
        bytes((first, 126)) + size.to_bytes(2) + payload
        if size < 65536
        else bytes((first, 127)) + size.to_bytes(8) + payload
    )


kinds = st.sampled_from(["text", "pieces", "ping", "pong", "empty"])


@given(st.lists(st.tuples(kinds, st.integers(0, 400)), max_size=12), st.data())
def test_frames_are_read_in_whatever_pieces_they_come(sent: list[tuple[str, int]], data: st.DataObject) -> None:
    """Each message is told once, however it is cut into frames and pieces, and each ping is answered."""
    holder = Holder()
    socket, pipe, wire = opened(holder)
    messages = pings = 0
    for kind, size in sent:
        payload = b"x" * size
        if kind == "ping":
            wire += frame(0x89, payload[:100])
            pings += 1
        elif kind == "pong":
            wire += frame(0x8A, b"")
        elif kind == "pieces":
            wire += frame(0x01, payload) + frame(0x89, b"") + frame(0x00, payload) + frame(0x80, payload)
            messages, pings = messages + 1, pings + 1
        else:
            wire += frame(0x81 if kind == "text" else 0x82, payload if kind == "text" else b"")
            messages += 1
    wire += frame(0x88, (1012).to_bytes(2))
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        socket.data_received(wire[:size])
        wire = wire[size:]
    socket.connection_lost(None)
    assert holder.told == ["opened", *["said"] * messages, "closed 1012"]
    assert pipe.written.count(b"\x8a") >= pings and pipe.is_over


@pytest.mark.parametrize(
    "wire",
    [
        frame(0xC1, b"x"),
        b"\x81\x81abcdx",
        frame(0x83, b""),
        frame(0x8B, b""),
        frame(0x09, b"x"),
        frame(0x88 | 0x20, b""),
    ],
    ids=["reserved bit", "masked", "unknown kind", "unknown control", "cut ping", "reserved bit of a close"],
)
def test_a_frame_against_the_rules_ends_the_socket(wire: bytes) -> None:
    """What RFC 6455 forbids a server is answered with 1002, and nothing after it is read."""
    holder = Holder()
    socket, pipe, answer = opened(holder)
    socket.data_received(answer + wire + frame(0x81, b"more"))
    socket.connection_lost(None)
    assert holder.told == ["opened", "closed 1002"]
    assert pipe.is_over


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: wrong\r\n\r\n", b"x" * 70_000],
    ids=["refused", "not our key", "no end"],
)
def test_a_handshake_that_fails_is_refused_once(answer: bytes) -> None:
    """Anything but the right 101 is a refusal, told once."""
    holder = Holder()
    socket, pipe, _ = opened(holder)
    socket.data_received(answer)
    socket.connection_lost(None)
    socket.give_up()
    assert holder.told == ["refused"]
    assert pipe.is_over


def slice_of(index: int, users: int, due: int) -> Slice:
    """What a process says of a second."""
    counts = histogram([1000] * due).counts
    return Slice(index, index + 1.0, due, {"2xx": due}, counts, counts, 0.1, due, users)


def test_seconds_are_whole_when_a_process_is_held_up() -> None:
    """A process that closes two seconds as one still has its users meanwhile, and nothing of it is lost or told too early."""
    told: list[Progress] = []
    outline = Outline("http://x", 1, 3.0, (), (), None, processes=2)
    merger = Merger(outline, told.append)
    for process, piece in (
        (0, slice_of(0, 10, 3)),
        (1, slice_of(0, 20, 4)),
        (0, slice_of(1, 10, 3)),
        (0, slice_of(2, 11, 3)),
    ):
        merger.take(process, piece)
    assert [progress.second.users for progress in told] == [30]
    merger.take(1, slice_of(2, 21, 8))
    assert [(progress.second.users, progress.second.due) for progress in told] == [(30, 7), (30, 3), (32, 11)]
    merger.ended(0)
    merger.take(1, slice_of(3, 21, 1))
    assert (told[-1].second.users, told[-1].sent) == (32, 22)
