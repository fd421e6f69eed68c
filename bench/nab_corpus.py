"""Labelled series to score a detector on: NAB's files where they are, or made ones. Files or a seed in, `Labelled` out."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from bench.nab_score import Labelled
from bench.table import Unmeasured

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
"""Public traces beside the checkout, if somebody put them there: data of others, not part of the project."""
NAB = TRACES / "nab"
MINUTES = TRACES / "ms-cloud-monitoring"
WINDOW_RATIO = 0.1
"""As in NAB, the windows of a file are a tenth of it, in all."""
STEP_S = 300.0
DAYS = 12
A_DAY = 288


def read_nab(folder: Path = NAB) -> tuple[Labelled, ...]:
    """All files of NAB that are in `folder`, by name. Raises `Unmeasured` when it is not as NAB's repository lays it out."""
    try:
        windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
        return tuple(_read(folder / "data" / name, name, windows[name]) for name in sorted(windows))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise Unmeasured(f"{folder} is not NAB's data ({error}): put data/ and labels/ of numenta/NAB there") from error


def _read(path: Path, name: str, windows: list[list[str]]) -> Labelled:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    at = [_seconds(row[0]) for row in rows]
    places = tuple((at.index(_seconds(first)), at.index(_seconds(last))) for first, last in windows)
    return Labelled(name, tuple(at), tuple(float(row[1]) for row in rows), places)


def read_minutes(folder: Path = MINUTES) -> tuple[Labelled, ...]:
    """Series with a label at each odd row (Microsoft's cloud monitoring dataset): labels less than an hour apart are one window."""
    found = []
    for path in sorted(folder.glob("*/*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        at = [_seconds(row[0]) for row in rows]
        windows: list[tuple[int, int]] = []
        for n, row in enumerate(rows):
            if int(row[2]):
                if windows and at[n] - at[windows[-1][1]] <= 3600:
                    windows[-1] = (windows[-1][0], n)
                else:
                    windows.append((n, n))
        name = f"{path.parent.name}/{path.name}"
        found.append(Labelled(name, tuple(at), tuple(float(row[1]) for row in rows), tuple(windows)))
    return tuple(found)


def _seconds(text: str) -> float:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def made(seed: int) -> tuple[Labelled, ...]:
    """Twelve days of five-minute values, of three kinds of service, each with nothing, a spike, a new level, a lost day or a burst."""
    random = Random(seed)
    return tuple(
        _made(random, kind, harm)
        for kind in ("daily", "steady", "bursty")
        for harm in ("nothing", "spike", "level", "lost", "burst")
    )


def _made(random: Random, kind: str, harm: str) -> Labelled:
    count = DAYS * A_DAY
    day = random.uniform(80, 120)
    values = []
    for n in range(count):
        is_day = A_DAY // 3 <= n % A_DAY < A_DAY * 3 // 4
        level = {"daily": day if is_day else day / 4, "steady": day, "bursty": day / 10}[kind]
        if kind == "bursty" and random.random() < 0.02:
            level = day * random.uniform(0.8, 1.2)
        values.append(level * random.gauss(1, 0.04))
    at = tuple(n * STEP_S for n in range(count))
    if harm == "nothing":
        return Labelled(f"{kind}/{harm}", at, tuple(values), ())
    since = random.randrange(7, 11) * A_DAY + A_DAY // 2
    match harm:
        case "spike":
            values[since : since + 3] = [v + 3 * day for v in values[since : since + 3]]
        case "level":
            values[since:] = [v + day for v in values[since:]]
        case "lost":
            values[since : since + A_DAY // 6] = [v * 0.05 for v in values[since : since + A_DAY // 6]]
        case "burst":
            values[since : since + 24] = [v + day * random.uniform(0, 3) for v in values[since : since + 24]]
    half = round(WINDOW_RATIO * count / 2)
    return Labelled(f"{kind}/{harm}", at, tuple(values), ((since - half, min(count - 1, since + half)),))
