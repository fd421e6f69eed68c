"""The control server: gives each gateway its configuration over ADS (state of the world) on a unix socket. Stage:
effects -> world.

One stream per Envoy, which names its region as its node's id. A type of resource is sent when a gateway that asked for
it runs another version, and each answer of the gateway (taken, or refused with a reason) is waited for. Of pools' endpoints
and of routes only those are sent that it has not taken yet, of the other types always all, as the protocol will have it. A
gateway of which nothing is held is left as it is: it runs what an earlier control plane gave it.
"""

import asyncio
import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenfold.drivers.envoy.protos import Builder, load
from tenfold.ports import Retryable
from tenfold.render.envoy import CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE
from tenfold.render.envoy_listener import JsonObject

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_STOP_S = 0.2
_POLL_S = 0.5
_WAIT_S = 0.01
_GATEWAYS_MAX = 64


NAMES = {CLUSTER_TYPE: "name", ENDPOINT_TYPE: "cluster_name", LISTENER_TYPE: "name", ROUTE_TYPE: "name"}
"""By type, what a resource bears its name as."""

WHOLE_TYPES = (CLUSTER_TYPE, LISTENER_TYPE)
"""Types of which an answer says all that there is: what is not in it is taken away."""


class Nacked(Exception):
    """The gateway turned a configuration down; the text is its own reason. The one before goes on serving."""


class Silent(Exception):
    """The gateway did not answer in time: it may or may not run the new configuration."""


@dataclass(slots=True)
class _Held:
    """The resources of one type that a region is to run, by name; `fresh` are the names of those that it has not taken as they
    are now."""

    version: str
    resources: dict[str, JsonObject]
    fresh: set[str]


@dataclass(slots=True)
class _Subscription:
    """What a stream asked for of one type, and of what it was sent last the nonce, the version and the names.
    `taken` is the version that it runs."""

    names: frozenset[str]
    nonce: str = ""
    version: str = ""
    sent: frozenset[str] = frozenset()
    taken: str = ""


@dataclass(slots=True)
class _Stream:
    """One connected gateway; what is put into `outgoing` is sent to it, None ends it."""

    region: str = ""
    subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    outgoing: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    sent: int = 0


class ControlServer:
    """Serves every gateway of a project."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._held: dict[tuple[str, str], _Held] = {}
        self._streams: dict[str, _Stream] = {}
        self._waiting: dict[tuple[str, str], tuple[str, asyncio.Future[None]]] = {}
        self._builders: dict[str, Builder] = {}
        self._session = secrets.token_hex(4)
        self._versions = 0
        self._discovery: Any = None
        self._server: Any = None
        self._loop: asyncio.AbstractEventLoop
        self._rpc_error: type[Exception]

    async def start(self) -> None:
        """Listen. Takes a third of a second of a thread's time the first time; gateways that run already connect by themselves."""
        self._loop = asyncio.get_running_loop()
        self._discovery = await load()
        # Imported here and not above, because a start must not wait for it. Not grpc.aio, which has crashed the process in tests.
        import grpc

        self._rpc_error = grpc.RpcError
        stream = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=self._discovery.DiscoveryRequest.FromString,
            response_serializer=self._discovery.DiscoveryResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler(_SERVICE, {"StreamAggregatedResources": stream})
        server = grpc.server(ThreadPoolExecutor(_GATEWAYS_MAX, "control"), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((service,))
        try:
            server.add_insecure_port(f"unix:{self.socket}")
        except RuntimeError as error:
            raise Retryable(
                f"{self.socket}, where gateways get their routes, can't be opened: look who owns it."
            ) from error
        server.start()
        self._server = server

    async def stop(self) -> None:
        """Let go of the gateways; they go on serving what they have."""
        if self._server is not None:
            server, self._server = self._server, None
            for stream in self._streams.values():
                stream.outgoing.put(None)
            await asyncio.to_thread(server.stop(_STOP_S).wait)

    def connected(self, region: str) -> bool:
        """True while the region's gateway hangs on this server."""
        return region in self._streams

    async def wait_for(self, region: str, timeout_s: float) -> bool:
        """True as soon as the region's gateway is connected, False when it is not within `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while region not in self._streams:
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(_WAIT_S)
        return True

    def forget(self, region: str) -> None:
        """Hold nothing for a region: what connects under its name is left as it is."""
        self._held = {key: held for key, held in self._held.items() if key[0] != region}
        self._builders.pop(region, None)

    def hold(self, region: str, type_url: str, resources: Iterable[JsonObject], version: str = "") -> None:
        """What the region is to run from now on; sent when the gateway asks, or by `offer`. Without a `version` one that was never
        used is found when a resource has changed."""
        name = NAMES[type_url]
        named = {resource[name]: resource for resource in resources}
        held = self._held.get((region, type_url))
        if held is None:
            held = self._held[region, type_url] = _Held(version or self._new_version(), {}, set())
        changed = {key for key, resource in named.items() if _differs(held.resources.get(key), resource)}
        gone = held.resources.keys() - named.keys()
        if not version and (changed or (gone and type_url in WHOLE_TYPES)):
            version = self._new_version()
        held.resources, held.version = named, version or held.version
        held.fresh = (held.fresh | changed) & named.keys()
        if gone and region in self._builders:
            self._builders[region].forget(type_url, gone)

    def is_taken(self, region: str, type_url: str) -> bool:
        """True when the gateway runs what is held of this type, so that there is nothing to offer."""
        stream, held = self._streams.get(region), self._held.get((region, type_url))
        known = None if stream is None else stream.subscriptions.get(type_url)
        return held is not None and known is not None and known.taken == held.version and not held.fresh

    def refresh(self, region: str, type_url: str, names: Iterable[str]) -> None:
        """Have these sent again with the next offer."""
        held = self._held[region, type_url]
        held.fresh |= held.resources.keys() & set(names)

    def fresh(self, region: str, type_url: str) -> frozenset[str]:
        """The names of what is held and not taken yet."""
        return frozenset(self._held[region, type_url].fresh)

    def send(self, region: str, type_url: str) -> None:
        """Send what is held to a gateway that asked for this type, and wait for nothing."""
        stream = self._streams.get(region)
        if stream is not None and type_url in stream.subscriptions:
            self._send(stream, type_url, self._held[region, type_url].fresh)

    def _new_version(self) -> str:
        """One that no gateway runs."""
        self._versions += 1
        return f"{self._session}.{self._versions}"

    async def offer(self, region: str, type_url: str, timeout_s: float) -> None:
        """Send what is held and wait until the gateway has taken it; raises `Nacked` or `Silent`."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[region, type_url] = (self._held[region, type_url].version, taken)
        try:
            self.send(region, type_url)
            async with asyncio.timeout(timeout_s):
                await taken
        except TimeoutError:
            where = "answered nothing" if region in self._streams else "is not connected"
            raise Silent(f"the gateway of {region} {where} for {timeout_s:g} s") from None
        finally:
            del self._waiting[region, type_url]

    def _stream(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """One gateway's stream, until it ends. Runs in a thread of gRPC's; everything else happens in the event loop."""
        stream = _Stream()

        def hear() -> None:
            with contextlib.suppress(self._rpc_error):
                for request in requests:
                    self._in_loop(self._heard, stream, request)
            stream.outgoing.put(None)

        threading.Thread(target=hear, name="control requests", daemon=True).start()
        try:
            # A process that ends without having stopped this must not wait for its gateways to hang up.
            while not self._loop.is_closed():
                with contextlib.suppress(queue.Empty):
                    response = stream.outgoing.get(timeout=_POLL_S)
                    if response is None:
                        break
                    yield response
        finally:
            # Also when gRPC stops asking for answers, because the gateway broke off in the midst of one.
            self._in_loop(self._gone, stream)

    def _in_loop(self, run: Callable[..., None], *arguments: Any) -> None:
        """Have the event loop run this, unless it is closed by now: then nobody is left who cares."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(run, *arguments)

    def _gone(self, stream: _Stream) -> None:
        if self._streams.get(stream.region) is stream:
            del self._streams[stream.region]

    def _heard(self, stream: _Stream, request: Any) -> None:
        if not stream.region:
            stream.region = request.node.id
            self._streams[stream.region] = stream
        type_url, names = request.type_url, frozenset(request.resource_names)
        known = stream.subscriptions.get(type_url)
        held = self._held.get((stream.region, type_url))
        if known is None:
            stream.subscriptions[type_url] = _Subscription(names, taken=request.version_info)
            if held is not None and held.version != request.version_info:
                self._send(stream, type_url, held.resources)
            else:
                self._settle(stream, type_url, request.version_info)
            return
        more, known.names = names - known.names, names
        if request.response_nonce == known.nonce:
            refused = request.error_detail.message if request.HasField("error_detail") else ""
            # One that asks for more names may come before or after the answer, and says nothing of what it thinks of it.
            if refused or request.version_info == known.version:
                self._answered(stream, type_url, known, refused)
        if more and held is not None:
            # What was sent a moment ago and not answered yet is said again: only the answer to the newest counts.
            self._send(stream, type_url, held.fresh | more)

    def _answered(self, stream: _Stream, type_url: str, known: _Subscription, refused: str) -> None:
        held = self._held.get((stream.region, type_url))
        if not refused:
            known.taken = known.version
            if held is not None and held.version == known.version:
                held.fresh -= known.sent
        self._settle(stream, type_url, known.version, refused)

    def _send(self, stream: _Stream, type_url: str, names: Iterable[str]) -> None:
        """Send the resources of these names, and all where the protocol has no other way of taking one away."""
        held, subscription = self._held[stream.region, type_url], stream.subscriptions[type_url]
        sent = set(held.resources if type_url in WHOLE_TYPES else held.resources.keys() & set(names))
        known = [held.resources[name] for name in held.resources if name in sent]
        if type_url == ENDPOINT_TYPE:
            # A control plane that died may have left a pool that waits for its endpoints; the gateway takes no other
            # pool until it was told of some, or of none.
            known += [{"cluster_name": name} for name in sorted(subscription.names - held.resources.keys())]
        resources = self._builders.setdefault(stream.region, Builder()).build(type_url, known)
        stream.sent += 1
        subscription.nonce, subscription.version = str(stream.sent), held.version
        subscription.sent = frozenset(sent)
        stream.outgoing.put(
            self._discovery.DiscoveryResponse(
                version_info=held.version, resources=resources, type_url=type_url, nonce=subscription.nonce
            )
        )

    def _settle(self, stream: _Stream, type_url: str, version: str, refused: str = "") -> None:
        """Tell who waits for this version that the gateway has taken it, or refused it."""
        wanted, taken = self._waiting.get((stream.region, type_url), ("", None))
        if taken is None or taken.done() or wanted != version:
            return
        if refused:
            taken.set_exception(Nacked(refused))
        else:
            taken.set_result(None)


def _differs(before: JsonObject | None, after: JsonObject) -> bool:
    # Most are the very same object: routes of a thousand lines need not be read to know that.
    return before is not after and before != after
