"""`tenfold standby --region R`: a control plane that waits, and leads when the one that leads is lost. Started by that one as an engine.

While it waits it only looks at the voters: it holds no lock, decides nothing, and reads the journal once. A blueprint that was edited
meanwhile is not its business: it goes on with what the journal says was run.
"""

import asyncio
import logging
import math
import os
from dataclasses import dataclass

import click

from tenfold.cli import wiring
from tenfold.cli.control import log_to_file, open_control_plane, run
from tenfold.cli.here import NEVER_RUN, Fail, Here
from tenfold.cli.lease import overtaken, start_voters, take_over, votes_of
from tenfold.drivers.controlplane import Post, SignOfLife
from tenfold.drivers.network import Network
from tenfold.drivers.project import Project
from tenfold.drivers.quorum import Vigil, now_s
from tenfold.loop import End, JournalError, LeaseError
from tenfold.model import Model
from tenfold.ports import DriverError, Lease
from tenfold.wire import environment
from tenfold.wire.lease import TTL_S

log = logging.getLogger(__name__)

LOOK_EVERY_S = TTL_S / 6
LOOK_AGAIN_S = 0.02
"""A vote that ends is asked for this much later, so that it has ended."""
VOTERS_START_AFTER_S = TTL_S
"""Without a majority of voters for this long nobody leads who could start them."""


@click.command("standby", hidden=True)
@click.option("--region", required=True, help="Where it stands.")
@click.pass_obj
def standby_command(here: Here, region: str) -> None:
    """Stand by in REGION, and lead when the control plane that leads is lost. `tenfold up` starts it where it is needed."""
    # The tags by which this process is found are not to pass to those that it starts.
    for name in [name for name in os.environ if name.startswith(environment.PREFIX)]:
        del os.environ[name]
    project = here.project()
    model = _model(here)
    if region not in model.regions:
        raise Fail(f"there is no region {region}; there are: {', '.join(model.regions)}")
    log_to_file(project)
    asyncio.run(_serve(project, model, region))


def _model(here: Here) -> Model:
    """The model that is being run."""
    with here.reader() as reader:
        tick = reader.latest()
        model = reader.model(tick.model) if tick is not None else None
    if model is None:
        raise Fail(NEVER_RUN)
    return model


async def _serve(project: Project, model: Model, region: str) -> None:
    network = wiring.network(project, model)
    lease, epoch = await _Standby(project, model, network, Post.own(region)).until_it_leads()
    log.info("the control plane in %s leads now, under epoch %d", region, epoch)
    # Whoever leads looks after the network.
    try:
        await network.open()
    except DriverError as error:
        await lease.release()
        raise Fail(str(error)) from None
    plane = await open_control_plane(project, model, network, lease, epoch, _log, region)
    try:
        end = await run(plane, None, _log)
    finally:
        await plane.close()
    if end is End.LOST:
        raise Fail(overtaken(project))


def _log(text: str) -> None:
    """Nobody looks on: what a leader tells goes to the log."""
    log.info("%s", click.unstyle(text))


@dataclass(slots=True)
class _Standby:
    """A control plane that waits for the lease."""

    project: Project
    model: Model
    network: Network
    post: Post

    async def until_it_leads(self) -> tuple[Lease, int]:
        """Wait until nobody leads, then take the lease, and end whoever is left of the one before."""
        sign, vigil, answered_s = SignOfLife(self.project, self.post.region), Vigil(), now_s()
        votes = votes_of(self.project, self.model, self.network, self.post)
        while True:
            sign.give()
            asked_s = now_s()
            sight = await votes.look()
            free_s = vigil.free_s(sight, asked_s)
            if sight.has_majority:
                answered_s = asked_s
            try:
                if asked_s >= free_s and (epoch := await votes.acquire()) is not None:
                    taken = await take_over(self.project, self.network, self.post, votes, epoch)
                    if taken is not None:
                        return taken
                    await votes.release()
                if asked_s - answered_s > VOTERS_START_AFTER_S:
                    answered_s = asked_s
                    await start_voters(self.project, self.model, self.network, self.post.region)
            except (DriverError, LeaseError, JournalError, OSError) as error:
                log.warning("can't lead: %s", error)
                await votes.release()
                # The lease is free, and asking again at once would fail again: each try is a line on the voters' disks.
                free_s = math.inf
            await asyncio.sleep(min(LOOK_EVERY_S, max(LOOK_AGAIN_S, free_s - now_s() + LOOK_AGAIN_S)))
