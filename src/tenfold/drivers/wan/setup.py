"""Makes and removes a project's namespaces and devices; what is there already is taken over. Stage: effects -> world, below the drivers."""

import contextlib
import fcntl
import ipaddress
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tenfold.drivers.wan import namespace
from tenfold.drivers.wan.plan import MACHINE, Node, Plan, prefix
from tenfold.drivers.wan.router import DEVICE
from tenfold.ports import Permanent, Retryable

BLOCKS = ipaddress.IPv4Network("198.18.0.0/15")
"""Where the addresses come from: set aside for tests between networks (RFC 2544), so that hardly anything else uses them."""

CONGESTION_CONTROL = "cubic"
"""How all TCP between regions gives way. BBR, the default of some kernels, hardly minds losses, and would flatter every drill.

It is a property of the routes, because a namespace may not choose what is not allowed to everybody."""

MTU_BYTES = 1500
TUN = Path("/dev/net/tun")

_QUEUE_PACKETS = 5000
_LOCK = Path("/run/lock/tenfold-networks")
_SAID_CHARS_MAX = 200


def why_not() -> str:
    """Why this machine can't have networks for the regions, as a sentence that says what to do; empty when it can."""
    if os.geteuid() != 0:
        return "networks for the regions are made by root alone: run this as root"
    if not TUN.exists():
        return f"networks for the regions need {TUN}, which is not here: load the module tun, or start without --wan"
    if shutil.which("ip") is None:
        return "networks for the regions are made with `ip`, which is not installed: apt-get install iproute2"
    return ""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nobody else on this machine chooses a block meanwhile."""
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def free_block(project: str, remembered: str | None = None) -> str:
    """The first three bytes of 256 addresses that no route of this machine leads to but `project`'s own.

    Projects begin to look at different places. Raises `Permanent` when all are used.
    """
    device = f"tf{project}"
    routes = json.loads(_ip("-4", "-json", "route", "show", "table", "all"))
    taken = [
        ipaddress.IPv4Network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default" and route.get("dev") != device
    ]
    # Everything beyond the default route is nobody's in particular.
    taken = [network for network in taken if network.prefixlen > 0]
    blocks = list(BLOCKS.subnets(new_prefix=24))
    start = int(project, 16) % len(blocks)
    order = [*(b for b in blocks if str(b[0]).startswith(f"{remembered}.")), *blocks[start:], *blocks[:start]]
    for block in order:
        if not any(block.overlaps(network) for network in taken):
            return str(block[0]).rpartition(".")[0]
    raise Permanent(f"no block of addresses is free within {BLOCKS}: remove routes that lead there (see `ip route`)")


def make(plan: Plan) -> None:
    """Make what is missing, and put right what is there. Raises `Permanent` with what this machine said."""
    _make_here(plan)
    for node in plan.regions:
        _make_region(plan, node)


def is_whole(plan: Plan) -> bool:
    """True when nobody has taken a namespace or a device away."""
    return (Path("/sys/class/net") / plan.device).exists() and all(
        (namespace.FOLDER / node.namespace).exists() for node in plan.regions
    )


def remove(project: str) -> None:
    """Remove every namespace and device of the project with the id `project`, also what runs before left behind."""
    if namespace.FOLDER.is_dir():
        for path in namespace.FOLDER.glob(f"{prefix(project)}*"):
            _ip_quietly("netns", "delete", path.name)
            path.unlink(missing_ok=True)
    if (Path("/sys/class/net") / f"tf{project}").exists():
        _ip_quietly("link", "delete", f"tf{project}")


def _make_here(plan: Plan) -> None:
    """The device that leads to all regions, with the addresses of the points of presence."""
    lines = [f"address replace {node.address}/32 dev {plan.device}" for node in plan.here]
    lines.append(f"link set {plan.device} mtu {MTU_BYTES} txqueuelen {_QUEUE_PACKETS} up")
    source = plan.address(MACHINE)
    lines.append(f"route replace {plan.block}.0/25 dev {plan.device} src {source} congctl {CONGESTION_CONTROL}")
    if not (Path("/sys/class/net") / plan.device).exists():
        _ip("tuntap", "add", "dev", plan.device, "mode", "tun")
    _no_ipv6(plan.device)
    _ip("-batch", "-", lines=lines)


def _make_region(plan: Plan, node: Node) -> None:
    name = node.namespace
    if not namespace.is_there(name):
        # A name without a namespace is what a crash at the wrong moment left.
        (namespace.FOLDER / name).unlink(missing_ok=True)
        _ip("netns", "add", name)
    with namespace.inside(name):
        devices = {device for _, device in socket.if_nameindex()}
    if DEVICE not in devices:
        _ip("-n", name, "tuntap", "add", "dev", DEVICE, "mode", "tun")
    with namespace.inside(name):
        _no_ipv6(DEVICE)
    _ip(
        *("-n", name, "-batch", "-"),
        lines=(
            "link set lo up",
            f"address replace {node.address}/32 dev {DEVICE}",
            f"link set {DEVICE} mtu {MTU_BYTES} txqueuelen {_QUEUE_PACKETS} up",
            f"route replace {plan.block}.0/24 dev {DEVICE} src {node.address} congctl {CONGESTION_CONTROL}",
        ),
    )


def _no_ipv6(device: str) -> None:
    """Keep a device of the network that this thread is in from talking IPv6, which is not routed; some kernels have none."""
    path = Path("/proc/sys/net/ipv6/conf") / device / "disable_ipv6"
    with contextlib.suppress(FileNotFoundError):
        path.write_text("1")


def _ip(*words: str, lines: Sequence[str] = ()) -> str:
    """What `ip` answers; `lines` are commands for it to read. Raises `Permanent` with what it said when it fails."""
    try:
        done = subprocess.run(["ip", *words], input="\n".join(lines), capture_output=True, text=True, check=False)
    except OSError as error:
        raise Retryable(f"`ip` can't be run: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:_SAID_CHARS_MAX]
        raise Permanent(
            f"this machine does not let us make networks for the regions (ip {words[0]}: {said}): "
            "run where that is allowed, or start without --wan"
        )
    return done.stdout


def _ip_quietly(*words: str) -> None:
    """As `_ip`, for what may be gone already."""
    with contextlib.suppress(Permanent, Retryable):
        _ip(*words)
