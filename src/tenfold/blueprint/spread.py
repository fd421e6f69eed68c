"""Whether what a blueprint says of several regions fits together: their places, the entry, residency, and the stores' copies.
The other half of `checks`."""

from difflib import get_close_matches

from tenfold.blueprint.problem import quoted
from tenfold.blueprint.read import Reading
from tenfold.blueprint.tiers import told_apart
from tenfold.model import Data, Model

REGIONS_MAX = 50
"""So many gateways one machine leads without one of them waiting for another."""


def check_spread(model: Model, reading: Reading) -> None:
    """Note in `reading` what does not fit together once there may be several regions."""
    if not reading.sound("regions"):
        return
    if len(model.regions) > REGIONS_MAX:
        reading.note("regions", f"names {len(model.regions)} regions; at most {REGIONS_MAX} run on one machine")
    _places(model, reading)
    _known(model.edge.region, "edge.region", model, reading)
    _residency(model, reading)
    if model.data is not None and reading.sound("data"):
        _known(model.data.region, "data.region", model, reading)
        _copies(model, model.data, reading)


def _places(model: Model, reading: Reading) -> None:
    # Without a place nothing is nearest: a guess would send people around the globe, and nobody would see why.
    for name, region in model.regions.items():
        if model.is_spread and region.at is None:
            reading.note(
                f"regions.{name}.at",
                "is missing: with several regions clients are sent to the nearest; give its latitude and longitude, "
                "e.g. at: [50.4, 3.8]",
            )


def _known(region: str | None, at: str, model: Model, reading: Reading) -> None:
    if region is None or region in model.regions:
        return
    nearest = get_close_matches(region, model.regions, 1, 0.6)
    known = f"regions are {', '.join(model.regions)}" if model.is_spread else f"the only one is {model.home}"
    hint = f"did you mean {nearest[0]}?" if nearest else known
    reading.note(at, f"there is no region {quoted(region)}; {hint}")


def _residency(model: Model, reading: Reading) -> None:
    if not reading.sound("residency"):
        return
    known = sorted({region.residency for region in model.regions.values() if region.residency})
    for name, rule in model.residency.items():
        at = f"residency.{name}"
        if name not in known:
            hint = f"residencies are {', '.join(known)}" if known else f"give one to a region, e.g. residency: {name}"
            reading.note(at, f"no region has the residency {quoted(name)}, so nobody could serve them; {hint}")
        if not rule.domains and not rule.tenants:
            reading.note(at, "names nobody; give it domains or tenants, e.g. tenants: [acme]")
    told_apart("residency", model.residency, "must be served in", model, reading)


def _copies(model: Model, data: Data, reading: Reading) -> None:
    if data.replicas and not model.is_spread:
        only = next(iter(model.regions))
        reading.note(
            "data.replicas", f"a copy is kept in another region, and there is only {only}; add a region, or remove it"
        )
    if not data.replicas:
        for key, is_said, why in (
            ("synchronous", data.is_synchronous, "no write can wait for a copy"),
            ("rpo", data.rpo_s is not None, "the data are lost with their region"),
            ("rto", data.rto_s is not None, "nothing takes over from a region that is lost"),
        ):
            if is_said:
                reading.note(f"data.{key}", f"needs a copy, without which {why}; try replicas: 1")
    elif data.rpo_s == 0 and not data.is_synchronous:
        reading.note(
            "data.rpo",
            "0s needs synchronous: true, or the newest writes are lost with their region; add it, or allow some seconds, e.g. rpo: 5s",
        )
