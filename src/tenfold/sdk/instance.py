"""Which instance this process is, as Tenfold told it through its environment."""

import os
from dataclasses import dataclass

from tenfold.wire import environment


@dataclass(frozen=True, slots=True)
class Instance:
    """This process: its instance id, service, region and release, and where the control plane listens (empty: nowhere)."""

    id: str
    service: str
    region: str
    release: str
    url: str


def this_instance() -> Instance | None:
    """The instance that this process belongs to, or None when it was not started by Tenfold."""
    env = os.environ
    if environment.INSTANCE not in env:
        return None
    return Instance(
        id=env[environment.INSTANCE],
        service=env.get(environment.SERVICE, ""),
        region=env.get(environment.REGION, ""),
        release=env.get(environment.RELEASE, ""),
        url=env.get(environment.URL, ""),
    )
