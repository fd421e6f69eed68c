"""Every row of the bench by name: its drill in a few words, and what measures it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bench import (
    ahead,
    brain,
    chain,
    clairvoyant,
    console,
    crashes,
    days,
    deploys,
    drills,
    edge,
    generator,
    home,
    instances,
    journal,
    measure,
    nab,
    prove,
    regions,
    routes,
    scaling,
    steer,
    surge,
    trouble,
)
from bench.shop import Tell
from bench.table import Figure


@dataclass(frozen=True, slots=True)
class Row:
    """A drill and how it is measured."""

    drill: str
    measure: Callable[[Tell], Awaitable[list[Figure]]]


LOOP: Mapping[str, Row] = {
    "instance-kill": Row("an instance killed with -9", instances.instance_kill),
    "instance-freeze": Row("an instance frozen (SIGSTOP)", instances.instance_freeze),
    "control-plane-kill": Row(
        "the control plane killed with -9, 20 times, deploys included", crashes.control_plane_kill
    ),
    "deploys": Row("10 deploys, 2 rollbacks, a broken release of each kind", deploys.deploys),
    "load-x5": Row("load x5 at once", surge.load_x5),
    "load-gone": Row("the load gone", surge.load_gone),
    "edge-cpu": Row("CPU per request of the edge over a bare Envoy's", edge.edge_cpu),
    "scaling": Row("requests per second at 1, 2, 4 instances", scaling.scaling),
    "brain": Row("one decision for 100 services in 10 regions", brain.brain),
    "journal": Row("the journal of a day with 20 instances", journal.journal),
}

REGIONS: Mapping[str, Row] = {
    "region-kill": Row("a region's gateway and instances killed with -9", regions.region_kill),
    "region-freeze": Row("all of a region frozen (SIGSTOP) for 10 s", regions.region_freeze),
    "region-partition": Row("a region cut off from all others", regions.region_partition),
    "region-loss": Row("a region that loses 5% of its packets", regions.region_loss),
    "region-slow": Row("a region 300 ms slower", regions.region_slow),
    "latency-change": Row("all ways of a region 100 ms longer", steer.latency_change),
    "shares": Row("capacity shares 4000/3000/3000 under full load", steer.capacity_shares),
    "home-lost": Row("the region of control plane and database primary lost", home.home_lost),
    "routes-2000": Row("2,000 routes changed", routes.routes_2000),
    "entry-cpu": Row("CPU per request of entry and gateway over two bare Envoys' in a row", chain.entry_cpu),
    "random-faults": Row("random faults over several regions, simulated", trouble.random_faults),
}

PROOF: Mapping[str, Row] = {
    "load-users": Row("10,000 users at 1,000 requests/s: what the load engine takes", generator.users),
    "load-held": Row("100,000 users held by the load engine", generator.held),
    "load-freeze": Row("a server that freezes 3 s: what the load engine says of it", generator.freeze),
    "drill-instance-kill": Row("`tenfold drill`: an instance killed with -9", drills.here("instance-kill")),
    "drill-instance-freeze": Row("an instance hangs", drills.here("instance-freeze")),
    "drill-control-plane-kill": Row("the control plane killed with -9", drills.here("control-plane-kill")),
    "drill-database-kill": Row("PostgreSQL killed with -9", drills.here("database-kill")),
    "drill-valkey-kill": Row("Valkey killed with -9", drills.here("valkey-kill")),
    "drill-disk-full": Row("the disk under PostgreSQL full, simulated", drills.simulated),
    "drill-traffic-spike": Row("five times the users at once", drills.here("traffic-spike")),
    "drill-bad-release": Row("two broken releases shipped", drills.here("bad-release")),
    "drill-region-kill": Row("all of a region killed, dead for 20 s", drills.spread("region-kill")),
    "drill-region-freeze": Row("all of a region hangs for 10 s", drills.spread("region-freeze")),
    "drill-region-partition": Row("a region cut off for 20 s", drills.spread("region-partition")),
    "drill-slow-network": Row("everything to a region 300 ms longer", drills.spread("slow-network")),
    "measure-waiting": Row("`tenfold measure`: an app that waits, predicted at 2 and 4 instances", measure.waiting),
    "measure-crewboard": Row("`tenfold measure`: Crewboard, predicted at 2 and 4 instances", measure.crewboard),
    "prove": Row("`tenfold prove` on crewboard: a verdict for each target", prove.prove),
    "console": Row("the console's page in a real browser: 10 regions, 200 instances, 1,000 tenants", console.console),
    "nab": Row("odd minutes told from usual ones, on labelled series", nab.nab),
}
"""In the order: load generator, drills, measure, prove, console, anomalies."""

BRAIN: Mapping[str, Row] = {
    "forecast": Row("three days of recorded loads, forecast each minute", ahead.forecast),
    "policy-2min": Row("the same, scaled by it and by others; instances take 2 min to start", ahead.policies_2),
    "policy-5min": Row("instances take 5 min to start", ahead.policies_5),
    "clairvoyant": Row("the cheapest that one who knows all could do with so few actions", clairvoyant.clairvoyant),
    "forty-services": Row("a simulated day of 40 services, ticks of 10 s, hourly refits, real deciders", days.forty),
    "lost-region": Row("a simulated day of 100,000 users in 3 regions, one lost at the peak", days.lost),
}

SETS: Mapping[str, Mapping[str, Row]] = {"loop": LOOP, "regions": REGIONS, "proof": PROOF, "brain": BRAIN}
"""The rows of `make bench`, `make bench-regions`, `make bench-proof` and `make bench-brain`."""

ROWS: Mapping[str, Row] = {name: row for rows in SETS.values() for name, row in rows.items()}
