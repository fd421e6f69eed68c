"""Listens for KEDA over gRPC, with TLS where there is a certificate."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from tenfold.console.keda.protocol import handlers
from tenfold.console.keda.service import Service
from tenfold.console.keda.watched import Objects

MESSAGE_BYTES_MAX = 256 * 1024
CALLS_MAX = 2_000
"""So many calls and streams at once."""
STOP_WITHIN_S = 3.0
PING_EVERY_S = 30.0
PING_WITHIN_S = 15.0


class CantListen(Exception):
    """The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files (PEM): the server's certificate and its key, and the authority whose clients alone may ask (None: any client may)."""

    certificate: Path
    key: Path
    clients: Path | None = None


class Server:
    """Serves `objects` at `address` (`127.0.0.1:9095`); port 0 takes any that is free."""

    def __init__(self, objects: Objects, address: str, tls: Tls | None) -> None:
        self._objects, self._address, self._tls = objects, address, tls
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen; gives the port. Raises `CantListen`."""
        server = grpc.aio.server(
            maximum_concurrent_rpcs=CALLS_MAX,
            options=(
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                # Two scalers at one port would each answer a part of what is asked.
                ("grpc.so_reuseport", 0),
                # A client that vanished with its machine says no goodbye, and would hold its streams for ever.
                ("grpc.keepalive_time_ms", int(PING_EVERY_S * 1000)),
                ("grpc.keepalive_timeout_ms", int(PING_WITHIN_S * 1000)),
                ("grpc.http2.ping_timeout_ms", int(PING_WITHIN_S * 1000)),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_pings_without_data", 0),
            ),
        )
        server.add_generic_rpc_handlers((handlers(Service(self._objects)),))
        try:
            if self._tls is None:
                port = server.add_insecure_port(self._address)
            else:
                port = server.add_secure_port(self._address, _credentials(self._tls))
        except RuntimeError:
            raise CantListen(
                f"the scaler can't listen at {self._address}: name another address with --listen, or end what listens there"
            ) from None
        await server.start()
        self._server = server
        return port

    async def stop(self) -> None:
        """End streams and looks, let what is being answered end, and close."""
        await self._objects.close()
        if self._server is not None:
            await self._server.stop(STOP_WITHIN_S)
            self._server = None


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Read anew for each connection after the files have changed: certificates are renewed while we run. One that can't be read leaves
    the one before. Raises `CantListen` when there is none that could be read."""
    seen = _stamps(tls)
    current = first = _configuration(tls)

    def fetch() -> grpc.ServerCertificateConfiguration:
        nonlocal seen, current
        try:
            stamps = _stamps(tls)
            if stamps != seen:
                current, seen = _configuration(tls), stamps
        except CantListen:
            # Half written, or gone for a moment.
            return current
        return current

    return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=tls.clients is not None)


def _files(tls: Tls) -> tuple[Path, ...]:
    return (tls.certificate, tls.key, *((tls.clients,) if tls.clients is not None else ()))


def _stamps(tls: Tls) -> tuple[tuple[int, int, int], ...]:
    try:
        found = [path.stat() for path in _files(tls)]
    except OSError as error:
        raise CantListen(f"{error.filename} can't be read ({error.strerror}): give the path of a PEM file") from None
    return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    """What the files hold. Raises `CantListen` for what would fail each connection later."""
    texts = []
    for path in _files(tls):
        try:
            text = path.read_bytes()
        except OSError as error:
            raise CantListen(f"{path} can't be read ({error.strerror}): give the path of a PEM file") from None
        if b"-----BEGIN " not in text:
            raise CantListen(f"{path} is no PEM file: it begins with -----BEGIN")
        texts.append(text)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # gRPC has no way to be told a password either.
        context.load_cert_chain(tls.certificate, tls.key, password="")
        if tls.clients is not None:
            context.load_verify_locations(tls.clients)
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or "it can't be read"
        raise CantListen(
            f"{tls.key} is not the key of {tls.certificate}, or one of the files is damaged: {why}"
        ) from None
    return grpc.ssl_server_certificate_configuration(
        [(texts[1], texts[0])], root_certificates=texts[2] if len(texts) > 2 else None
    )
