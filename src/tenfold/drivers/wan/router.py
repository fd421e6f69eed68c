"""The router between the regions' networks, a program of its own: `router.py PLAN`. Stage: effects -> world, below the drivers.

It reads packets from a TUN per network, keeps each for as long as its way takes (drivers.wan.links), and writes it to the TUN of
its destination. Whoever talks to its socket changes links for as long as the connection lives: a drill that dies leaves nothing
behind. Nothing is imported here but what is needed, because each start cuts all regions off from one another.
"""

import contextlib
import ctypes
import errno
import fcntl
import gc
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from tenfold.drivers.wan.links import Change, Link
from tenfold.drivers.wan.namespace import identity, inside
from tenfold.drivers.wan.plan import Plan, read_plan
from tenfold.ports import Retryable

DEVICE = "wan"
"""The TUN's name in every region's namespace."""
SOCKET = "wan.sock"

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x0001 | 0x1000
_PR_SET_TIMERSLACK = 29
_BURST_PACKETS = 64
_PACKET_BYTES_MAX = 65_535
_LINE_BYTES_MAX = 1 << 20
_PATIENCE_S = 3.0
_NICE = -15


class Broken(Exception):
    """The router can't go on; the text is a sentence for the log."""


class Desk:
    """One connection to the router: what it changed is mended when it closes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.changes: set[int] = set()
        self._received = b""

    def read(self) -> Iterator[Any]:
        """The requests that have come, as far as they are whole. Raises OSError or ValueError when it is over."""
        chunk = self.connection.recv(65_536)
        self._received += chunk
        if not chunk or len(self._received) > _LINE_BYTES_MAX:
            raise ConnectionResetError("nobody is there any more")
        *lines, self._received = self._received.split(b"\n")
        return (json.loads(line) for line in lines)


class Router:
    """All links of a project, and what is on its way on them."""

    def __init__(self, plan_file: Path) -> None:
        self._plan_file = plan_file
        self._devices: dict[tuple[str, int], int] = {}
        self._tables: dict[int, dict[bytes, Link]] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._desks: dict[int, Desk] = {}
        self._until: dict[int, tuple[float, tuple[Link, ...]]] = {}
        self._changes = 0
        self._late = [0] * 24
        self._coming: list[tuple[int, int, Link, bytes]] = []
        self._sent = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self.load()

    def load(self) -> None:
        """Read the plan, attach to what is new in it. Raises `Broken`."""
        plan = read_plan(self._plan_file)
        if plan is None:
            raise Broken(f"{self._plan_file} is gone or damaged")
        devices = {node.name: self._attach(plan, node.namespace) for node in plan.nodes}
        addresses = {node.name: socket.inet_aton(node.address) for node in plan.nodes}
        tables: dict[int, dict[bytes, Link]] = {handle: {} for handle in devices.values()}
        links: dict[tuple[str, str], Link] = {}
        for way in plan.ways:
            pair = (way.source, way.target)
            link = self._links.get(pair) or Link(way.source, way.target, devices[way.target], way.delay_ms)
            link.out, link.delay_ms = devices[way.target], way.delay_ms
            link.refresh()
            links[pair] = link
            tables[devices[way.source]][addresses[way.source] + addresses[way.target]] = link
        self._links, self._tables = links, tables
        for key in [key for key, handle in self._devices.items() if handle not in tables]:
            os.close(self._devices.pop(key))

    def listen(self, folder: Path) -> None:
        """Take connections on the socket in `folder`, whose path may be longer than that of a socket."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        (folder / SOCKET).unlink(missing_ok=True)
        self._listener.bind(f"/proc/self/fd/{handle}/{SOCKET}")
        self._listener.listen(16)
        self._listener.setblocking(False)
        os.close(handle)

    def run(self) -> None:
        """Carry packets for ever. Raises `Broken` when a network is taken away."""
        listening = self._listener.fileno()
        while True:
            tables, desks = self._tables, self._desks
            ready, _, _ = select.select([*tables, listening, *desks], (), (), self._pause_s())
            for handle in ready:
                if handle in tables:
                    self._take(handle, tables[handle])
                    self._deliver()
                elif handle == listening:
                    self._greet()
                elif handle in desks:
                    self._serve(desks[handle])
            self._deliver()
            self._mend_overdue()

    def _pause_s(self) -> float | None:
        pause_s = None
        if self._coming:
            pause_s = max(0.0, (self._coming[0][0] - time.monotonic_ns()) / 1e9)
        for until_s, _ in self._until.values():
            left_s = max(0.0, until_s - time.monotonic())
            pause_s = left_s if pause_s is None else min(pause_s, left_s)
        return pause_s

    def _take(self, handle: int, table: dict[bytes, Link]) -> None:
        """Take what a network sends: up to so many packets, so that others get their turn."""
        coming, read, now_ns = self._coming, os.read, time.monotonic_ns()
        for _ in range(_BURST_PACKETS):
            try:
                packet = read(handle, _PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                raise Broken(f"a network was taken away: {error.strerror}") from error
            # Source and destination of an IPv4 packet; whatever else comes has no link.
            link = table.get(packet[12:20])
            if link is not None and (due_ns := link.send(now_ns, len(packet))):
                self._sent += 1
                heappush(coming, (due_ns, self._sent, link, packet))

    def _deliver(self) -> None:
        """Write what is due."""
        coming, late, write = self._coming, self._late, os.write
        now_ns = time.monotonic_ns()
        while coming and coming[0][0] <= now_ns:
            due_ns, _, link, packet = heappop(coming)
            link.queued -= 1
            late[min(23, ((now_ns - due_ns) // 1000).bit_length())] += 1
            try:
                write(link.out, packet)
            except OSError as error:
                link.dropped += 1
                if error.errno not in (errno.EAGAIN, errno.EIO, errno.ENOBUFS, errno.ENETDOWN, errno.EINVAL):
                    raise Broken(f"a network was taken away: {error.strerror}") from error

    def _attach(self, plan: Plan, namespace: str) -> int:
        """The TUN of a namespace (empty: of this machine's own network), attached once.

        A namespace that was deleted lives on for as long as we hold its TUN: what has its name now may be another one.
        """
        key = (namespace, identity(namespace) if namespace else 0)
        if key in self._devices:
            return self._devices[key]
        name = DEVICE if namespace else plan.device
        with inside(namespace) if namespace else nullcontext():
            handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
                break
            except OSError as error:
                # The router before may still be ending.
                if error.errno != errno.EBUSY or time.monotonic() > until_s:
                    raise Broken(f"device {name} can't be used: {error.strerror}") from error
                time.sleep(0.01)
        self._devices[key] = handle
        return handle

    def _greet(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._desks[connection.fileno()] = Desk(connection)

    def _serve(self, desk: Desk) -> None:
        try:
            for request in desk.read():
                answer = json.dumps(self._answer(desk, request)).encode() + b"\n"
                # Answers are small; who does not read a hundred of them is cut off.
                if desk.connection.send(answer) < len(answer):
                    raise ConnectionResetError("nobody reads")
        except (OSError, ValueError, RecursionError):
            self._mend(desk.changes)
            del self._desks[desk.connection.fileno()]
            desk.connection.close()

    def _answer(self, desk: Desk, request: Any) -> dict[str, Any]:
        try:
            match request:
                case {"do": "change", "pairs": pairs, "change": change, "seconds": seconds}:
                    number = self._change(pairs, Change(**change), float(seconds))
                    desk.changes.add(number)
                    return {"ok": True, "number": number}
                case {"do": "mend", "number": number} if number in desk.changes:
                    self._mend({number})
                    desk.changes.discard(number)
                    return {"ok": True}
                case {"do": "reload"}:
                    self.load()
                    return {"ok": True}
                case {"do": "look"}:
                    return {"ok": True, **self._look()}
        except (TypeError, ValueError, KeyError) as error:
            return {"ok": False, "why": f"{type(error).__name__}: {error}"}
        return {"ok": False, "why": "this is not understood"}

    def _change(self, pairs: list[list[str]], change: Change, seconds: float) -> int:
        links = tuple(self._links[source, target] for source, target in pairs)
        self._changes += 1
        self._until[self._changes] = (time.monotonic() + seconds, links)
        for link in links:
            link.changes[self._changes] = change
            link.refresh()
        return self._changes

    def _mend(self, numbers: set[int]) -> None:
        for number in numbers & self._until.keys():
            _, links = self._until.pop(number)
            for link in links:
                link.changes.pop(number, None)
                link.refresh()

    def _mend_overdue(self) -> None:
        if self._until:
            now_s = time.monotonic()
            self._mend({number for number, (until_s, _) in self._until.items() if until_s <= now_s})

    def _look(self) -> dict[str, Any]:
        """How it goes. `late` counts packets by how late they were delivered: the n-th less than 2^n microseconds."""
        links = [[link.source, link.target, link.packets, link.lost, link.dropped] for link in self._links.values()]
        return {"cpu_s": time.process_time(), "links": links, "late": self._late, "changes": len(self._until)}


def main() -> None:
    """Run until killed; a sentence for the log and exit code 1 when a network is not there."""
    plan_file = Path(sys.argv[1])
    try:
        router = Router(plan_file)
        router.listen(plan_file.parent)
        # What lives from here on is a heap of packets without cycles: looking for some would only delay them.
        gc.disable()
        _go_first()
        router.run()
    except (Broken, Retryable, OSError) as error:
        sys.exit(f"the router ends: {error}")


def _go_first() -> None:
    """Timers on the microsecond, and our turn before that of those whose packets we carry.

    On a machine with more work than cores the latest packet in a hundred was 1 to 4 ms late without this, and 0.1 with it. The
    kernel leaves a twentieth of the core to others even then.
    """
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:  # Some containers forbid it.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)


if __name__ == "__main__":
    main()
