"""The client's side of one WebSocket (RFC 6455): opens it, counts the messages that come, sends texts.

Stage: users of a scenario and the `Sockets` of a drill hold these, by the thousand. Payloads are counted, not kept.
"""

import asyncio
import base64
import hashlib
import os
from typing import Protocol, cast

from tenfold.proof.load.http1 import HEAD_BYTES_MAX

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTROL_BYTES_MAX = 125
_CLOSE, _PING, _PONG = 8, 9, 10
ABNORMAL = 1006
"""The code of a connection that was cut without one."""
_PROTOCOL_ERROR = 1002
_NO_CODE = 1005


class Holder(Protocol):
    """Who holds a socket and is told what becomes of it."""

    def socket_opened(self) -> None:
        """The server has accepted it."""

    def socket_said(self) -> None:
        """A message has come."""

    def socket_closed(self, code: int) -> None:
        """It was open and is closed; `code` is the server's (section 7.4), 1006 when it was cut without one."""

    def socket_refused(self, why: str) -> None:
        """It was never open, and will not be."""


class WebSocket(asyncio.Protocol):
    """One socket, from the handshake to its end; every message that comes is told to the holder."""

    __slots__ = ("_buffer", "_code", "_holder", "_is_final", "_key", "_left", "_request", "_transport", "is_open")

    def __init__(self, holder: Holder, authority: str, path: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._holder: Holder | None = holder
        self._key = base64.b64encode(os.urandom(16))
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {authority}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {self._key.decode()}",
            *(f"{name}: {value}" for name, value in headers),
        ]
        self._request = "\r\n".join((*lines, "", "")).encode("latin-1")
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._left = 0
        """Bytes of a data frame's payload still to come."""
        self._is_final = False
        self._code = ABNORMAL
        self.is_open = False

    def send(self, text: str) -> None:
        """Send a text message."""
        self._write_frame(1, text.encode())

    def close(self) -> None:
        """Close it (1000) and tell the holder nothing more."""
        self._holder = None
        if self._transport is not None:
            if self.is_open:
                self._write_frame(_CLOSE, b"\x03\xe8")
                self._transport.close()
            else:
                self._transport.abort()

    def give_up(self) -> None:
        """Its time to be opened is over: unless it was, it is refused."""
        if not self.is_open and self._holder is not None:
            self._refuse("no answer in time")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)
        if self._holder is None:
            self._transport.abort()
            return
        self._transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if not self.is_open:
            data = self._take_handshake(data)
            if not self.is_open:
                return
        self._take_frames(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        holder, self._holder = self._holder, None
        if holder is None:
            return
        if self.is_open:
            self.is_open = False
            holder.socket_closed(self._code)
        else:
            holder.socket_refused(str(exc) if exc else "closed by the server before it was open")

    def _take_handshake(self, data: bytes) -> bytes:
        """Read the server's answer (section 4.1); what follows it."""
        data = self._buffer + data
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            self._buffer = data
            if len(data) > HEAD_BYTES_MAX:
                self._refuse("its answer has no end")
            return b""
        self._buffer = b""
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID).digest())
        if head[:12] not in (b"HTTP/1.1 101", b"HTTP/1.0 101"):
            self._refuse(head.partition(b"\r\n")[0][:80].decode("latin-1"))
        elif not any(
            name.strip().lower() == b"sec-websocket-accept" and value.strip() == accept
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
        ):
            self._refuse("the server's Sec-WebSocket-Accept is not the answer to our key")
        elif self._holder is not None:
            self.is_open = True
            self._holder.socket_opened()
            return rest
        return b""

    def _take_frames(self, data: bytes) -> None:
        """Read frames (section 5.2). A server's are not masked, and no extension was asked for."""
        data = self._buffer + data
        position = 0
        while self._holder is not None and self._code == ABNORMAL:
            if self._left:
                taken = min(self._left, len(data) - position)
                position += taken
                self._left -= taken
                if self._left:
                    break
                self._data_over()
                continue
            head_bytes, length = _frame_head(data, position)
            if head_bytes == 0:
                break
            first, second = data[position], data[position + 1]
            code = first & 0x0F
            is_control = code >= _CLOSE
            if (
                first & 0x70
                or second & 0x80
                or 2 < code < _CLOSE
                or (is_control and (length > _CONTROL_BYTES_MAX or not first & 0x80))
            ):
                self._end(_PROTOCOL_ERROR)
                return
            if is_control:
                if len(data) - position < head_bytes + length:
                    break
                position += head_bytes
                self._control(code, data[position : position + length])
                position += length
                continue
            position += head_bytes
            self._left, self._is_final = length, bool(first & 0x80)
            if not length:
                self._data_over()
        self._buffer = data[position:] if self._holder is not None else b""

    def _data_over(self) -> None:
        if self._is_final and self._holder is not None:
            self._holder.socket_said()

    def _control(self, code: int, payload: bytes) -> None:
        if code == _PING:
            self._write_frame(_PONG, payload)
        elif code == _CLOSE:
            self._end(int.from_bytes(payload[:2]) if len(payload) >= 2 else _NO_CODE)
        elif code != _PONG:
            self._end(_PROTOCOL_ERROR)

    def _end(self, code: int) -> None:
        """Answer a close, or close for a broken rule; the loop then tells that it is lost."""
        self._code = code
        self._write_frame(_CLOSE, (1000 if code == _NO_CODE else code).to_bytes(2))
        if self._transport is not None:
            self._transport.close()

    def _refuse(self, why: str) -> None:
        holder, self._holder = self._holder, None
        if self._transport is not None:
            self._transport.abort()
        if holder is not None:
            holder.socket_refused(why)

    def _write_frame(self, code: int, payload: bytes) -> None:
        """A client's frames are masked (section 5.3); the mask only has to be unforeseeable for proxies between."""
        if self._transport is None or self._transport.is_closing():
            return
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | code, 0x80 | length))
        elif length < 65536:
            head = bytes((0x80 | code, 0x80 | 126)) + length.to_bytes(2)
        else:
            head = bytes((0x80 | code, 0x80 | 127)) + length.to_bytes(8)
        mask = os.urandom(4)
        repeated = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(length)
        self._transport.write(head + mask + masked)


def _frame_head(data: bytes, position: int) -> tuple[int, int]:
    """How long the head of the frame at a position is, and its payload; a head of 0 when it is not complete."""
    have = len(data) - position
    if have < 2:
        return 0, 0
    length = data[position + 1] & 0x7F
    if length < 126:
        return 2, length
    size = 2 if length == 126 else 8
    if have < 2 + size:
        return 0, 0
    return 2 + size, int.from_bytes(data[position + 2 : position + 2 + size])
