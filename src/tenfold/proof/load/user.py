"""One user: its variables, cookies, connection and WebSocket, and the action it is at.

Stage: the `Crowd` says when something is due; the user does it, step after step, and tells the recorder how it ended.
A user has one request on its way at most, so it is the request's record as well: no task and no further object per
request, which is what lets a process hold 10,000 of them.
"""

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING

from tenfold.proof.load.connection import Connection, Kind, class_of
from tenfold.proof.load.draws import Draws
from tenfold.proof.load.http1 import set_cookies
from tenfold.proof.load.script import Answer, ReadyAction, ReadyStep
from tenfold.proof.load.websocket import WebSocket

if TYPE_CHECKING:
    import asyncio

    from tenfold.proof.load.crowd import Crowd

Session = tuple[str, dict[str, str] | None]
"""A user's cookies, and what it has kept of answers."""

_GOOD = ("2xx", "3xx")


class User:
    """One user. Times are of `perf_counter`, in seconds; `sent_s` is 0 until the request's bytes are written."""

    __slots__ = (
        "_action",
        "_action_due_s",
        "_action_sent_s",
        "_crowd",
        "_due_s",
        "_is_resent",
        "_kept",
        "_place",
        "_row",
        "_sent_s",
        "connecting",
        "connection",
        "cookie",
        "draws",
        "has_entered",
        "is_gone",
        "number",
        "serial",
        "socket",
        "step",
        "wants",
    )

    def __init__(self, crowd: "Crowd", number: int, row: Mapping[str, str], seed: int) -> None:
        self._crowd = crowd
        self._row = row
        self._kept: dict[str, str] | None = None
        self._action: ReadyAction | None = None
        self._place = 0
        self._due_s = self._sent_s = self._action_due_s = self._action_sent_s = 0.0
        self._is_resent = False
        self.number = number
        self.draws = Draws(seed, number)
        self.cookie = ""
        self.connection: Connection | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.socket: Held | None = None
        self.step: ReadyStep | None = None
        """What it waits for an answer to."""
        self.serial = 0
        """Counts its requests, so that an old deadline is not taken for that of the present one."""
        self.has_entered = crowd.script.enter is None
        self.is_gone = False
        self.wants: ReadyAction | None = None
        """An action that waits until the user has entered."""

    @property
    def is_busy(self) -> bool:
        """Whether it is at an action."""
        return self._action is not None

    def variable(self, name: str) -> str:
        """The value of a variable: what was kept of an answer, or of its row, or its own number."""
        if self._kept is not None and name in self._kept:
            return self._kept[name]
        return self._row[name] if name in self._row else str(self.number)

    @property
    def session(self) -> Session:
        """What it has of having entered."""
        return self.cookie, self._kept

    def resume(self, session: Session) -> None:
        """Go on as who has entered before."""
        self.cookie, self._kept = session
        self.has_entered = True

    def begin(self, action: ReadyAction, due_s: float, lag_s: float | None) -> None:
        """Do an action that is due; so late by the clock, or None where no clock made it due."""
        self._action = action
        self._place = 0
        self._action_due_s, self._action_sent_s = due_s, 0.0
        self._ask(due_s, lag_s)

    def tasks(self) -> "list[asyncio.Task[None]]":
        """Its tasks: connections that are being made."""
        held = self.socket.connecting if self.socket is not None else None
        return [task for task in (self.connecting, held) if task is not None]

    def leave(self) -> None:
        """Close everything at once, without a word about a request on its way."""
        self.is_gone = True
        self.step = self._action = None
        if self.connecting is not None:
            self.connecting.cancel()
        if self.connection is not None:
            self.connection.abandon()
            self.connection = None
        if self.socket is not None:
            self.socket.leave()
            self.socket = None

    def connected(self, connection: Connection) -> None:
        """The connection that it asked for is there."""
        step = self.step
        if step is None:
            connection.abandon()
            return
        self.connection = connection
        if connection.usable:
            connection.carry(step)
        else:
            self._end("reset", detail="closed as soon as it was open")

    def failed(self, kind: Kind, detail: str) -> None:
        """No connection came about, or no answer in time."""
        if self.step is None:
            return
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if self.connection is not None:
            self.connection.abandon()
            self.connection = None
        self._end(kind, detail=detail)

    def received(self, size_bytes: int) -> None:
        """So much has come in."""
        self._crowd.recorder.received_bytes += size_bytes

    def written(self) -> None:
        """The request's bytes have just been written."""
        # A request that is sent again has been sent when it was the first time.
        self._sent_s = self._sent_s or perf_counter()

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        """The answer is complete."""
        step = self.step
        if step is None:
            return
        cookies = set_cookies(head)
        if cookies:
            self._keep_cookies(cookies)
        kind = class_of(status)
        if step.keeps and kind == "2xx":
            try:
                self._kept = (self._kept or {}) | step.kept(body)
            except Answer as error:
                self._end("answer", status, head, str(error))
                return
        if status == 401 and self._action is not self._crowd.script.enter:
            # Its session is over: like anybody it signs in again before it goes on.
            self.has_entered = self._crowd.script.enter is None
            self._crowd.forget(self)
        self._end(kind, status, head)

    def broken(self, kind: Kind, detail: str, *, may_resend: bool) -> None:
        """No answer will come over this connection."""
        if self.step is None:
            return
        if may_resend and not self._is_resent:
            self._is_resent = True
            self._crowd.recorder.resent += 1
            self._send()
        else:
            self._end(kind, detail=detail)

    def _ask(self, due_s: float, lag_s: float | None) -> None:
        assert self._action is not None, "a step belongs to an action"
        self.step = self._action.steps[self._place]
        self._due_s, self._sent_s, self._is_resent = due_s, 0.0, False
        self.serial += 1
        self._crowd.asked(self, lag_s)
        self._send()

    def _send(self) -> None:
        """Over the connection that it has, or a new one."""
        connection = self.connection
        if connection is not None and connection.usable and self.step is not None:
            connection.carry(self.step)
            return
        if connection is not None:
            connection.abandon()
            self.connection = None
        self._crowd.connect(self)

    def _end(self, kind: Kind, status: int = 0, head: bytes = b"", detail: str = "") -> None:
        """The request is over; what follows is the next step, or the end of the action."""
        now_s = perf_counter()
        step, action, crowd = self.step, self._action, self._crowd
        assert step is not None and action is not None
        self.step = None
        crowd.ended()
        crowd.recorder.ended(step.name, step.part, kind, self._due_s, self._sent_s, now_s, status, head, detail)
        self._action_sent_s = self._action_sent_s or self._sent_s
        self._place += 1
        if kind in _GOOD and self._place < len(action.steps):
            # What the answer makes due is due now.
            self._ask(now_s, None)
            return
        self._action = None
        if action.part >= 0:
            sent_s = self._action_sent_s or self._action_due_s
            if self._action_due_s >= crowd.recorder.judged_s:
                crowd.recorder.actions[action.part].ended(kind, now_s - self._action_due_s, now_s - sent_s)
        else:
            self.has_entered = kind in _GOOD
        crowd.over(self, now_s)

    def _keep_cookies(self, cookies: list[tuple[str, str | None]]) -> None:
        jar = dict(pair.split("=", 1) for pair in self.cookie.split("; ") if pair)
        for name, value in cookies:
            if value is None:
                jar.pop(name, None)
            else:
                jar[name] = value
        self.cookie = "; ".join(f"{name}={value}" for name, value in jar.items())


class Held:
    """A user's WebSocket, whichever it is at the moment."""

    __slots__ = (
        "_asked_s",
        "_crowd",
        "_is_saying",
        "_lost_s",
        "_retry_s",
        "_user",
        "connecting",
        "is_wanted",
        "socket",
    )

    RETRY_S = 0.1
    RETRY_S_MAX = 2.0
    """A page waits longer and longer before it tries again, or thousands would hammer at a port that is closed."""

    def __init__(self, crowd: "Crowd", user: User) -> None:
        self._crowd = crowd
        self._user = user
        self._lost_s = 0.0
        self._retry_s = self.RETRY_S
        self._asked_s: list[float] = []
        """When the messages were due that nothing has come after yet."""
        self.socket: WebSocket | None = None
        self.connecting: asyncio.Task[None] | None = None
        self._is_saying = False
        self.is_wanted = False
        """Whether its user has entered, so that it is to be open."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection now."""
        return self.socket is not None and self.socket.is_open

    def begin(self, authority: str, path: str, headers: tuple[tuple[str, str], ...]) -> WebSocket:
        """A new one, which is known before its server can say anything."""
        self.socket = WebSocket(self, authority, path, headers)
        return self.socket

    def leave(self) -> None:
        """Close it and open it no more."""
        if self.connecting is not None:
            self.connecting.cancel()
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def say(self, text: str, due_s: float, now_s: float, timeout_s: float) -> None:
        """A message is due. Without a connection it is not sent: that time is in the gap."""
        book = self._crowd.recorder.sockets
        while self._asked_s and self._asked_s[0] < now_s - timeout_s:
            self._asked_s.pop(0)
            book.unanswered += 1
        if self.socket is not None and self.socket.is_open:
            book.sent += 1
            self._asked_s.append(due_s)
            self.socket.send(text)

    def socket_opened(self) -> None:
        """The server has accepted it."""
        book = self._crowd.recorder.sockets
        book.opened += 1
        self._retry_s = self.RETRY_S
        if self._lost_s:
            book.gap.record(perf_counter() - self._lost_s)
            self._lost_s = 0.0
        if not self._is_saying:
            self._is_saying = True
            self._crowd.say_after(self._user, self._user.draws.uniform())

    def socket_said(self) -> None:
        """A message has come: it ends the wait of the oldest one sent."""
        recorder = self._crowd.recorder
        recorder.sockets.messages += 1
        if self._asked_s and (asked_s := self._asked_s.pop(0)) >= recorder.judged_s:
            recorder.sockets.round_trip.record(perf_counter() - asked_s)

    def socket_closed(self, code: int) -> None:
        """It was open and is closed: open it again."""
        book = self._crowd.recorder.sockets
        book.closed += 1
        book.unanswered += len(self._asked_s)
        self._asked_s.clear()
        self._lost_s = perf_counter()
        self._again()

    def socket_refused(self, why: str) -> None:
        """It was not opened: try again after a while."""
        self._crowd.recorder.sockets.refused += 1
        self._again()

    def _again(self) -> None:
        self.socket = None
        wait_s = self._retry_s * (0.5 + self._user.draws.uniform())
        self._retry_s = min(2 * self._retry_s, self.RETRY_S_MAX)
        self._crowd.open_socket_after(self._user, wait_s)
