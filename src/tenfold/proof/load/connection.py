"""One user's connection over HTTP/1.1, and what every kind of connection promises to who asks over it.

Stage: the crowd lets a user `carry` a step over its connection; the connection tells the user, exactly once for each
request, how it ended.

Our own, because no client or load tool does what is needed (measured: Locust takes 46% of a core for 1,000 requests/s
and k6 2.2 GB for 10,000 users, a lean Protocol 6% and 46 MB) and because none counts from the intended start.
"""

import asyncio
import errno
from typing import Literal, Protocol, cast

from tenfold.proof.load.http1 import AnswerReader, ProtocolError
from tenfold.proof.load.script import Person, ReadyStep

Kind = Literal["2xx", "3xx", "4xx", "5xx", "connect", "timeout", "reset", "protocol", "answer", "unsent"]
"""How a request ended: a class of status; no connection; no answer in time; a connection lost before the answer was
complete; an answer that is not HTTP; one that lacks what the scenario keeps of it; or, our own fault, never sent."""

OWN_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
"""A connection that failed for one of these failed on our side: descriptors, ports or memory ran out."""

# An unknown class of status is treated as 5xx (RFC 9110, section 15).
_CLASSES: tuple[Kind, ...] = ("2xx", "2xx", "2xx", "3xx", "4xx", "5xx", "5xx", "5xx", "5xx", "5xx")


def class_of(status: int) -> Kind:
    """The kind of end that a status is."""
    return _CLASSES[status // 100]


class Asker(Person, Protocol):
    """Who asks over a connection, one request at a time, and is told how each ended."""

    def received(self, size_bytes: int) -> None:
        """So much has come in."""

    def written(self) -> None:
        """The request's bytes have just been written."""

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """The answer is complete; the body is empty unless the step keeps something of it."""

    def broken(self, kind: Kind, detail: str, *, may_resend: bool) -> None:
        """No answer will come. `may_resend`: as far as the connection can tell, the server has not begun with the request."""


class Connection(Protocol):
    """A connection of one user, which carries one request at a time."""

    @property
    def usable(self) -> bool:
        """Whether another request can be written."""

    def carry(self, step: ReadyStep) -> None:
        """Write a request; its answer is read next."""

    def abandon(self) -> None:
        """Close at once, without a word about the request it carries."""


class Http1Connection(asyncio.Protocol):
    """HTTP/1.1 (RFC 9112).

    A request that was sent over a connection used before, and found it closed before any byte of an answer, may be sent
    again if it is idempotent, as every browser and proxy does (section 9.3.1): the server may close an idle connection at
    any time.
    """

    __slots__ = ("_asker", "_is_used", "_reader", "_step", "_transport")

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._reader: AnswerReader | None = None
        """Only while an answer is awaited: most users pause, and a reader holds the whole head."""
        self._transport: asyncio.Transport | None = None
        self._step: ReadyStep | None = None
        self._is_used = False

    @property
    def usable(self) -> bool:
        """Whether another request can be written."""
        return self._transport is not None and not self._transport.is_closing()

    def carry(self, step: ReadyStep) -> None:
        """Write a request; its answer is read next."""
        assert self._transport is not None and self._step is None, "a connection carries one request at a time"
        self._step = step
        self._reader = AnswerReader()
        self._reader.start(step.is_head, step.keeps)
        wire = step.http1(self._asker)
        self._asker.written()
        self._transport.write(wire)

    def abandon(self) -> None:
        """Close at once, without a word about the request it carries."""
        self._step = self._reader = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop: a piece of an answer."""
        self._asker.received(len(data))
        reader = self._reader
        if reader is None:
            # Nothing was asked: whatever this is, it must not be taken for the next answer.
            self.abandon()
            return
        try:
            complete = reader.feed(data)
        except ProtocolError as error:
            self.abandon()
            self._asker.broken("protocol", str(error), may_resend=False)
            return
        if complete:
            self._complete(reader)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: closed by either side."""
        self._transport = None
        step, reader = self._step, self._reader
        if step is None or reader is None:
            return
        if exc is None and reader.ended():
            self._complete(reader)
            return
        self._step = self._reader = None
        began = reader.began
        how = str(exc) if exc else "closed by the server"
        when = "in the middle of the answer" if began else "before any answer"
        self._asker.broken("reset", f"{how}, {when}", may_resend=self._is_used and not began and step.idempotent)

    def _complete(self, reader: AnswerReader) -> None:
        self._step = self._reader = None
        self._is_used = True
        if not reader.keep_alive:
            self.abandon()
        self._asker.answered(reader.status, reader.head, reader.body)
