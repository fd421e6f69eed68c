"""Drills as experiments of the Chaos Toolkit: written, read back, judged by its own checker, and what a file may not do."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from chaoslib.experiment import ensure_experiment_is_valid

from tenfold.effects.faults import Kill
from tenfold.model import Data, Model, Region, Scaling, Service
from tenfold.proof.drills import NAMES, Drill, Strike, drills_for
from tenfold.proof.drills.catalogue import SIMULATED
from tenfold.proof.drills.chaos import ExperimentError, export, read


def drills() -> dict[str, Drill]:
    """Every drill, for a project that can do all."""
    web = Service("web", "serve", paths=("/",), scaling=Scaling(2, 4))
    model = Model("shop", {"web": web}, {name: Region(name) for name in ("a", "b", "c")}, data=Data(replicas=1))
    return {offer.name: offer.drill for offer in drills_for(model, SIMULATED) if offer.drill is not None}


@pytest.mark.parametrize("name", NAMES)
def test_a_drill_is_the_same_when_it_is_read_back(name: str) -> None:
    """What is exported says all of a drill."""
    drill = drills()[name]
    assert read(json.dumps(export(drill))) == drill


@pytest.mark.parametrize("name", NAMES)
def test_the_toolkit_itself_takes_what_is_exported(name: str) -> None:
    """The Chaos Toolkit's own checker finds nothing wrong, and finds our functions with these arguments."""
    ensure_experiment_is_valid(json.loads(json.dumps(export(drills()[name]))))


def experiment() -> dict[str, Any]:
    """One that somebody wrote by hand."""
    return {
        "version": "1.0.0",
        "title": "Kill an instance!",
        "description": "What if one dies?",
        "steady-state-hypothesis": {
            "title": "It answers",
            "probes": [
                {
                    "type": "probe",
                    "name": "it answers",
                    "tolerance": 200,
                    "provider": {"type": "http", "url": "http://localhost:8080/", "timeout": 2},
                }
            ],
        },
        "method": [
            {
                "type": "action",
                "name": "kill",
                "provider": {
                    "type": "python",
                    "module": "tenfold.proof.drills.toolkit",
                    "func": "kill",
                    "arguments": {"subject": "web@local"},
                },
                "pauses": {"after": 5},
            }
        ],
    }


def test_an_experiment_by_hand_is_a_drill() -> None:
    """Title, probe, action and pause become a drill's name, steady state, harm and length."""
    ensure_experiment_is_valid(experiment())
    drill = read(json.dumps(experiment()))
    assert (drill.name, drill.line, drill.seconds) == ("kill-an-instance", "What if one dies?", 5.0)
    assert drill.acts == (Strike(Kill("web@local")),)
    assert [(str(p.measure), p.lowest, p.highest) for p in drill.expects] == [("edge_status", 200.0, 200.0)]


def _method(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda e: e["method"][0].update(changes)


def _provider(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda e: e["method"][0]["provider"].update(changes)


def _probe(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda e: e["steady-state-hypothesis"]["probes"][0].update(changes)


REFUSED: tuple[tuple[Callable[[dict[str, Any]], None], str], ...] = (
    (_provider(module="os", func="system", arguments={"command": "id"}), "no Python that a file names is run"),
    (_provider(module="tenfold.proof.drills.toolkit.x"), "no Python that a file names is run"),
    (_provider(func="undo"), "there is no action undo"),
    (_provider(func="__import__"), "there is no action __import__"),
    (_method(provider={"type": "process", "path": "sh", "arguments": "-c id"}), "runs a program"),
    (_method(provider={"type": "http", "url": "http://example.com"}), "runs an HTTP request"),
    (_method(provider=None), "provider is no object"),
    (_method(ref="kill"), "refers to another"),
    (_method(background=True), "background"),
    (_method(controls=[{"name": "x"}]), "Python code"),
    (_method(type="probe"), "put it into the steady state"),
    (_method(pauses={"after": 1e9}), "from 0 to 600"),
    (_provider(arguments={"subject": "$(id)"}), "must name an instance"),
    (_provider(arguments={"subject": "web-1", "seconds": -1}), "seconds must be a number"),
    (_provider(arguments={"subject": "web-1", "seconds": True}), "seconds must be a number"),
    (_provider(func="freeze", arguments={"subject": "web-1"}), "seconds must be a number"),
    (_provider(func="lose", arguments={"region": "a", "ratio": 2, "seconds": 5}), "ratio must be a number"),
    (_provider(func="ship", arguments={"sickness": "plague"}), "sickness must be one of"),
    (_probe(provider={"type": "http", "url": "http://169.254.169.254/"}), "the edge's first page"),
    (_probe(provider={"type": "http", "url": "http://localhost/admin"}), "the edge's first page"),
    (_probe(provider={"type": "process", "path": "id"}), "runs a program"),
    (_probe(tolerance={"type": "regex", "pattern": "(a+)+$"}), "only ranges"),
    (_probe(tolerance=[3, 1]), "in order"),
    (_probe(tolerance="fine"), "must be a number"),
    (lambda e: e.update(controls=[{"provider": {"type": "python", "module": "x"}}]), "Python code"),
    (lambda e: e.update(secrets={"a": {"type": "env", "key": "HOME"}}), "secrets"),
    (lambda e: e.update(title="${HOME}"), "not filled in"),
    (lambda e: e.pop("title"), "needs a title"),
    (lambda e: e.update(method=[]), "does nothing"),
    (lambda e: e.update(method="kill"), "needs a list method"),
    (lambda e: e.update(rollbacks=[{"provider": {"type": "process", "path": "sh"}}]), "runs a program"),
    (lambda e: e.update(extensions=[{"name": "tenfold", "answered_by": ["nobody"]}]), "nobody is called nobody"),
    (lambda e: e.update(extensions=[{"name": "tenfold", "recovers": ["soon"]}]), "recovers must be among"),
)


@pytest.mark.parametrize(("spoil", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_is_not_known_is_refused_with_a_sentence(spoil: Callable[[dict[str, Any]], None], reason: str) -> None:
    """Nothing that a file names is run, imported or asked, and the refusal says which place in the file it is about."""
    data = experiment()
    spoil(data)
    with pytest.raises(ExperimentError, match=reason.replace("(", r"\(")):
        read(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"title": NaN}', "x" * 2_000_000])
def test_what_is_no_experiment_is_refused(text: str) -> None:
    """Whatever a file holds, the answer is a sentence."""
    with pytest.raises(ExperimentError):
        read(text)
