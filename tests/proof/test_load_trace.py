"""Reading traces, also bad ones."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.proof.load import LoadError, generated_day, parse_trace, read_trace

GOOD = "timestamp,requests\n1995-07-01T00:00,42\n1995-07-01T00:01,61\n1995-07-01T00:02,57\n"


def test_a_trace_is_read() -> None:
    """Times and counts become a start, a step and requests."""
    trace = parse_trace(GOOD)
    assert trace.start == datetime(1995, 7, 1, tzinfo=UTC)
    assert (trace.step_s, list(trace.requests), trace.filled) == (60.0, [42, 61, 57], 0)


def test_speedup_keeps_the_rate_and_shortens_the_time() -> None:
    """A minute of 42 requests becomes a second at 0.7 requests/s; scale multiplies, peak sets the highest."""
    trace = parse_trace(GOOD)
    curve = trace.curve(speedup=60)
    assert curve.duration_s == pytest.approx(3)
    assert curve.segments[0].rate_rps == pytest.approx(0.7)
    assert trace.curve(speedup=60, scale=10).segments[0].rate_rps == pytest.approx(7)
    assert trace.curve(speedup=60, peak_rps=500).peak_rps == pytest.approx(500)
    assert trace.curve().expected == pytest.approx(42 + 61 + 57)


def test_other_names_zones_quotes_and_line_ends_are_understood() -> None:
    """Files as other tools write them: byte order mark, CRLF, quotes, further columns, zones, blank lines, any step."""
    text = (
        '"Label","TimeStamp","Value"\r\n0,"2018-04-25T00:00:00Z","6034.7"\r\n\r\n0,"2018-04-25T02:00:00+01:00","12"\r\n'
    )
    trace = parse_trace(text)
    assert (trace.step_s, list(trace.requests)) == (3600.0, [6034.7, 12.0])


def test_missing_steps_are_interpolated_and_counted() -> None:
    """A hole in the measurement is no outage: it is bridged, and the trace says how many steps were."""
    trace = parse_trace("time,count\n2026-01-05T00:00,10\n2026-01-05T00:01,20\n2026-01-05T00:04,50\n")
    assert list(trace.requests) == [10, 20, 30, 40, 50]
    assert trace.filled == 2


def test_a_part_of_a_trace() -> None:
    """From is included, to is not; a hole outside of the part does not matter."""
    text = GOOD + "1999-01-01T00:00,5\n"
    trace = parse_trace(text, until=datetime.fromisoformat("1996-01-01"))
    assert list(trace.requests) == [42, 61, 57]
    part = parse_trace(text, since=datetime.fromisoformat("1995-07-01T00:01"), until=datetime(1996, 1, 1, tzinfo=UTC))
    assert list(part.requests) == [61, 57]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("", "0 rows"),
        ("1995-07-01T00:00,42\n", "1 row;"),
        ("1995-07-01T00:00,42\n1995-07-01T00:01,-1\n", ":3: -1 requests can't be"),
        ("1995-07-01T00:00,42\n1995-07-01T00:01,nan\n", ":3: nan requests"),
        ("1995-07-01T00:00,42\n1995-07-01T00:01,1e999\n", ":3: 1e999 requests"),
        ("1995-07-01T00:00,42\n1995-07-01T00:01,many\n", ":3: `many` is not a number"),
        ("1995-07-01T00:00,42\n1995-07-01T00:01,1_0\n", ":3: `1_0` is not a number"),
        ("1995-07-01T00:00,42\n1995-07-01T00:01,\n", ":3: `` is not a number"),
        ("1995-07-01T00:00,42\n1995-07-01T00:01\n", ":3: the row has 1"),
        ("1995-07-01T00:00,42\nyesterday,1\n", ":3: `yesterday` is not a time"),
        ("0001-01-01T00:00+23:59,42\n0001-01-02T00:00,1\n", ":2: `0001-01-01T00:00\\+23:59` is not a time"),
        ("1995-07-01T00:01,42\n1995-07-01T00:01,43\n", ":3: 1995-07-01T00:01 is there twice"),
        ("1995-07-01T00:01,42\n1995-07-01T00:00,43\n", ":3: 1995-07-01T00:00 does not come after"),
        (
            "1995-07-01T00:00,1\n1995-07-01T00:02,1\n1995-07-01T00:05,1\n",
            ":4: .* does not lie on the trace's step of 120",
        ),
        ("1995-07-01T00:00,1\n1995-07-01T00:01,1\n9995-07-01T00:01,1\n", ":4: .* rows are missing"),
        ('1995-07-01T00:00,1\n"' + "x" * 200_000, "not CSV"),
        ("1995-07-01T00:00,1\n\0\n", "not text"),
    ],
)
def test_bad_rows_are_named(rows: str, says: str) -> None:
    """Each kind of bad row is refused with its line and what to do."""
    with pytest.raises(LoadError, match=says):
        parse_trace("timestamp,requests\n" + rows)


@pytest.mark.parametrize("header", ["a,b", "timestamp", "requests,count", "1995-07-01T00:00,42"])
def test_an_unknown_header_is_named(header: str) -> None:
    """Without a time and a number by name there is no guessing which column is which."""
    with pytest.raises(LoadError, match=":1: the header"):
        parse_trace(header + "\n1995-07-01T00:00,42\n1995-07-01T00:01,42\n")


def test_files_that_are_none(tmp_path: Path) -> None:
    """A file that is missing, a folder, empty or binary is a sentence, not a traceback."""
    (tmp_path / "binary.csv").write_bytes(b"\x7fELF\xff\xfe")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "windows.csv").write_text("timestamp,requests\n", encoding="utf-16")
    for name, says in (
        ("none.csv", "No such file"),
        ("", "directory"),
        ("binary.csv", "not text"),
        ("empty.csv", "0 rows"),
        ("windows.csv", "not text in UTF-8: save it so"),
    ):
        with pytest.raises(LoadError, match=says):
            read_trace(tmp_path / name)


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Spreadsheets put a mark before the header; it is not part of the first name."""
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert list(read_trace(path).requests) == [42, 61, 57]


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever stands in a file, the reader says what is wrong with it, or reads it."""
    for whole in (text, "timestamp,requests\n" + text, GOOD + text):
        try:
            parse_trace(whole)
        except LoadError as error:
            assert str(error)


@pytest.mark.parametrize("bad", [{"speedup": 0}, {"speedup": -1}, {"scale": float("nan")}, {"peak_rps": float("inf")}])
def test_impossible_ways_to_play_are_refused(bad: dict[str, float]) -> None:
    """Time does not stand still or go back, and a rate is a number."""
    with pytest.raises(LoadError, match="above zero"):
        parse_trace(GOOD).curve(**bad)
    with pytest.raises(LoadError, match="no requests at all"):
        parse_trace("time,count\n2026-01-05T00:00,0\n2026-01-05T00:01,0\n").curve(peak_rps=5)


def test_the_generated_day_is_a_day() -> None:
    """Quiet nights, busy hours before and after lunch, the peak asked for, and the same for the same seed."""
    day = generated_day(seed=3, peak_per_minute=900)
    hours = [sum(day.requests[60 * hour : 60 * hour + 60]) for hour in range(24)]
    assert len(day.requests) == 1440 and max(day.requests) == 900
    assert min(hours[10], hours[15]) > 1.2 * hours[12] > 3 * max(hours[2:5])
    assert day == generated_day(seed=3, peak_per_minute=900) != generated_day(seed=4, peak_per_minute=900)


def test_too_short_a_part_of_a_trace_is_no_fault_of_its_header() -> None:
    """One row within the time that is asked for asks for a longer time; one row in all for more rows."""
    rows = "timestamp,requests\n1995-07-01T00:00,42\n1995-07-01T00:01,42\n"
    with pytest.raises(
        LoadError, match="1 row in the time asked for; a trace needs two or more: ask for a longer time"
    ):
        parse_trace(rows, until=datetime(1995, 7, 1, 0, 1, tzinfo=UTC))
