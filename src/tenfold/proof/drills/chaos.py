"""Drills as experiments of the Chaos Toolkit (its JSON format, version 1.0.0), written and read. Stage: a drill <-> a file; pure.

A probe of the steady state is a call of `measure`, and an action one of `kill`, `freeze`, ... in `tenfold.proof.drills.toolkit`, so that
`chaos run` can play what is written here. Nothing that a file names is ever imported or run by us: the names are looked up in the tables
below, and whatever is not in them is refused with a sentence.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tenfold.effects.faults import Fault, FillDisk, Freeze, Kill, Lose, Partition, Slow
from tenfold.proof.drills.aim import subject_of
from tenfold.proof.drills.drill import CLIENTS, Act, Drill, Measure, Probe, Ship, Sickness, Strike, Surge
from tenfold.proof.load.plan import loopback_address

VERSION = "1.0.0"
MODULE = "tenfold.proof.drills.toolkit"
EXTENSION = "tenfold"
SECONDS_MAX = 600.0
TIMES_MAX = 100.0
NO_BOUND = 1e12
FILE_BYTES_MAX = 1 << 20
MEASURES = tuple(str(measure) for measure in Measure)
SICKNESSES = tuple(str(sickness) for sickness in Sickness)
DECIDERS = ("heal", "route", "failover", "scale", "schedule", "release")
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]{0,199}")


class ExperimentError(Exception):
    """A file is no experiment that can be played here; one sentence that says where and why."""


# --- written ------------------------------------------------------------------------------------------------------------


def export(drill: Drill) -> dict[str, Any]:
    """The drill as an experiment, ready for JSON."""
    actions = [_action(act) for act in drill.acts]
    if drill.seconds > 0:
        actions[-1]["pauses"] = {"after": drill.seconds}
    rollbacks = [_activity("action", "undo what is still in force", "undo", {})]
    return {
        "version": VERSION,
        "title": drill.name,
        "description": drill.line,
        "tags": ["tenfold"],
        "steady-state-hypothesis": {
            "title": "Clients are served, all that should run does, and nothing is on its way",
            "probes": [_probe(probe) for probe in drill.expects],
        },
        "method": actions,
        "rollbacks": rollbacks,
        "extensions": [
            {
                "name": EXTENSION,
                "answered_by": list(drill.answered_by),
                "recovers": [str(measure) for measure in drill.recovers],
                "recovery_s_max": drill.recovery_s_max,
                "failed_max": drill.failed_max,
                "loses": drill.loses,
                "is_revived": drill.is_revived,
            }
        ],
    }


def _activity(kind: str, name: str, func: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    provider = {"type": "python", "module": MODULE, "func": func, "arguments": dict(arguments)}
    return {"type": kind, "name": name, "provider": provider}


def _probe(probe: Probe) -> dict[str, Any]:
    activity = _activity("probe", str(probe.measure), "measure", {"name": str(probe.measure)})
    highest = probe.highest if math.isfinite(probe.highest) else NO_BOUND
    return {**activity, "tolerance": {"type": "range", "range": [probe.lowest, highest]}}


def _action(act: Act) -> dict[str, Any]:
    name = f"{_verb(act)} {subject_of(act)}"
    match act:
        case Strike(fault):
            arguments = {field: getattr(fault, field) for field in fault.__slots__}
            return _activity("action", name, _FUNC[type(fault)], arguments)
        case Surge(times):
            return _activity("action", name, "surge", {"times": times})
        case Ship(sickness):
            return _activity("action", name, "ship", {"sickness": str(sickness)})


def _verb(act: Act) -> str:
    return {Strike: "strike", Surge: "send", Ship: "ship"}[type(act)]


# --- read ---------------------------------------------------------------------------------------------------------------


def read(text: str) -> Drill:
    """The drill of an experiment. Raises `ExperimentError`."""
    if len(text) > FILE_BYTES_MAX:
        raise ExperimentError("it is larger than 1 MB: that is no experiment")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ExperimentError(f"it is not JSON: {error}") from None
    root = _At(data, "the experiment")
    if root.maybe("controls"):
        raise ExperimentError("it has controls, which are Python code: take them out")
    if root.maybe("secrets"):
        raise ExperimentError("it has secrets, and nothing here needs any: take them out")
    if re.search(r"\$\{[^}]*\}", text):
        raise ExperimentError("it has ${...} in it, which is not filled in here: write the values out")
    hypothesis = root.maybe("steady-state-hypothesis")
    probes = _At(hypothesis, "steady-state-hypothesis").list_of("probes") if hypothesis else ()
    acts, seconds = _acts(root.list_of("method"))
    for number, activity in enumerate(root.maybe("rollbacks") or ()):
        _known_rollback(_At(activity, f"rollbacks[{number}]"))
    drill = Drill(
        name=_slug(root.text("title")),
        line=root.text("description"),
        expects=tuple(_read_probe(probe) for probe in probes),
        acts=tuple(acts),
        seconds=seconds,
        failed_max=None,
    )
    extensions = [e for e in root.maybe("extensions") or () if isinstance(e, dict) and e.get("name") == EXTENSION]
    return _bounded(drill, _At(extensions[0], f"extension {EXTENSION}")) if extensions else drill


class _At:
    """A piece of the file and where it stands, so that every complaint says so."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise ExperimentError(f"{where} is no object")
        self.data: dict[str, Any] = data
        self.where = where

    def maybe(self, key: str) -> Any:
        """What stands there, or None."""
        return self.data.get(key)

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.data.get(key)
        if not isinstance(value, str) or not value.strip():
            raise ExperimentError(f"{self.where} needs a {key}")
        return " ".join(value.split())[:500]

    def number(self, key: str, lowest: float, highest: float, default: float | None = None) -> float:
        """A number within bounds."""
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise ExperimentError(f"{self.where}: {key} must be a number from {lowest:g} to {highest:g}, not {value!r}")
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false; false where it is missing."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            raise ExperimentError(f"{self.where}: {key} must be true or false")
        return value

    def list_of(self, key: str) -> list["_At"]:
        """A list of objects."""
        value = self.data.get(key)
        if not isinstance(value, list):
            raise ExperimentError(f"{self.where} needs a list {key}")
        return [_At(item, f"{key}[{number}]") for number, item in enumerate(value)]

    def subject(self, key: str) -> str:
        """The name of something to harm."""
        value = self.data.get(key)
        if not isinstance(value, str) or not _SUBJECT.fullmatch(value):
            raise ExperimentError(f"{self.where}: {key} must name an instance, an engine, a pool or a region")
        return value


def _acts(activities: Sequence[_At]) -> tuple[list[Act], float]:
    """What a method does, and how long it lasts in all: the longest of its harms and of its pauses."""
    acts: list[Act] = []
    lasts_s = [0.0]
    for activity in activities:
        pauses = activity.maybe("pauses")
        if pauses is not None:
            lasts_s.append(_At(pauses, f"{activity.where}.pauses").number("after", 0, SECONDS_MAX, 0.0))
        if activity.maybe("type") == "probe":
            raise ExperimentError(f"{activity.where} is a probe within the method: put it into the steady state")
        func, arguments = _call(activity)
        reader = _ACTS.get(func)
        if reader is None:
            raise ExperimentError(f"{activity.where}: there is no action {func}; there are: {', '.join(_ACTS)}")
        act = reader(arguments)
        acts.append(act)
        if isinstance(act, Strike):
            lasts_s.append(getattr(act.fault, "seconds", 0.0))
    if not acts:
        raise ExperimentError("its method does nothing: name an action")
    return acts, max(lasts_s)


def _call(activity: _At) -> tuple[str, _At]:
    """Which of our functions an activity calls, with what."""
    if activity.maybe("ref") is not None:
        raise ExperimentError(f"{activity.where} refers to another activity: write it out")
    if activity.maybe("controls"):
        raise ExperimentError(f"{activity.where} has controls, which are Python code: take them out")
    if activity.maybe("background"):
        raise ExperimentError(f"{activity.where} is to run in the background: here all actions are done at once")
    provider = _At(activity.maybe("provider"), f"{activity.where}.provider")
    kind = provider.maybe("type")
    if kind != "python":
        what = {"process": "a program", "http": "an HTTP request"}.get(str(kind), f"a provider of type {kind}")
        raise ExperimentError(f"{activity.where} runs {what}, which Tenfold does not: use the functions of {MODULE}")
    if provider.maybe("module") != MODULE:
        raise ExperimentError(
            f"{activity.where} calls {provider.maybe('module')}, and no Python that a file names is run here: use the functions of {MODULE}"
        )
    arguments = provider.maybe("arguments")
    return provider.text("func"), _At({} if arguments is None else arguments, f"{activity.where}.arguments")


def _read_probe(activity: _At) -> Probe:
    provider = _At(activity.maybe("provider"), f"{activity.where}.provider")
    if provider.maybe("type") == "http":
        measure = _edge_probe(provider)
    else:
        func, arguments = _call(activity)
        name = arguments.maybe("name")
        if func != "measure" or name not in MEASURES:
            known = ", ".join(Measure)
            raise ExperimentError(f"{activity.where} is no probe that is known here: call measure with one of {known}")
        measure = Measure(name)
    lowest, highest = _tolerance(activity)
    return Probe(measure, lowest, highest)


def _edge_probe(provider: _At) -> Measure:
    """A GET of the edge's first page, which is what EDGE_STATUS asks for."""
    url = urlsplit(provider.text("url"))
    is_ours = url.scheme == "http" and url.hostname is not None and loopback_address(url.hostname) is not None
    if not is_ours or url.path not in ("", "/") or url.query or provider.maybe("method") not in (None, "GET"):
        raise ExperimentError(f"{provider.where}: only GET http://127.0.0.1:PORT/ (the edge's first page) can be asked")
    if provider.maybe("headers") or provider.maybe("arguments"):
        raise ExperimentError(f"{provider.where}: the edge's first page is asked for without headers and arguments")
    return Measure.EDGE_STATUS


def _tolerance(activity: _At) -> tuple[float, float]:
    """Both bounds of a tolerance: a number, true or false, a pair, or a range."""
    value = activity.maybe("tolerance")
    if isinstance(value, dict):
        if value.get("type") != "range" or value.get("target") not in (None, "status"):
            raise ExperimentError(
                f"{activity.where}: of the tolerances with a type only ranges of numbers are known here"
            )
        value = value.get("range")
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value), float(value)
    is_pair = isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    if is_pair and -math.inf < value[0] <= value[1] < math.inf:
        return float(value[0]), float(value[1])
    raise ExperimentError(f"{activity.where}: its tolerance must be a number, or two of them in order")


def _known_rollback(activity: _At) -> None:
    """Harm ends by itself here: a rollback can only say so."""
    func, _ = _call(activity)
    if func != "undo":
        raise ExperimentError(f"{activity.where}: every harm is undone by itself, so the only rollback is undo")


def _bounded(drill: Drill, extension: _At) -> Drill:
    by = tuple(str(name) for name in extension.maybe("answered_by") or ())
    if unknown := set(by) - set(DECIDERS):
        raise ExperimentError(f"{extension.where}: nobody is called {min(unknown)}; there are: {', '.join(DECIDERS)}")
    recovers = extension.maybe("recovers") or [str(measure) for measure in CLIENTS]
    if not isinstance(recovers, list) or any(name not in MEASURES for name in recovers):
        raise ExperimentError(f"{extension.where}: recovers must be among {', '.join(Measure)}")
    has_bound = extension.maybe("failed_max") is not None
    return Drill(
        drill.name,
        drill.line,
        drill.expects,
        drill.acts,
        drill.seconds,
        by,
        tuple(Measure(name) for name in recovers),
        extension.number("recovery_s_max", 0.1, 3600, 30.0),
        int(extension.number("failed_max", 0, 1e9)) if has_bound else None,
        extension.flag("loses"),
        extension.flag("is_revived"),
    )


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "experiment"


def _strike(make: Callable[[_At, float], Fault], lowest_s: float = 0.5) -> Callable[[_At], Act]:
    def read_act(arguments: _At) -> Act:
        default_s = 0.0 if lowest_s == 0.0 else None
        return Strike(make(arguments, arguments.number("seconds", lowest_s, SECONDS_MAX, default_s)))

    return read_act


def _ship(arguments: _At) -> Act:
    name = arguments.maybe("sickness")
    if name not in SICKNESSES:
        raise ExperimentError(f"{arguments.where}: sickness must be one of {', '.join(Sickness)}")
    return Ship(Sickness(name))


_FUNC: Mapping[type, str] = {
    Kill: "kill",
    Freeze: "freeze",
    Slow: "slow",
    Lose: "lose",
    Partition: "partition",
    FillDisk: "fill_disk",
}

_ACTS: Mapping[str, Callable[[_At], Act]] = {
    "kill": _strike(lambda a, seconds: Kill(a.subject("subject"), seconds), 0.0),
    "freeze": _strike(lambda a, seconds: Freeze(a.subject("subject"), seconds)),
    "slow": _strike(lambda a, seconds: Slow(a.subject("subject"), a.number("extra_ms", 1, 60_000), seconds)),
    "lose": _strike(lambda a, seconds: Lose(a.subject("region"), a.number("ratio", 0, 1), seconds)),
    "partition": _strike(lambda a, seconds: Partition(a.subject("region"), seconds)),
    "fill_disk": _strike(lambda a, seconds: FillDisk(a.subject("subject"), seconds)),
    "surge": lambda a: Surge(a.number("times", 1, TIMES_MAX)),
    "ship": _ship,
}
