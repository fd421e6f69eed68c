"""Faults of `tenfold simulate`: the drills' names, and when they strike. Stage: `region-kill@13:00` -> blows of a simulation."""

import re
from datetime import UTC, datetime, timedelta

from tenfold.blueprint import units
from tenfold.cli.here import Fail, WrongCall
from tenfold.cli.simulatedemand import Demand
from tenfold.model import Model
from tenfold.proof.drills import drills_for
from tenfold.proof.drills.catalogue import SIMULATED
from tenfold.proof.drills.drill import Ship, Strike, Surge
from tenfold.sim.compare import Blow

LASTS_S = 600.0
"""How long harm lasts that lasts at all, where the call does not say it: a drill's seconds are too short for days."""
HOW = "write it like region-kill@13:00, region-kill:REGION@2026-01-05T13:00+10m or traffic-spike@peak"
_FAULT = re.compile(r"(?P<name>[a-z-]+)(:(?P<region>[^@]+))?@(?P<when>[^+]+)(\+(?P<lasts>.+))?")
_LASTS = units.duration("10m")


def blow_of(text: str, model: Model, demand: Demand) -> Blow:
    """What `--fault` asks for. Raises `WrongCall`, and `Fail` when this project can't have it."""
    found = _FAULT.fullmatch(text.strip())
    if found is None:
        raise WrongCall(f"--fault {text}: {HOW}")
    lasts_s = LASTS_S
    if found["lasts"] is not None:
        try:
            lasts_s = float(_LASTS.parse(found["lasts"]))
        except ValueError as error:
            raise WrongCall(f"--fault {text}: {error}, found {found['lasts']}; {HOW}") from None
    try:
        offers = {offer.name: offer for offer in drills_for(model, SIMULATED, found["region"], lasts_s)}
    except ValueError as error:
        raise WrongCall(f"--fault {text}: {error}") from None
    name = found["name"]
    drill = offers[name].drill if name in offers else None
    if drill is None:
        if name in offers:
            raise Fail(f"{name} can't be done here: {offers[name].why_not}")
        raise WrongCall(f"--fault {text}: there is no drill {name}; there are: {', '.join(offers)}")
    if any(isinstance(act, Ship) for act in drill.acts):
        raise WrongCall(f"--fault {text}: a release is no matter of days: `tenfold drill {name} --sim` plays it")
    at_s = _when(text, found["when"], demand)
    times = 1.0
    for act in drill.acts:
        times *= act.times if isinstance(act, Surge) else 1.0
    faults = tuple(act.fault for act in drill.acts if isinstance(act, Strike))
    return Blow(text.strip(), at_s, lasts_s if drill.seconds > 0 else 0.0, faults, times)


def _when(text: str, when: str, demand: Demand) -> float:
    """In seconds of the counted time: `peak`, a time of its first day, or a moment."""
    if when == "peak":
        return max(1.0, demand.busiest_s())
    begins = datetime.fromtimestamp(demand.began_at, UTC)
    try:
        if re.fullmatch(r"\d\d?:\d\d(:\d\d)?", when):
            clock = datetime.strptime(when if when.count(":") == 2 else f"{when}:00", "%H:%M:%S")  # noqa: DTZ007
            at = begins.replace(hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=0)
            at = at if at > begins else at + timedelta(days=1)
        else:
            at = datetime.fromisoformat(when)
            at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except ValueError:
        raise WrongCall(f"--fault {text}: {when} is no time; {HOW}") from None
    at_s = (at - begins).total_seconds()
    if not 0 < at_s < demand.seconds:
        ends = begins + timedelta(seconds=demand.seconds)
        raise WrongCall(
            f"--fault {text}: it lies outside of what is played, {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
        )
    return at_s
