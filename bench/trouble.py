"""Random trouble over several regions in the simulator, seed after seed: nothing of what must always hold may break."""

from bench.shop import Tell
from bench.simregions import trials
from bench.table import Figure, none_of, told

SEEDS = 10_000


async def random_faults(tell: Tell) -> list[Figure]:
    """Play every seed."""
    played = await trials(range(SEEDS), tell)
    return [
        none_of("seeds that broke a rule", len(played.broken), f"{played.seeds:,}", played.broken),
        told(
            "the longest until all was whole again", f"{played.whole_s_max:.0f} s of virtual time", played.whole_s_max
        ),
        told("took", f"{played.took_s:.0f} s on all cores", played.took_s),
    ]
