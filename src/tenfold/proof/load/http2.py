"""One user's connection over HTTP/2 in clear text (RFC 9113, section 3.3: with prior knowledge, as Envoy's listener takes it).

Stage: stands where `connection.Http1Connection` does. The protocol itself is that of the `h2` library; here is what a
user makes of its events. One request at a time, as a user's steps follow one another.
"""

import asyncio
from typing import Literal, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from tenfold.proof.load.connection import Asker
from tenfold.proof.load.http1 import BODY_BYTES_MAX
from tenfold.proof.load.script import ReadyStep

# We write only what `script` has checked.
_CONFIG = H2Configuration(
    client_side=True,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)
_STREAM_MAX = 2**31 - 1
_WINDOW_BYTES = 1024 * 1024
"""How much of an answer may be on its way unread: a page goes through without waiting for us to say that we go on."""


class Http2Connection(asyncio.Protocol):
    """HTTP/2.

    A request that the server says it has not begun with (a stream refused, or above the last one of a GOAWAY) may be sent
    again whatever its method is (section 8.7); one that found a connection closed only as with HTTP/1.1.
    """

    __slots__ = (
        "_asker",
        "_began",
        "_body",
        "_h2",
        "_head",
        "_is_going",
        "_is_known",
        "_is_used",
        "_status",
        "_step",
        "_stream",
        "_transport",
        "_unsent",
    )

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._h2 = H2Connection(_CONFIG)
        self._transport: asyncio.Transport | None = None
        self._step: ReadyStep | None = None
        self._stream = 0
        self._is_known = self._is_used = self._is_going = self._began = False
        self._status, self._head = 0, b""
        self._body = bytearray()
        self._unsent = b""

    @property
    def usable(self) -> bool:
        """Whether another request can be written."""
        is_open = self._transport is not None and not self._transport.is_closing()
        return is_open and not self._is_going and self._stream < _STREAM_MAX - 2

    def carry(self, step: ReadyStep) -> None:
        """Write a request; its answer is read next."""
        assert self._transport is not None and self._step is None, "a connection carries one request at a time"
        self._step = step
        self._began = False
        self._status, self._head = 0, b""
        self._body.clear()
        fields, self._unsent = step.http2(self._asker)
        self._stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._stream, fields, end_stream=not self._unsent)
        self._asker.written()
        self._send_body()
        self._flush()

    def abandon(self) -> None:
        """Close at once, without a word about the request it carries."""
        self._step = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW_BYTES)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Called by the loop: frames."""
        self._asker.received(len(data))
        if not self._is_known:
            self._is_known = True
            if data.startswith(b"HTTP/1"):
                self._fail("protocol", "the server answers in HTTP/1.1: leave HTTP/2 out")
                self.abandon()
                return
        try:
            happened = self._h2.receive_data(data)
            for event in happened:
                self._take(event)
            self._flush()
        except ProtocolError as error:
            self._flush()
            self._fail("protocol", f"not HTTP/2, or against its rules: {error or type(error).__name__}")
            self.abandon()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: closed by either side."""
        self._transport = None
        step = self._step
        if step is not None:
            how = str(exc) if exc else "closed by the server"
            when = "in the middle of the answer" if self._began else "before any answer"
            self._fail("reset", f"{how}, {when}", may_resend=self._is_used and not self._began and step.idempotent)

    def _take(self, event: events.Event) -> None:
        """One thing that the server said. Of other streams than the one that is waited for nothing is made."""
        match event:
            case events.ResponseReceived(stream_id=self._stream, headers=fields):
                self._began = True
                # As HTTP/1.1 has it, so that there is one way to look for a field.
                self._head = b"".join(b"\r\n%b: %b" % field for field in fields)
                self._status = int(dict(fields)[b":status"])
            case events.DataReceived(stream_id=stream, data=piece, flow_controlled_length=length):
                self._h2.acknowledge_received_data(length, stream)
                if stream == self._stream and self._step is not None and self._step.keeps:
                    self._body += piece
                    if len(self._body) > BODY_BYTES_MAX:
                        raise ProtocolError(f"the answer is longer than the {BODY_BYTES_MAX} bytes that can be kept")
            case events.StreamEnded(stream_id=self._stream):
                self._complete()
            case events.StreamReset(stream_id=self._stream, error_code=code):
                is_refused = code == ErrorCodes.REFUSED_STREAM
                self._fail("reset", f"the stream was reset ({_name(code)})", may_resend=is_refused)
            case events.ConnectionTerminated(last_stream_id=last, error_code=code):
                self._is_going = True
                if (last or 0) < self._stream:
                    self._fail("reset", f"the server goes away ({_name(code)})", may_resend=True)
                if self._step is None:
                    self.abandon()
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                self._send_body()
            case _:
                pass

    def _send_body(self) -> None:
        """As much of the body as the server's window takes."""
        while self._unsent and self._step is not None:
            room = min(self._h2.local_flow_control_window(self._stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            piece, self._unsent = self._unsent[:room], self._unsent[room:]
            self._h2.send_data(self._stream, piece, end_stream=not self._unsent)

    def _complete(self) -> None:
        if self._step is None:
            return
        self._step = None
        self._is_used = True
        if self._unsent:
            # Answered before it was wholly asked: the rest need not be sent.
            self._h2.reset_stream(self._stream, ErrorCodes.CANCEL)
            self._unsent = b""
        if self._is_going:
            self.abandon()
        self._flush()
        self._asker.answered(self._status, self._head, bytes(self._body))

    def _fail(self, kind: Literal["reset", "protocol"], detail: str, *, may_resend: bool = False) -> None:
        if self._step is None:
            return
        self._step = None
        self._unsent = b""
        self._asker.broken(kind, detail, may_resend=may_resend)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)


def _name(code: int | None) -> str:
    return next((known.name for known in ErrorCodes if known == code), f"error {code}")
