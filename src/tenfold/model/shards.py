"""Tenants and the shards that hold their rows. Nouns of the model; acted on once shards arrive."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """One slice of the data: `slots` of the tenant key's hash live in `region`."""

    id: int
    region: str
    slots: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of the app: its `id` (the value of the tenant key) and its `tier`."""

    id: str
    tier: str
