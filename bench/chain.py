"""What the entry and a gateway cost together: CPU for each request, over that of two bare Envoys in a row before the same instances."""

from dataclasses import replace

from bench.edge import Side, bare_envoy, compare, instances
from bench.globe import globe, near
from bench.shop import Shop, Tell
from bench.table import Figure, Unmeasured, told

REGION = "west"


async def entry_cpu(tell: Tell) -> list[Figure]:
    """Load both chains at the same moments, as people near one region, and compare what each used."""
    async with globe(tell) as shop:
        pids = _pid(shop, "entry/"), _pid(shop, f"gateway/{REGION}")
        async with (
            bare_envoy(shop, instances(shop, REGION)) as (inner, inner_pid),
            bare_envoy(shop, [(inner.host, inner.port)]) as (outer, outer_pid),
        ):
            figures: list[Figure] = []
            for whose, headers in (("from nowhere known", ()), ("with a place", near(REGION))):
                tell(f"requests {whose}")
                ours = Side(await shop.target(), pids, headers)
                compared = await compare(tell, ours, Side(outer, (outer_pid, inner_pid), headers))
                figures += [replace(figure, what=f"{whose}: {figure.what}") for figure in compared]
    how = (
        f"both at once; people near {REGION} say where they are, so that the nearest region is looked for; the bare chain looks for none, "
        "and writes no access log"
    )
    return [*figures, told("how", how)]


def _pid(shop: Shop, start: str) -> int:
    found = [engine.pid for key, engine in shop.latest().snapshot.engines.items() if key.startswith(start)]
    if not found or found[0] is None:
        raise Unmeasured(f"{start} has no process")
    return found[0]
