"""Traces as other tools write them: ranges of Prometheus, access logs, epoch seconds, packed files."""

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.proof.load import LoadError, Trace, parse_trace, read_trace

START = 1_767_603_600
"""2026-01-05T09:00Z."""
NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)


def answer(*series: list[tuple[float, str]], **labels: str) -> str:
    """What Prometheus answers to query_range."""
    result = [{"metric": labels, "values": [list(pair) for pair in values]} for values in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def combined(at: str, zone: str = "+0000") -> str:
    """A line of a combined access log."""
    return f'10.0.0.1 - ada [05/Jan/2026:{at} {zone}] "GET /a?b=\\"c\\" HTTP/1.1" 200 12 "-" "curl/8"\n'


def test_a_range_of_prometheus_is_requests_a_second() -> None:
    """Series are added up as sum() does, a NaN adds nothing, and a rate becomes the requests of its step."""
    a = [(START, "1.5"), (START + 30, "2"), (START + 60, "NaN")]
    b = [(START + 30, "0.5"), (START + 60, "4")]
    trace = parse_trace(answer(a, b))
    assert (trace.start, trace.step_s, list(trace.requests)) == (NINE, 30.0, [45.0, 75.0, 120.0])
    assert "2 series" in trace.read_as and "requests/s" in trace.read_as
    assert trace.peak_rps == 4


def test_a_hole_in_a_range_is_bridged_and_a_long_one_refused() -> None:
    """What Prometheus did not scrape is interpolated, as in a CSV, and an hour is too long for that."""
    assert parse_trace(answer([(START, "1"), (START + 15, "2"), (START + 60, "5")])).filled == 2
    with pytest.raises(LoadError, match="200 rows are missing before 2026-01-05T"):
        parse_trace(answer([(START, "1"), (START + 15, "2"), (START + 15 + 15 * 201, "5")]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"status": "success",\n "data": ', "trace:2: this is no JSON"),
        ("[1, 2]", "no answer of Prometheus"),
        ('{"hello": 1}', "no answer of Prometheus"),
        ('{"status": "error", "error": "parse error at char 5"}', "parse error at char 5"),
        ('{"data": {"resultType": "vector", "result": []}}', "a vector of a single moment"),
        ('{"data": {"resultType": "matrix", "result": []}}', "no series"),
        ('{"data": {"resultType": "matrix", "result": [{"metric": {}}]}}', "series 1 has no `values`"),
        (answer([(START, "1"), (START + 60, "many")]), "series 1, value 2: .* is not a time and a number"),
        (answer([(START, "1"), (START + 60, "-1")]), "series 1, value 2: -1 requests/s can't be"),
        (answer([(START, "1"), (1e300, "1")]), "series 1, value 2"),
        (answer([(START, "1")]), "1 row; .*query_range"),
        (answer([(10**400, "1")]), "series 1, value 1: .* is not a time and a number"),
        (answer([(START, "1e13"), (START + 60, "1")]), "1e\\+13 requests/s can't be: give a number from 0 to 1e12"),
        (answer([(START, "1"), (START + 60, "3")], __name__="http_requests_total"), "a counter that only grows"),
    ],
)
def test_bad_ranges_are_named(text: str, says: str) -> None:
    """Each kind of answer that can't be played is refused with its place and what to export instead."""
    with pytest.raises(LoadError, match=says):
        parse_trace(text)


def test_seconds_since_the_epoch() -> None:
    """Times as numbers, of seconds or milliseconds, with a value that is a count or, by its name, a rate."""
    trace = parse_trace(f"ts,value\n{START},39.5\n{START + 60},40\n")
    assert (trace.start, trace.step_s, list(trace.requests)) == (NINE, 60.0, [39.5, 40.0])
    rate = parse_trace(f"ts,rps\n{START}000,2\n{START + 10}000,3\n")
    assert (rate.start, rate.step_s, list(rate.requests)) == (NINE, 10.0, [20.0, 30.0])
    assert (trace.read_as, rate.read_as) == ("CSV, requests in each step", "CSV, in requests/s")


@pytest.mark.parametrize("user", ["ada", "a user with spaces", "-"])
def test_an_access_log_is_counted_by_minute(user: str) -> None:
    """Lines out of order and of any zone count in the minute they name; the first and last minute are there only in part."""
    times = ["09:00:59", "09:01:00", "09:01:30", "09:02:59", "09:04:00", "09:03:59", "09:01:59", "09:05:00"]
    lines = [combined(at).replace("ada", user) for at in times] + [combined("10:02:10", "+0100").replace("ada", user)]
    trace = parse_trace("".join(lines))
    assert (trace.start.minute, list(trace.requests)) == (1, [3, 2, 1, 1])
    assert trace.read_as.startswith("an access log")


@pytest.mark.parametrize(
    "written",
    [
        lambda s: json.dumps({"time": f"2026-01-05T09:{s // 60:02}:{s % 60:02}Z", "status": 200}),
        lambda s: json.dumps({"@timestamp": f"2026-01-05T10:{s // 60:02}:{s % 60:02}.125+01:00"}),
        lambda s: json.dumps({"ts": START + s + 0.25, "request": {"uri": "/"}}),
        lambda s: json.dumps({"at": f"{START + s}.000001"}),
        lambda s: json.dumps({"timestamp": (START + s) * 1000}),
        lambda s: json.dumps({"time_local": f"05/Jan/2026:09:{s // 60:02}:{s % 60:02} +0000"}),
    ],
)
def test_an_access_log_of_json_lines(written) -> None:  # type: ignore[no-untyped-def]
    """The usual names of the time, and the usual ways to write it, are understood."""
    text = "\n".join(written(s) for s in (50, 60, 61, 119, 120, 200, 290))
    trace = parse_trace(text)
    assert (trace.start, list(trace.requests)) == (NINE.replace(minute=1), [3, 1, 1])
    assert trace.read_as == "an access log of JSON lines, requests in each minute"


def test_a_silent_log_is_no_outage_but_is_told() -> None:
    """Minutes in which nobody asked are zeroes, and hours of them are named."""
    trace = parse_trace("".join(combined(at) for at in ("09:00:00", "09:01:00", "11:01:00", "11:02:00")))
    assert sum(trace.requests) == 2 and len(trace.requests) == 121
    assert trace.notes == ("nobody asked for anything for 119 minutes from 2026-01-05T09:02, or the log lacks them",)


def test_a_log_with_rubbish_in_it() -> None:
    """One line of a hundred may be none and is told; more is another kind of file, and names the first such line."""
    good = [combined(f"09:{i // 60:02}:{i % 60:02}") for i in range(300)]
    trace = parse_trace("".join([*good[:7], "\x16\x03\x01 tls\n", *good[7:]]))
    assert trace.notes == ("1 of 301 lines are no requests, the first is line 8",)
    with pytest.raises(LoadError, match=r":2: this is no line of an access log .* 5 of 6 lines"):
        parse_trace(good[0] + "rubbish\n" * 5)


def test_lines_of_a_wrong_clock_are_no_trace_of_fifty_years() -> None:
    """A machine that began in 1970 does not make minutes out of the years since: the gap is named; a time that is none is no request."""
    first = [combined("09:00:00").replace("2026", "1970"), combined("09:01:00").replace("2026", "1970")]
    today = [combined(f"09:{i:02}:00") for i in range(10)]
    with pytest.raises(
        LoadError, match="nobody asked for anything for 20,454 days from 1970-01-05T09:02: give the part"
    ):
        parse_trace("".join(first + today))
    assert len(parse_trace("".join(first + today), since=NINE).requests) == 9
    lines = [json.dumps({"ts": START + i * 20}) for i in range(600)]
    assert parse_trace("\n".join([*lines, json.dumps({"ts": 10**400})])).notes[0].startswith("1 of 601 lines")


def test_no_scale_makes_more_than_can_be_counted() -> None:
    """A peak that no machine was ever asked for is refused before a simulation loses itself in it."""
    trace = parse_trace("ts,rps\n0000000000,2\n0000000060,4\n")
    assert trace.factor(peak_rps=8) == trace.factor(scale=2) == 2
    for scale, peak_rps in ((1e12, None), (1.0, 1e300)):
        with pytest.raises(LoadError, match="can't be played: give a smaller scale or peak"):
            trace.factor(scale, peak_rps)


def test_a_part_of_a_log() -> None:
    """From is included, to is not: minutes within a log are whole, and only its own ends are not."""
    text = "".join(combined(f"09:{i:02}:00") for i in range(10))
    part = parse_trace(text, since=datetime(2026, 1, 5, 9, 2), until=datetime(2026, 1, 5, 9, 8))  # noqa: DTZ001
    assert (part.start, len(part.requests)) == (NINE.replace(minute=2), 6)
    assert len(parse_trace(text).requests) == 8
    with pytest.raises(LoadError, match=r"1 minute in the time asked for.*: ask for a longer time"):
        parse_trace(text, since=NINE.replace(minute=3), until=NINE.replace(minute=4))


def test_packed_files(tmp_path: Path) -> None:
    """A file packed with gzip is unpacked whatever its name; one that is cut off is a sentence."""
    text = "timestamp,requests\n" + "".join(f"2026-01-05T09:{i:02},{i * i}\n" for i in range(60))
    packed = gzip.compress(b"\xef\xbb\xbf" + text.encode())
    whole, cut = tmp_path / "trace", tmp_path / "cut.csv.gz"
    whole.write_bytes(packed)
    cut.write_bytes(packed[:60])
    assert read_trace(whole) == parse_trace(text)
    for content in (text.encode(), packed):
        pipe = tmp_path / f"pipe-{len(content)}"
        os.mkfifo(pipe)
        writer = Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        assert read_trace(pipe) == parse_trace(text), "what a pipe brings is read as it comes"
        writer.join()
    with pytest.raises(LoadError, match="can't be unpacked"):
        read_trace(cut)


@given(
    st.text(), st.sampled_from(["{", '{"data": {"result": [', '{"ts": ', combined("09:00:00"), '{"ts": 1}\n{"ts": '])
)
def test_no_text_breaks_the_readers(text: str, before: str) -> None:
    """Whatever stands in a file, the readers say what is wrong with it, or read it."""
    try:
        assert isinstance(parse_trace(before + text), Trace)
    except LoadError as error:
        assert str(error)


@given(
    st.recursive(
        st.none() | st.floats() | st.text(max_size=8), lambda s: st.lists(s) | st.dictionaries(st.text(max_size=8), s)
    )
)
def test_no_json_breaks_the_reader_of_ranges(value: object) -> None:
    """Whatever Prometheus, or who claims to be it, puts into its answer is refused or read."""
    for whole in (value, {"data": {"result": [{"values": value}]}}, {"data": {"result": [{"values": [value, value]}]}}):
        try:
            assert isinstance(parse_trace(json.dumps(whole)), Trace)
        except LoadError as error:
            assert str(error)
