"""`tenfold drain`: take an instance or a region out of service gently. Stage: a person -> request -> decider."""

import time

import click

from tenfold.cli.here import NEVER_RUN, Fail, Here
from tenfold.cli.ship import ask_and_watch
from tenfold.facts import DrainRequest
from tenfold.loop import new_request_id


@click.command("drain")
@click.argument("subject")
@click.option("--undo", is_flag=True, help="Ask a region back that was drained.")
@click.pass_obj
def drain_command(here: Here, subject: str, undo: bool) -> None:
    """Take SUBJECT out of service gently: an instance (`web-3`) or a region (`europe-west1`).

    An instance gets no new requests, finishes those it has, and ends; another takes its place. A region gets no traffic, step by
    step, until it is asked back with --undo; what runs there goes on running. What nobody could take over is refused.
    """
    if here.control_plane_soon() is None:
        raise Fail("nothing is running here, so there is nothing to drain: `tenfold up` first")
    with here.reader() as reader:
        tick = reader.latest()
        model = reader.model(tick.model) if tick is not None else None
    if model is None:
        raise Fail(NEVER_RUN)
    is_region = subject in model.regions and (tick is None or subject not in tick.memory.heal.members)
    named = f"region/{subject}" if is_region else subject
    ask_and_watch(here, DrainRequest(new_request_id("drain"), time.time(), named, undo), "the drain")
