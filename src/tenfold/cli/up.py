"""`tenfold up` and `tenfold down`: run the control plane in this terminal or behind it, and end it cleanly."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from tenfold.blueprint import not_acted_on
from tenfold.cli import wiring
from tenfold.cli.console import addresses
from tenfold.cli.control import ControlPlane, echo, kill_all, log_to_file, open_control_plane, open_network, run
from tenfold.cli.doctor import check_engines
from tenfold.cli.here import TAKES_OVER_WITHIN_S, Fail, Here, WrongCall, lease_of, make_state
from tenfold.cli.lease import overtaken, take_lease, taken
from tenfold.cli.ship import Gone, ask_and_watch, check_secrets, make_release
from tenfold.drivers.network import Network, clear
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.wan.wan import ROUTER
from tenfold.facts import DownRequest, UpRequest
from tenfold.loop import Answer, Desk, End, JournalError, JournalMissing, JournalReader, new_request_id
from tenfold.model import Model, Release

REQUEST_VARIABLE = "TENFOLD_UP_REQUEST"
"""The id of the request that a detached control plane hands in, so that who started it can wait for the answer."""
ENDED_WITHIN_S = 30.0


@click.command("up")
@click.option("--detach", "-d", is_flag=True, help="Run behind this terminal; return when the app serves.")
@click.option(
    "--wan", is_flag=True, help="Emulate the distance between regions until `down`: as root by networks of their own."
)
@click.pass_obj
def up_command(here: Here, detach: bool, wan: bool) -> None:
    """Run the app: build, release hook, instances behind the edge, PostgreSQL and Valkey when the blueprint has `data`.

    Shows what is done and why, until Ctrl-C stops everything cleanly. After the control plane died, `up` takes over what still
    runs. When it is up already, `tenfold deploy` ships changes.
    """
    model, project = here.model(), here.project()
    pid = here.control_plane()
    if pid is not None:
        raise Fail(taken(project) + "; `tenfold deploy` ships changes")
    check_engines(model)
    # Here too, before anything is started for a release that can't be made.
    check_secrets(project, model)
    log_to_file(project)
    if wan and not model.is_spread:
        raise WrongCall("--wan is the distance between regions, and the blueprint has one region")
    if detach:
        _detach(here, project, wan)
        return
    # Ctrl-C before there is a loop that could be asked to go down.
    with _leaving_nothing(project, KeyboardInterrupt):
        answer = asyncio.run(_up(here, project, model, wan))
    if answer is not None and not answer.ok:
        raise Fail(answer.text)


async def _up(here: Here, project: Project, model: Model, wan: bool) -> Answer | None:
    """Run until the project is down; gives the answer to the request to be up, None when it never came."""
    with _leaving_nothing(project, Exception):
        plane, release = await _begin(project, model, wan)
    answers: list[Answer] = []
    request_id = os.environ.pop(REQUEST_VARIABLE, "")

    def answered(answer: Answer) -> None:
        answers.append(answer)
        serving = plane.journal.memory.release.serving
        if answer.ok:
            _greet(plane, is_behind=bool(request_id))
        elif serving is not None:
            # What served before does so again, and this process goes on.
            echo(f"Error: {answer.text}", fg="red")
            echo(f"  {serving} is started again: `tenfold status` shows how far it is")
        if request_id and serving is not None:
            _own_log(project, request_id).replace(project.logs / "up.log")

    try:
        echo(f"{model.name} ({model.environment.name}), {release.id} from {project.root}")
        for notice in filter(None, (*plane.drivers.process.notices, plane.network.notice)):
            echo(f"note: {notice}", dim=True)
        for sentence in not_acted_on(model):
            echo(f"note: {sentence}", dim=True)
        end = await run(plane, UpRequest(request_id or new_request_id("up"), time.time(), release), echo, answered)
    except JournalError as error:
        raise Fail(str(error)) from None
    finally:
        await plane.close()
    if end is End.LOST:
        raise Fail(overtaken(project))
    echo("everything is stopped; `tenfold up` starts it again")
    return answers[0] if answers else None


@contextlib.contextmanager
def _leaving_nothing(project: Project, after: type[BaseException]) -> Iterator[None]:
    """When what is done within ends in `after`, what it started ends too; what ran before, or is another's, goes on."""
    is_new = not Processes(project).look()
    try:
        yield
    except after:
        if is_new and lease_of(project).holder() is None:
            kill_all(project)
        raise


async def _begin(project: Project, model: Model, wan: bool) -> tuple[ControlPlane, Release]:
    """A control plane that leads, and what it is to ship. Raises `Fail`."""
    # What a control plane that died has left running goes on in the network that it has.
    network = await open_network(project, model, True if wan else None if Processes(project).look() else False)
    plane = await _lead(project, model, network)
    try:
        return plane, make_release(project, model, plane.journal.releases(), reuse=True)
    except BaseException as error:
        await plane.close()
        if isinstance(error, JournalError):
            raise Fail(str(error)) from None
        raise


async def _lead(project: Project, model: Model, network: Network) -> ControlPlane:
    """A control plane that leads. Raises `Fail`."""
    try:
        lease, epoch = await take_lease(project, model, network)
        return await open_control_plane(project, model, network, lease, epoch, echo)
    except BaseException:
        await network.close()
        raise


def _greet(plane: ControlPlane, is_behind: bool) -> None:
    """What a person wants to know once it serves; `is_behind` a terminal that is not waiting for it."""
    with JournalReader(plane.project.journal) as reader:
        tick = reader.latest()
    engines = sorted(tick.snapshot.engines.values(), key=lambda e: e.kind) if tick else []
    echo()
    is_spread = plane.model.is_spread
    edges = [engine for engine in engines if engine.kind == ("entry" if is_spread else "gateway")]
    for engine in edges:
        echo(f"  {plane.model.name} serves at http://{engine.address}", bold=True, fg="green")
        if engine.note:
            echo(f"  {engine.note}")
    if not edges:
        echo(f"  {plane.model.name} runs; none of its services speaks HTTP", bold=True, fg="green")
    if is_spread:
        echo(f"  from {', '.join(plane.model.regions)}: `tenfold status` tells how each is")
    for engine in engines:
        if engine.kind in ("postgres", "valkey"):
            if not engine.address:
                # A standby that gets its copy: nothing waits for it.
                echo(f"  {engine.key}: {engine.note or engine.state}")
                continue
            echo(f"  {engine.version}{f' in {engine.region}' if is_spread else ''} at {engine.address}")
            if engine.note:
                echo(f"    {engine.note}")
    for url in addresses(plane.project, plane.model):
        echo(f"  console at {url}", bold=True)
    wanted = plane.model.console.port
    if wanted is not None and plane.console_place.port != wanted:
        echo(f"    port {wanted} is busy")
    where, end = ("look at it with", "") if is_behind else ("in another terminal", "; Ctrl-C here stops everything")
    echo(f"  {where}: tenfold status --watch, tenfold logs -F, tenfold load{end}\n")


def _detach(here: Here, project: Project, wan: bool) -> None:
    """Start the control plane behind this terminal and wait until it serves."""
    request = new_request_id("up")
    make_state(project)
    log = _own_log(project, request)
    command = [*wiring.PROGRAM, "-C", str(here.directory), "-f", here.file_name]
    if here.environment:
        command += ["-e", here.environment]
    with log.open("wb") as output:
        shown = log.open("rb")
        process = subprocess.Popen(
            [*command, "up", *(["--wan"] if wan else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, REQUEST_VARIABLE: request},
        )
    with shown:
        try:
            while log.exists() and process.poll() is None:
                _print_news(shown)
                time.sleep(0.15)
        except KeyboardInterrupt:
            advice = "`tenfold status` shows how far it is, `tenfold down` stops it"
            raise Fail(f"stopped watching; it goes on behind this terminal: {advice}") from None
        _print_news(shown)
    if log.exists():
        log.unlink()
        raise SystemExit(1)
    click.echo("it runs behind this terminal: `tenfold status` shows it, `tenfold down` stops it")
    with JournalReader(project.journal) as reader:
        answer = reader.answer(request)
    if answer is not None and not answer.ok:
        raise SystemExit(1)


def _own_log(project: Project, request: str) -> Path:
    """What a detached control plane says, until it serves and has said so: another that is tried meanwhile says something else."""
    return project.run / f"{request}.log"


def _print_news(file: BinaryIO) -> None:
    """What was written to `file` since the last time."""
    click.echo(file.read().decode(errors="replace"), nl=False)


@click.command("down")
@click.pass_obj
def down_command(here: Here) -> None:
    """Drain and stop everything of this project, engines last. Data, releases and the journal stay."""
    project = here.project()
    if here.control_plane_soon() is not None:
        request = DownRequest(new_request_id("down"), time.time())
        try:
            ask_and_watch(here, request, "stopping", patience_s=TAKES_OVER_WITHIN_S if here.has_standby() else 1.0)
        except Gone as gone:
            # It ended, for another's `down` or by a kill, before it saw ours: what is left is ours to stop.
            Desk(project.journal).withdraw(request.id, time.time(), gone.message)
        else:
            _wait_for_end(here)
            return
    if not Processes(project).look().keys() - {ROUTER}:
        clear(project)
        click.echo("nothing of this project runs")
        return
    # Its control plane died: be one, for as long as it takes to stop what it left.
    log_to_file(project)
    answer = asyncio.run(_down(here, project))
    if answer is not None and not answer.ok:
        raise Fail(answer.text)


async def _down(here: Here, project: Project) -> Answer | None:
    try:
        with JournalReader(project.journal) as reader:
            tick = reader.latest()
            model = reader.model(tick.model) if tick else None
    except JournalMissing:
        model = None
    model = model or here.model()
    plane = await _lead(project, model, await open_network(project, model))
    answers: list[Answer] = []
    try:
        await run(plane, DownRequest(new_request_id("down"), time.time()), echo, answers.append)
    finally:
        await plane.close()
    if answers and answers[0].ok:
        # What was started for a blueprint that never came to be run, nobody else knows of.
        kill_all(project)
        click.secho(answers[0].text, fg="green", bold=True)
    return answers[0] if answers else None


def _wait_for_end(here: Here) -> None:
    """Until the control plane has ended too, so that `up` may follow at once."""
    until = time.monotonic() + ENDED_WITHIN_S
    while here.control_plane() is not None:
        if time.monotonic() > until:
            raise Fail("everything is stopped, but the control plane has not ended: see `tenfold logs control`")
        time.sleep(0.1)
