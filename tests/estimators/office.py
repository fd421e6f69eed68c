"""An office that the tests of users plan for: its scenario, its model, and what was measured of it."""

from tenfold.estimators.allocation import WORKS
from tenfold.estimators.users import Question
from tenfold.facts import CapacitySeen
from tenfold.model import Action, Data, Model, Region, Scaling, Scenario, Service, Step

OFFICE = Scenario(
    "office",
    (
        Action("look", 0.75, (Step("GET", "/"), Step("GET", "/api/me"))),
        Action("report", 0.25, (Step("GET", "/api/report"),)),
    ),
    think_s=10.0,
)
WEB = Service("web", "serve {port}", paths=("/",), scaling=Scaling(2, 8))
WORKER = Service("worker", "work", http=False, scaling=Scaling(1, 4))
MODEL = Model("shop", {"web": WEB}, {"local": Region("local")}, data=Data())
HELD = CapacitySeen(
    service="web",
    scenario="office",
    release="s1",
    requests_per_s=100.0,
    concurrency=9.0,
    users=600.0,
    latency_ms=500.0,
    bends_at_rps=120.0,
    measured_at=0.0,
    seen_at=0.0,
    cores=4,
    cpu_ms={"web": 6.0, "postgres": 2.0, "load generator": 50.0},
    connections=8.0,
    limited_by="the processor of the instance",
)


def question(
    model: Model = MODEL, held: CapacitySeen | None = HELD, connections_max: int | None = 200, work: str | None = None
) -> Question:
    """What is asked of the office's users."""
    measured = {} if held is None else {"web": held}
    return Question(model, OFFICE, {"web": 1.0}, measured, connections_max, WORKS[work] if work else None)
