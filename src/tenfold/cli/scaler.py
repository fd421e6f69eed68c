"""`tenfold scaler`: the brain for a cluster that has KEDA, over KEDA's own protocol. Wires Prometheus or a project's journal to it."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenfold.cli.feed import clock_time
from tenfold.cli.here import Fail, Here, WrongCall, own
from tenfold.console.guard import is_loopback
from tenfold.drivers.capacity import read_capacities
from tenfold.drivers.prometheus import Prometheus
from tenfold.model import Service
from tenfold.ports import Permanent

if TYPE_CHECKING:
    from tenfold.console.keda.asked import Ref
    from tenfold.console.keda.brain import Answer
    from tenfold.console.keda.server import Tls
    from tenfold.console.keda.watched import Pool

LISTEN = "127.0.0.1:9095"


@click.command("scaler")
@click.option("--listen", default=LISTEN, show_default=True, metavar="HOST:PORT", help="Where KEDA is to ask.")
@click.option("--prometheus", "url", metavar="URL", help="Think beside: read the load from this Prometheus.")
@click.option("--project", "is_project", is_flag=True, help="Answer with what this folder's project wants.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="The server's certificate (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path), help="The certificate's key (PEM).")
@click.option(
    "--client-ca", type=click.Path(path_type=Path), help="Let only clients ask that this authority (PEM) signed."
)
@click.option("--insecure", is_flag=True, help="Listen elsewhere than on loopback without TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print each change as a line of JSON.")
@click.pass_obj
def scaler_command(
    here: Here,
    listen: str,
    url: str | None,
    is_project: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """Tell KEDA how many instances a workload needs, over its gRPC protocol for external scalers.

    With --prometheus the forecast and the decider run here, on the load that a ScaledObject's query gives. With --project the answer is
    what the project of this folder wants. Prints each change with its reason, until Ctrl-C.
    """
    if (url is None) == (not is_project):
        raise WrongCall(
            "give one of --prometheus URL (think beside a cluster) and --project (ask the project of this folder)"
        )
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise WrongCall(f"--listen {listen}: give it as HOST:PORT, such as {LISTEN}")
    if (tls_cert is None) != (tls_key is None) or (client_ca is not None and tls_cert is None):
        raise WrongCall("TLS takes --tls-cert and --tls-key, and --client-ca if you like")
    if tls_cert is None and not insecure and not is_loopback(host.strip("[]")):
        raise WrongCall(
            f"at {host} others could ask without TLS: give --tls-cert and --tls-key, or --insecure where the network is closed"
        )
    # What goes wrong is said by us, in a sentence; it must be known before gRPC is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from tenfold.console.keda.server import Tls
    except ImportError:
        raise Fail("gRPC is not installed: run `pip install 'tenfold[keda]'`") from None
    tls = Tls(tls_cert, tls_key, client_ca) if tls_cert is not None and tls_key is not None else None
    asyncio.run(_serve(here, listen, url, tls, _teller(as_json)))


async def _serve(
    here: Here,
    listen: str,
    url: str | None,
    tls: "Tls | None",
    tell: "Callable[[Ref | None, Answer | None, str], None]",
) -> None:
    """Serve until a signal. Raises `Fail` and `WrongCall`."""
    from tenfold.console.keda.server import CantListen, Server
    from tenfold.console.keda.watched import Objects

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    prometheus = _prometheus(url) if url is not None else None
    open_pool = (
        _of_project(here) if prometheus is None else _beside(here, prometheus, lambda text: tell(None, None, text))
    )
    server = Server(Objects(open_pool, tell), listen, tls)
    try:
        try:
            port = await server.start()
        except CantListen as error:
            raise Fail(str(error)) from None
        source = (
            f"the load comes from {prometheus.name}" if prometheus is not None else "answers are those of this project"
        )
        how = (
            "" if tls is None else " with TLS, for clients of one authority" if tls.clients is not None else " with TLS"
        )
        tell(None, None, f"serving KEDA at {listen.rpartition(':')[0]}:{port}{how}; {source}; Ctrl-C ends it")
        await ended.wait()
    finally:
        await server.stop()
        if prometheus is not None:
            await prometheus.close()


def _prometheus(url: str) -> Prometheus:
    try:
        return Prometheus(url)
    except Permanent as error:
        raise WrongCall(f"--prometheus: {error}") from None


def _beside(here: Here, prometheus: Prometheus, say: Callable[[str], None]) -> "Callable[[Ref], Pool]":
    """Opens pools whose load is read from `prometheus`. Where a blueprint lies here, ScaledObjects may name its services."""
    from tenfold.console.keda.asked import asked_of
    from tenfold.console.keda.beside import READS_MAX, Beside

    services = _services(here)
    holds = _measured(here, services)
    turns = asyncio.Semaphore(READS_MAX)

    def open_pool(ref: "Ref") -> "Pool":
        return Beside(asked_of(ref, services, holds), ref.namespace or "default", prometheus, turns, say)

    return open_pool


def _services(here: Here) -> dict[str, Service]:
    if not here.blueprint.exists():
        return {}
    return {name: each for name, each in here.model().services.items() if each.runs_always}


def _measured(here: Here, services: dict[str, Service]) -> dict[str, float]:
    """What one instance was measured to hold (requests/s), by service: under the scenario of which it holds least."""
    try:
        capacities = read_capacities(here.project())
    except Permanent:
        return {}
    found: dict[str, float] = {}
    for seen in capacities:
        if seen.service in services and seen.command == services[seen.service].command:
            found[seen.service] = min(found.get(seen.service, seen.requests_per_s), seen.requests_per_s)
    return {name: found[each.base] for name, each in services.items() if each.base in found}


def _of_project(here: Here) -> "Callable[[Ref], Pool]":
    """Opens pools of the project of this folder; whether it runs is seen at each look."""
    from tenfold.console.keda.wanted import PoolOfProject, Project

    project = Project(own(here.project()).journal)
    return lambda ref: PoolOfProject(ref, project)


def _teller(as_json: bool) -> "Callable[[Ref | None, Answer | None, str], None]":
    """Prints what changes: of a ScaledObject the number it is to have (or that nothing is known), and why."""

    def tell(ref: "Ref | None", answer: "Answer | None", why: str) -> None:
        now = time.time()
        if as_json:
            said = {
                "at": round(now, 3),
                "object": ref.title if ref is not None else None,
                "wanted": answer.wanted if answer is not None else None,
                "is_active": answer.is_active if answer is not None else None,
                "why": why,
            }
            click.echo(json.dumps(said))
            return
        # Names and queries come over the network: none of them is to move our reader's cursor.
        why = _shown(why)
        if ref is None:
            click.echo(f"{clock_time(now)}  {why}")
            return
        number = "?" if answer is None else str(answer.wanted)
        colour = "red" if answer is None else "cyan"
        holding = "  (the last number counts for a minute, then KEDA is told and holds)" if answer is None else ""
        click.echo(f"{clock_time(now)}  {_shown(ref.title)}  {click.style(number, fg=colour)}  {why}{holding}")

    return tell


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
