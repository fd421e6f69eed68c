"""The users of one process: who is there, what is due when, and the run from its start to the last answer.

Stage: a `Share` of a run in, a `Slice` each second and a `Tally` at the end. Everything that the clock makes due lies in
one heap, looked at by one timer; users have no tasks of their own.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, islice
from math import ceil
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from tenfold.model import Socket
from tenfold.proof.load.connection import OWN_ERRORS, Http1Connection
from tenfold.proof.load.curve import RateCurve, Spacing, UserCurve, arrivals
from tenfold.proof.load.draws import Draws
from tenfold.proof.load.record import Recorder
from tenfold.proof.load.script import ReadyAction, Script, message_text, path_text
from tenfold.proof.load.tally import Slice, Tally
from tenfold.proof.load.user import Held, Session, User

if TYPE_CHECKING:
    from tenfold.proof.load.http2 import Http2Connection

_WATCH_S = 0.05
_TURN_S_MAX = 0.01
"""How long the timer sleeps at most: users come and go within this of when the curve says."""
_BATCH = 64
"""How much overdue is done in a row before answers are read again."""
_SOURCES = 250
"""Source addresses 127.0.1.1 to 127.0.1.250: each has its own 28,000 ports, and is a client of its own to the server."""
_BIND_ADDRESS_NO_PORT = 24
"""Linux's IP_BIND_ADDRESS_NO_PORT: the port is chosen when the connection is made, so that one may serve for several targets."""

_Made = TypeVar("_Made", bound=asyncio.Protocol)
_ACT, _SAY, _OPEN, _ARRIVE = range(4)


@dataclass(frozen=True, slots=True)
class Share:
    """What one of `of` processes does of a run: users and arrivals number `index`, `index + of`, and so on.

    `begin_s` is the start on CLOCK_MONOTONIC, which all processes of a machine share. Exactly one of `users` and `arrivals`.
    """

    script: Script
    address: tuple[str, int]
    authority: str
    begin_s: float
    seed: int
    timeout_s: float
    users_max: int
    users: UserCurve | None = None
    arrivals: RateCurve | None = None
    spacing: Spacing = Spacing.POISSON
    think_s: float = 0.0
    rows: Sequence[Mapping[str, str]] = ()
    socket: Socket | None = None
    headers: tuple[tuple[str, str], ...] = ()
    http: str = "1.1"
    index: int = 0
    of: int = 1
    warm_up_s: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length of the run in seconds, but for the last answers."""
        curve = self.users or self.arrivals
        assert curve is not None, "one of both is there"
        return curve.duration_s


class Crowd:
    """One process's users, from the start of the run to its end.

    Closed model: a user's action is due when its pause after the one before it is over, and the pause began with that one's
    last answer; an engine that is late with either does not shift it. Open model: an action is due when the curve says, and who comes
    has been there before: one of each row enters, the next of that row go on with its session. Else a server that is slow for a
    moment would get more users at once, and a sign-in from each.
    A step after the first is due with the answer to the one before.
    """

    def __init__(self, share: Share) -> None:
        self.script = share.script
        self.recorder = Recorder(share.begin_s, len(share.script.actions), len(share.script.steps), share.warm_up_s)
        self.in_flight = 0
        self._share = share
        self._loop = asyncio.get_running_loop()
        self._end_s = share.begin_s + share.duration_s
        self._heap: list[tuple[float, int, int, User | None]] = []
        self._serials = count()
        self._wake: asyncio.TimerHandle | asyncio.Handle | None = None
        self._waiting: deque[tuple[float, int, User]] = deque()
        self._present: list[User] = []
        self._idle: list[User] = []
        self._sessions: dict[int, Session] = {}
        """By row, that of the last who has entered."""
        self._leaving: set[User] = set()
        self._arrivals = self._own_arrivals() if share.arrivals is not None else iter(())
        self._action: ReadyAction | None = None
        self._is_local = share.address[0].startswith("127.") and os.uname().sysname == "Linux"
        self._family = socket.AF_INET6 if ":" in share.address[0] else socket.AF_INET
        self._connection = _connection_kind(share.http)
        self._say = message_text(share.socket.send) if share.socket is not None and share.socket.send else None
        self._socket_path = path_text(share.socket.path) if share.socket is not None else None
        self._is_closing = False

    async def run(self, on_slice: Callable[[Slice], None], stop: asyncio.Event | None) -> Tally:
        """Play the share, wait for the last answers, and close everything. When `stop` is set it ends within 0.1 s; what was on
        its way is then unfinished."""
        try:
            await asyncio.sleep(max(0.0, self._share.begin_s - perf_counter()))
            self._next_arrival()
            self._turn()
            await self._watch(on_slice, stop)
            return self._tally()
        finally:
            await self._close()

    async def _watch(self, on_slice: Callable[[Slice], None], stop: asyncio.Event | None) -> None:
        """End what waits too long, close each second, until all is done and answered or `stop` is set."""
        begin_s = self._share.begin_s
        index = 0
        while True:
            await asyncio.sleep(_WATCH_S)
            self._expire()
            now_s = perf_counter()
            is_over = now_s >= self._end_s and self.in_flight == 0 and not self._is_behind(now_s)
            is_over = is_over or (stop is not None and stop.is_set())
            passed = int(now_s - begin_s)
            if is_over or passed > index:
                # A process that was held up for seconds closes them all as the last of them.
                index = max(index, passed - 1)
                on_slice(self.recorder.close_second(index, self.in_flight, len(self._present)))
                index += 1
            if is_over:
                return

    def _is_behind(self, now_s: float) -> bool:
        """Whether something that was due before the end has not been done yet."""
        return bool(self._heap) and self._heap[0][0] < self._end_s and self._heap[0][0] <= now_s

    def _tally(self) -> Tally:
        sockets = None
        if self._share.socket is not None:
            held = [user.socket for user in (*self._present, *self._leaving) if user.socket is not None]
            sockets = self.recorder.sockets.tally(len(held), sum(not each.is_open for each in held))
        return self.recorder.tally(self.in_flight, sockets)

    async def _close(self) -> None:
        """Drop every connection, and whatever is still on its way with it; nothing is recorded of it."""
        self._is_closing = True
        if self._wake is not None:
            self._wake.cancel()
        users = (*self._present, *self._leaving)
        tasks = [task for user in users for task in user.tasks()]
        for user in users:
            user.leave()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The loop tells of a closed connection in its next turn.
        await asyncio.sleep(0)

    # What is due, and when.

    def _push(self, due_s: float, what: int, user: User | None) -> None:
        heappush(self._heap, (due_s, next(self._serials), what, user))

    def _turn(self) -> None:
        """Do what is due, and sleep until the next thing is.

        The loop wakes at whole milliseconds, so things are done up to 1 ms late; never early, which would hide it.
        """
        if self._is_closing:
            return
        now_s = perf_counter()
        self._adjust(now_s)
        heap = self._heap
        for _ in range(_BATCH):
            if not heap or heap[0][0] > now_s:
                break
            due_s, _, what, user = heappop(heap)
            self._do(due_s, what, user)
        else:
            self._wake = self._loop.call_soon(self._turn)
            return
        wait_s = min(_TURN_S_MAX, heap[0][0] - perf_counter()) if heap else _TURN_S_MAX
        self._wake = self._loop.call_later(max(0, ceil(wait_s * 1000)) / 1000, self._turn)

    def _do(self, due_s: float, what: int, user: User | None) -> None:
        if what == _ARRIVE:
            self._arrive(due_s)
            self._next_arrival()
        elif user is None or user.is_gone or due_s >= self._end_s:
            return
        elif what == _ACT:
            enter = self.script.enter
            if not user.has_entered and enter is not None:
                user.begin(enter, due_s, perf_counter() - due_s)
            else:
                user.begin(self.script.choose(user.draws.uniform()), due_s, perf_counter() - due_s)
        elif user.socket is not None and what == _OPEN:
            self._dial_socket(user, user.socket)
        elif user.socket is not None and self._share.socket is not None and self._say is not None:
            now_s = perf_counter()
            self.recorder.lagged(now_s - due_s)
            user.socket.say(self._say.filled(user), due_s, now_s, self._share.timeout_s)
            self._push(due_s + self._share.socket.every_s, _SAY, user)

    def _expire(self) -> None:
        """End what has waited too long. One timeout for all makes the order of asking the order of deadlines."""
        now_s = perf_counter()
        waiting = self._waiting
        while waiting:
            deadline_s, serial, user = waiting[0]
            is_over = user.step is None or user.serial != serial
            if not is_over and deadline_s > now_s:
                return
            waiting.popleft()
            if not is_over:
                user.failed("timeout", f"no answer within {self._share.timeout_s:g} s")

    # Who is there.

    def _adjust(self, now_s: float) -> None:
        """Let users come and go as the curve says."""
        curve = self._share.users
        if curve is None or now_s >= self._end_s:
            return
        share = self._share
        wanted = max(0, -((share.index - curve.at(now_s - share.begin_s)) // share.of))
        present = self._present
        while len(present) < wanted:
            user = self._come()
            pause_s = 0.0 if self.script.enter is not None else user.draws.pause_s(share.think_s)
            self._push(now_s + pause_s, _ACT, user)
        while len(present) > wanted:
            self._dismiss(present.pop())

    def _come(self) -> User:
        share = self._share
        number = share.index + len(self._present) * share.of
        row = share.rows[number % len(share.rows)] if share.rows else {}
        user = User(self, number, row, share.seed)
        if share.socket is not None and user.draws.uniform() < share.socket.share:
            user.socket = Held(self, user)
        self._present.append(user)
        return user

    def _row_of(self, user: User) -> int:
        return user.number % max(1, len(self._share.rows))

    def _dismiss(self, user: User) -> None:
        if user.is_busy:
            self._leaving.add(user)
        else:
            user.leave()

    def _own_arrivals(self) -> "islice[tuple[int, float]]":
        share = self._share
        assert share.arrivals is not None
        moments = enumerate(arrivals(share.arrivals, share.spacing, share.seed))
        return islice(moments, share.index, None, share.of)

    def _next_arrival(self) -> None:
        number, offset_s = next(self._arrivals, (0, None))
        if offset_s is not None:
            # The choice is the arrival's own: another mix, or number of processes, must not change the moments.
            self._action = self.script.choose(Draws(self._share.seed + 1, number).uniform())
            self._push(self._share.begin_s + offset_s, _ARRIVE, None)

    def _arrive(self, due_s: float) -> None:
        """An action of the open model is due: it is that of a user who is idle, or of a new one."""
        action = self._action
        assert action is not None, "each arrival has its action"
        lag_s = perf_counter() - due_s
        if self._idle:
            user = self._idle.pop()
        elif len(self._present) < self._share.users_max:
            user = self._come()
            if (session := self._sessions.get(self._row_of(user))) is not None:
                user.resume(session)
        else:
            step = action.steps[0]
            detail = f"{self._share.users_max} requests were already in flight"
            self.recorder.due(lag_s)
            self.recorder.ended(step.name, step.part, "unsent", due_s, 0.0, perf_counter(), 0, b"", detail)
            return
        if not user.has_entered and self.script.enter is not None:
            user.wants = action
            user.begin(self.script.enter, due_s, lag_s)
        else:
            user.begin(action, due_s, lag_s)

    # What users tell.

    def asked(self, user: User, lag_s: float | None) -> None:
        """A user hands a request over to its connection now."""
        self.in_flight += 1
        self.recorder.due(lag_s)
        self._waiting.append((perf_counter() + self._share.timeout_s, user.serial, user))

    def ended(self) -> None:
        """A request is over."""
        self.in_flight -= 1

    def over(self, user: User, now_s: float) -> None:
        """A user's action is over: it pauses, or does what it came for, or goes."""
        if user in self._leaving:
            self._leaving.discard(user)
            user.leave()
            return
        if user.has_entered and user.socket is not None and not user.socket.is_wanted:
            user.socket.is_wanted = True
            self._dial_socket(user, user.socket)
        if self._share.users is not None:
            self._push(now_s + user.draws.pause_s(self._share.think_s), _ACT, user)
            return
        action, user.wants = user.wants, None
        if action is not None and user.has_entered:
            if self._share.rows:
                self._sessions[self._row_of(user)] = user.session
            user.begin(action, now_s, None)
        else:
            self._idle.append(user)

    def forget(self, user: User) -> None:
        """A user's session is over: nobody else goes on with it."""
        self._sessions.pop(self._row_of(user), None)

    def say_after(self, user: User, share: float) -> None:
        """A user's messages begin after this share of their period, and keep to that for ever."""
        if self._say is not None and self._share.socket is not None:
            self._push(perf_counter() + share * self._share.socket.every_s, _SAY, user)

    def open_socket_after(self, user: User, wait_s: float) -> None:
        """A user's WebSocket is closed, and is to be opened again after a while."""
        if not user.is_gone and not self._is_closing:
            self._push(perf_counter() + wait_s, _OPEN, user)

    # Connections.

    def connect(self, user: User) -> None:
        """A user needs a connection."""
        user.connecting = self._loop.create_task(self._connect(user))

    async def _connect(self, user: User) -> None:
        problem: OSError | None = None
        try:
            connection = await self._dialled(user, lambda: self._connection(user))
        except OSError as error:
            problem = error
        finally:
            # With the collector off, a user and a task that know each other would stay in memory for ever.
            if user.connecting is asyncio.current_task():
                user.connecting = None
        if problem is None:
            user.connected(connection)
        else:
            detail = os.strerror(problem.errno) if problem.errno else str(problem)
            user.failed("unsent" if problem.errno in OWN_ERRORS else "connect", detail)

    def _dial_socket(self, user: User, held: Held) -> None:
        held.connecting = self._loop.create_task(self._open_socket(user, held))

    async def _open_socket(self, user: User, held: Held) -> None:
        share = self._share
        assert self._socket_path is not None
        path = self._socket_path.filled(user)
        headers = (*share.headers, *((("Cookie", user.cookie),) if user.cookie else ()))
        why: str | None = None
        try:
            async with asyncio.timeout(share.timeout_s):
                made = await self._dialled(user, lambda: held.begin(share.authority, path, headers))
        except (OSError, TimeoutError) as error:
            why = str(error) or "no connection in time"
        finally:
            held.connecting = None
        if why is None:
            self._loop.call_later(share.timeout_s, made.give_up)
        else:
            held.socket_refused(why)

    async def _dialled(self, user: User, protocol: Callable[[], _Made]) -> _Made:
        """A new connection to the target. Our own socket, as the loop would look up the source address in a thread."""
        plug = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._is_local:
                plug.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                plug.bind((f"127.0.1.{1 + user.number % _SOURCES}", 0))
            await self._loop.sock_connect(plug, self._share.address)
            _, made = await self._loop.create_connection(protocol, sock=plug)
        except BaseException:
            plug.close()
            raise
        return made


def _connection_kind(http: str) -> "type[Http1Connection | Http2Connection]":
    if http == "1.1":
        return Http1Connection
    # Only now: the library takes memory that a run over HTTP/1.1 can do without.
    from tenfold.proof.load.http2 import Http2Connection

    return Http2Connection
