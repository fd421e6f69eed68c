"""`tenfold deploy` and `tenfold rollback`: capture the folder as a release, ask the loop, show what it does until it answers."""

import asyncio
import time
from collections.abc import Mapping

import click

from tenfold.blueprint import not_acted_on
from tenfold.cli.feed import Feed
from tenfold.cli.here import Fail, Here, WrongCall
from tenfold.drivers.project import Project
from tenfold.drivers.releases import capture, source_digest
from tenfold.drivers.secrets import Secrets
from tenfold.facts import DeployRequest, PersonRequest, RollbackRequest
from tenfold.loop import Answer, Desk, JournalError, new_request_id
from tenfold.model import Model, Release
from tenfold.ports import DriverError


def make_release(project: Project, model: Model, known: Mapping[str, Release], *, reuse: bool) -> Release:
    """The folder as it is now, as a release. With `reuse` a known one is taken when nothing has changed since.

    Raises `Fail` when the folder can't be captured or a secret is not set.
    """
    check_secrets(project, model)
    built = any(service.build for service in model.services.values())
    try:
        same = same_release(known, model, source_digest(project, model.keep, built)) if reuse else None
        if same is not None:
            return same
        captured = capture(project, model.keep, built, after=max((r.number for r in known.values()), default=0))
    except DriverError as error:
        raise Fail(str(error)) from None
    return Release(captured.id, model.services, captured.digest, time.time(), model.env, model.secrets)


def check_secrets(project: Project, model: Model) -> None:
    """Raise `Fail` when a secret that the blueprint names is not set."""
    try:
        Secrets(project.secrets(model.environment.name)).values(model.secrets)
    except DriverError as error:
        raise Fail(str(error)) from None


def same_release(known: Mapping[str, Release], model: Model, digest: str) -> Release | None:
    """The newest release that is what the folder and the blueprint are now."""
    wanted = (model.services, model.env, model.secrets, digest)
    alike = (r for r in known.values() if (r.services, r.env, r.secrets, r.source_digest) == wanted)
    return max(alike, key=lambda r: r.number, default=None)


def beyond_release(running: Model, wanted: Model) -> list[str]:
    """The parts of a blueprint that differ and that a deploy does not carry: they belong to the control plane that runs."""
    parts = ("regions", "domains", "edge", "data", "rollout")
    return [part for part in parts if getattr(running, part) != getattr(wanted, part)]


@click.command("deploy")
@click.pass_obj
def deploy_command(here: Here) -> None:
    """Ship the folder as the next release, without downtime.

    Build, release hook, new instances beside the old, traffic shifted once they are healthy, the old ones kept warm for a
    minute. Whatever fails on the way leaves the old release serving. Ctrl-C only stops watching: the deploy goes on.
    """
    model, project = here.model(), here.project()
    if here.control_plane_soon() is None:
        raise Fail("nothing is running here: `tenfold up` starts this project with the folder as it is")
    with here.reader() as reader:
        known, tick = reader.releases(), reader.latest()
        running = reader.model(tick.model) if tick else None
    if running is not None and running.environment != model.environment:
        name = running.environment.name
        raise WrongCall(f"{model.environment.name} is not what runs here: `tenfold -e {name} deploy` ships to {name}")
    release = make_release(project, model, known, reuse=False)
    click.echo(f"captured {project.root} as {release.id}")
    if running is not None and (changed := beyond_release(running, model)):
        advice = "is not part of a release: it changes with the next `tenfold down` and `tenfold up`"
        click.secho(f"note: {' and '.join(changed)} in the blueprint has changed and {advice}", fg="yellow")
    for sentence in not_acted_on(model):
        click.secho(f"note: {sentence}", dim=True)
    ask_and_watch(here, DeployRequest(new_request_id("deploy"), time.time(), release), "the deploy")


@click.command("rollback")
@click.argument("release", required=False)
@click.pass_obj
def rollback_command(here: Here, release: str | None) -> None:
    """Go back to the release that served before, or to RELEASE (`r4`). During a deploy: stop and undo it.

    Migrations are not undone: an old release must be able to run on the newer schema.
    """
    if here.control_plane_soon() is None:
        raise Fail("nothing is running here, so there is nothing to go back from: `tenfold up` first")
    ask_and_watch(here, RollbackRequest(new_request_id("rollback"), time.time(), release), "going back")


class Gone(Fail):
    """The control plane ended before it answered, and did not come back."""


def ask_and_watch(here: Here, request: PersonRequest, what: str, patience_s: float = 10.0) -> None:
    """Hand in `request` and show decisions until it is answered. Raises `Fail` with the answer when that is no, and
    `Gone` when there is no control plane for `patience_s`."""
    with here.reader() as reader:
        feed = Feed.from_now(reader, request.id)
        try:
            Desk(here.project().journal).append(request)
            answer = asyncio.run(_watch(here, feed, request.id, patience_s))
        except JournalError as error:
            raise Fail(str(error)) from None
        except KeyboardInterrupt:
            raise Fail(
                f"stopped watching; {what} goes on (`tenfold status` shows it, `tenfold rollback` stops it)"
            ) from None
    if not answer.ok:
        raise Fail(answer.text)
    click.secho(answer.text, fg="green", bold=True)


async def _watch(here: Here, feed: Feed, request: str, patience_s: float) -> Answer:
    """Until the answer; raises `Gone` when the control plane dies and does not come back."""
    answered = asyncio.create_task(feed.until_answered(request, click.echo))
    gone_s = 0.0
    while not answered.done():
        await asyncio.wait({answered}, timeout=1.0)
        gone_s = gone_s + 1.0 if here.control_plane() is None else 0.0
        if gone_s > patience_s and not answered.done():
            answered.cancel()
            raise Gone("the control plane is gone; the request waits: `tenfold up` takes it up again")
    return answered.result()
