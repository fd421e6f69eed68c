"""Scenarios played by users against a small app of the test's own, over real sockets."""

import asyncio
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import psutil
import pytest
from aiohttp import WSMsgType, web

from tenfold.model import Action, Scenario, Socket, Step
from tenfold.proof.load import (
    LoadError,
    LoadResult,
    Part,
    Progress,
    RateCurve,
    Stretch,
    Target,
    UserCurve,
    UserPlan,
    run,
    run_users,
)
from tests.processes import children


class Club:
    """An app with sign-in: who comes without a cookie gets 401, and it can forget everybody."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.members: dict[str, str] = {}
        self.sockets: set[web.WebSocketResponse] = set()
        self.speaks = True
        self.heard = 0
        self.slow_s = 0.0
        self._keys = 0
        self.target = Target("127.0.0.1", 1)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve."""
        app = web.Application()
        app.router.add_post("/login", self._login)
        app.router.add_get("/feed", self._feed)
        app.router.add_get("/{what}", self._get)
        app.router.add_get("/{what}/{more:.*}", self._get)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.target = Target("127.0.0.1", self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _member(self, request: web.Request) -> str:
        name = self.members.get(request.cookies.get("session", ""))
        if name is None:
            raise web.HTTPUnauthorized
        return name

    async def _login(self, request: web.Request) -> web.Response:
        name = (await request.json())["name"]
        self._keys += 1
        key = f"k{self._keys}"
        self.members[key] = name
        self.seen[f"login {name}"] += 1
        answer = web.json_response({"id": {"of": name}})
        answer.set_cookie("session", key, httponly=True)
        return answer

    async def _get(self, request: web.Request) -> web.Response:
        name = self._member(request)
        what = request.match_info["what"]
        self.seen[f"{what} {request.match_info.get('more', '')} {name}".replace("  ", " ")] += 1
        await asyncio.sleep(self.slow_s)
        if what == "broken":
            raise web.HTTPInternalServerError
        return web.json_response({"what": what})

    async def _feed(self, request: web.Request) -> web.WebSocketResponse:
        self._member(request)
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        self.sockets.add(answer)
        async for message in answer:
            self.heard += 1
            if message.type is WSMsgType.TEXT and self.speaks:
                await answer.send_str(message.data)
        self.sockets.discard(answer)
        return answer


@pytest.fixture
async def club() -> AsyncIterator[Club]:
    """A running club."""
    club = Club()
    await club.start()
    yield club
    await club.stop()


async def directed(
    plan: UserPlan, stage: Callable[[], Awaitable[None]], on_progress: Callable[[Progress], None] | None = None
) -> LoadResult:
    """Play a long plan until a stage has been gone through, however slow this machine is at the moment."""
    stop = asyncio.Event()
    playing = asyncio.create_task(run(plan, on_progress, stop))
    try:
        await asyncio.wait_for(stage(), 60)
    finally:
        stop.set()
        result = await playing
    return result


async def until(condition: Callable[[], object]) -> None:
    """Wait for something."""
    while not condition():  # noqa: ASYNC110 - it happens at the other end of a connection
        await asyncio.sleep(0.01)


ENTER = (Step("POST", "/login", '{"name": "{name}"}', keep={"id": "id.of"}),)
ROWS = ({"name": "ada"}, {"name": 'b"e n/ö'})


def scenario(*actions: Action, think_s: float = 0.05, held: Socket | None = None) -> Scenario:
    """One that signs in first."""
    return Scenario("club", actions, enter=ENTER, think_s=think_s, users=ROWS, socket=held)


def action(name: str, *paths: str, share: float = 1.0) -> Action:
    """An action that asks for these paths."""
    return Action(name, share, tuple(Step("GET", path) for path in paths))


def part(parts: tuple[Part, ...], name: str) -> Part:
    """The part of this name."""
    return next(part for part in parts if part.name == name)


def assert_it_adds_up(result: LoadResult) -> None:
    """Each request has one fate, and is in one step and one second."""
    ended = sum(outcome.count for outcome in result.outcomes)
    assert result.due == ended + result.unfinished
    assert sum(step.count for step in result.steps) == ended
    assert sum(step.failed for step in result.steps) == result.failed
    assert sum(second.due for second in result.seconds) == result.due
    assert sum(second.answered for second in result.seconds) == result.answered
    assert result.response.count == sum(step.response.count for step in result.steps)


async def test_users_enter_once_and_act_by_shares(club: Club) -> None:
    """Each signs in once with its own row and keeps its cookie; what was kept arrives as it was; actions come by their shares."""
    played = scenario(action("own", "/mine/{id}/{user}", share=0.75), action("two", "/a", "/b", share=0.25))
    result = await run(UserPlan(club.target, played, UserCurve.steps((2.0, 8))))
    assert club.seen["login ada"] == club.seen['login b"e n/ö'] == 4
    assert {key for key in club.seen if key.startswith("mine")} == {
        f"mine {ROWS[n % 2]['name']}/{n} {ROWS[n % 2]['name']}" for n in range(8)
    }
    own, two = part(result.actions, "own"), part(result.actions, "two")
    assert own.count > two.count > 0
    assert part(result.steps, "GET /a").count == part(result.steps, "GET /b").count == two.count
    assert part(result.steps, "POST /login").count == 8 == result.users
    assert (result.failed, result.refused) == (0, 0)
    first_mean_ms = part(result.steps, "GET /a").response.mean_ms
    assert (
        two.response.mean_ms is not None and first_mean_ms is not None and two.response.mean_ms > 0.99 * first_mean_ms
    )
    assert_it_adds_up(result)


async def test_who_is_forgotten_signs_in_again(club: Club) -> None:
    """A session that is over is one refusal; then the user enters anew and goes on."""
    plan = UserPlan(club.target, scenario(action("look", "/a", "/b")), UserCurve.steps((600, 5)))

    async def stage() -> None:
        await until(lambda: club.seen["b ada"] + club.seen['b b"e n/ö'] >= 10)
        club.members.clear()
        await until(lambda: len(club.members) == 5)

    result = await directed(plan, stage)
    assert result.refused == 5 == part(result.actions, "look").refused
    assert part(result.steps, "POST /login").count >= 9
    assert_it_adds_up(result)


async def test_an_action_ends_with_what_fails(club: Club) -> None:
    """After a failure the rest of an action is not asked for, and the action has failed."""
    result = await run(UserPlan(club.target, scenario(action("sad", "/broken", "/after")), UserCurve.steps((0.6, 3))))
    sad = part(result.actions, "sad")
    assert sad.failed == sad.count == result.failed > 0
    assert part(result.steps, "GET /after").count == 0 == club.seen["after ada"]
    assert_it_adds_up(result)


async def test_an_answer_without_what_is_kept_is_a_failure(club: Club) -> None:
    """A good status with a body that lacks the field is told by its own name."""
    wants = Action("wants", 1.0, (Step("GET", "/a", keep={"x": "no.such"}), Step("GET", "/b/{x}")))
    result = await run(UserPlan(club.target, scenario(wants), UserCurve.steps((0.6, 3))))
    outcome = next(outcome for outcome in result.outcomes if outcome.kind == "answer")
    assert outcome.failed and "no.such" in outcome.examples[0].detail
    assert outcome.count == result.failed > 0
    assert_it_adds_up(result)


async def test_users_come_and_go_as_the_curve_says(club: Club) -> None:
    """The number of users follows steps up and down, and who leaves closes its connection."""
    curve = UserCurve((Stretch(1.5, 12, 12), Stretch(1.2, 3, 3)))
    open_then: list[int] = []

    def count(progress: Progress) -> None:
        links = psutil.Process().net_connections("tcp")
        own = [link for link in links if link.raddr and link.raddr.port == club.target.port]
        open_then.append(sum(link.status == psutil.CONN_ESTABLISHED for link in own))

    result = await run(UserPlan(club.target, scenario(action("look", "/a")), curve), count)
    assert (result.users, result.seconds[-1].users) == (12, 3)
    assert open_then[-1] <= 3
    assert_it_adds_up(result)


async def test_late_users_do_not_shift_their_own_schedule(club: Club) -> None:
    """A loop that stands still for a while makes what was due meanwhile late: in the response times, the lag and the verdict."""
    plan = UserPlan(club.target, scenario(action("look", "/a")), UserCurve.steps((1.9, 20)))
    stood: list[Progress] = []

    def stand_still(progress: Progress) -> None:
        if not stood:
            stood.append(progress)
            time.sleep(0.4)

    result = await run(plan, stand_still)
    assert any("late" in reason for reason in result.invalid), (result.lag, result.seconds)
    assert result.response.max_ms is not None and result.response.max_ms >= 250
    assert result.lag.max_ms is not None and result.lag.max_ms >= 250


async def test_sockets_are_held_and_timed(club: Club) -> None:
    """After entering, users hold their sockets and say something now and then; each answer's way is measured."""
    held = Socket("/feed?u={user}", 1.0, '{"i": "{id}"}', every_s=0.2)
    plan = UserPlan(club.target, scenario(action("look", "/a"), held=held), UserCurve.steps((600, 6)))
    result = await directed(plan, lambda: until(lambda: club.heard >= 30))
    sockets = result.sockets
    assert sockets is not None
    assert (sockets.users, sockets.down, sockets.opened, sockets.closed) == (6, 0, 6, 0)
    assert 20 <= sockets.round_trip.count <= sockets.sent
    assert sockets.messages == sockets.round_trip.count


async def test_a_socket_that_is_closed_is_opened_again(club: Club) -> None:
    """Closed by the server, it comes back after a short while, and the gap is known; a silent server leaves messages unanswered."""
    held = Socket("/feed", 1.0, "hello", every_s=0.1)
    plan = UserPlan(club.target, scenario(action("look", "/a"), held=held), UserCurve.steps((600, 4)), timeout_s=0.3)

    async def stage() -> None:
        await until(lambda: len(club.sockets) == 4)
        first = tuple(club.sockets)
        await asyncio.gather(*(each.close(code=1012) for each in first))
        await until(lambda: len(club.sockets.difference(first)) == 4)
        club.speaks, heard = False, club.heard
        # Each of the four says ten a second, and waits for three of them.
        await until(lambda: club.heard >= heard + 40)

    result = await directed(plan, stage)
    sockets = result.sockets
    assert sockets is not None
    assert (sockets.opened, sockets.closed, sockets.gap.count, sockets.down) == (8, 4, 4, 0)
    assert sockets.gap.max_ms is not None and sockets.gap.max_ms >= 40
    assert sockets.unanswered > 0


async def test_a_socket_that_is_refused_is_down(club: Club) -> None:
    """A path that takes no WebSocket is refused again and again, ever less often, and its users are down."""
    held = Socket("/none", 0.999)
    plan = UserPlan(club.target, scenario(action("look", "/a"), held=held), UserCurve.steps((600, 4)))
    result = await directed(plan, lambda: until(lambda: club.seen["none ada"] and club.seen['none b"e n/ö'] >= 6))
    sockets = result.sockets
    assert sockets is not None
    assert sockets.down == sockets.users == 4
    assert sockets.opened == 0 and sockets.refused >= 6


async def test_arrivals_take_the_users_they_need(club: Club) -> None:
    """In the open model each arrival is an action, of an idle user or of a new one."""
    played = scenario(action("look", "/a", "/b"))
    result = await run(UserPlan(club.target, played, arrivals=RateCurve.steps((1.5, 60))))
    look = part(result.actions, "look")
    assert look.count == part(result.steps, "GET /b").count > 40
    assert part(result.steps, "POST /login").count <= result.users < look.count
    assert result.failed == 0
    assert_it_adds_up(result)


async def test_who_comes_has_been_there_before(club: Club) -> None:
    """A slow server gets more users at once and not more sign-ins: a new user goes on with the session of its row."""
    club.slow_s = 0.5
    played = scenario(action("look", "/a"))
    result = await run(UserPlan(club.target, played, arrivals=RateCurve.steps((2.0, 60))))
    assert part(result.steps, "POST /login").count < result.users
    assert result.failed == result.refused == 0
    assert_it_adds_up(result)


async def test_a_session_that_is_over_is_not_handed_on(club: Club) -> None:
    """Once the app has forgotten everybody, whoever finds that out signs in, and the next go on with the new session."""
    played = scenario(action("look", "/a"))
    told: list[int] = []

    def forget(progress: Progress) -> None:
        if not told and progress.second.answered:
            told.append(len(club.members))
            club.members.clear()

    result = await run(UserPlan(club.target, played, arrivals=RateCurve.steps((3.2, 40))), forget)
    assert told and 0 < result.refused < result.answered / 2
    assert part(result.steps, "POST /login").count > told[0]


async def test_a_warm_up_is_in_the_seconds_alone(club: Club) -> None:
    """What became due before the end of the warm-up is not judged, and can still be seen."""
    plan = UserPlan(club.target, scenario(action("look", "/a")), UserCurve.steps((2.2, 6)), warm_up_s=1.0)
    result = await run(plan)
    assert part(result.steps, "POST /login").count == 0
    assert 0 < result.due < sum(second.due for second in result.seconds)
    assert part(result.actions, "look").count == result.answered == result.response.count


async def test_several_processes_say_what_one_would(strange: Target) -> None:
    """Shares of one run begin together and add up: users, requests, seconds, parts."""
    told: list[Progress] = []
    played = Scenario("s", (action("a", "/ok"), action("b", "/ok", "/fails")), think_s=0.1)
    result = await run_users(UserPlan(strange, played, UserCurve.steps((2.2, 9)), processes=3), told.append)
    assert (result.processes, result.users) == (3, 9)
    assert tuple(progress.second for progress in told) == result.seconds
    assert result.seconds[-1].users == 9
    assert part(result.actions, "b").failed == result.failed > 0
    assert told[-1].answered == result.answered
    assert result.memory_bytes > 3 * 10_000_000
    assert_it_adds_up(result)


def load_processes() -> list[psutil.Process]:
    """The load processes of this test."""
    return [child for child, line in children().items() if "tenfold.proof.load" in line]


async def begun(task: "asyncio.Task[LoadResult]", told: list[Progress]) -> None:
    """Wait for the first second."""
    while not told:
        assert not task.done(), task.result()
        await asyncio.sleep(0.02)


async def test_a_killed_process_ends_the_run_with_a_sentence(strange: Target) -> None:
    """Figures that lost a part of themselves are none: it is said which way the process went, and the others are ended."""
    told: list[Progress] = []
    played = Scenario("s", (action("a", "/ok"),), think_s=0.1)
    plan = UserPlan(strange, played, UserCurve.steps((600, 4)), processes=2)
    task = asyncio.create_task(run_users(plan, told.append))
    await begun(task, told)
    os.kill(load_processes()[0].pid, signal.SIGKILL)
    with pytest.raises(LoadError, match="SIGKILL"):
        await asyncio.wait_for(task, 60)
    assert not load_processes()


async def test_a_stopped_run_of_several_tells_what_it_has(strange: Target) -> None:
    """Ctrl-C ends all processes at once, and what was on its way is unfinished; a cancelled run leaves nothing either."""
    told: list[Progress] = []
    played = Scenario("s", (action("a", "/ok"), action("b", "/never")), think_s=0.05)
    plan = UserPlan(strange, played, UserCurve.steps((600, 12)), processes=2)
    stop = asyncio.Event()
    task = asyncio.create_task(run_users(plan, told.append, stop))
    await begun(task, told)
    stop.set()
    result = await asyncio.wait_for(task, 60)
    assert result.interrupted and result.unfinished > 0
    assert_it_adds_up(result)
    task = asyncio.create_task(run_users(plan, told.append))
    await asyncio.sleep(0.3)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert not load_processes()


async def test_two_runs_at_once_do_not_disturb_one_another(strange: Target) -> None:
    """Two teams against one server both come to their end, each with its own figures."""
    played = Scenario("s", (action("a", "/ok"),), think_s=0.05)
    plans = [UserPlan(strange, played, UserCurve.steps((1.2, users)), seed=users, processes=2) for users in (3, 5)]
    few, many = await asyncio.gather(*(run_users(plan) for plan in plans))
    assert (few.users, many.users) == (3, 5)
    for result in (few, many):
        assert result.failed == 0 < result.answered
        assert_it_adds_up(result)


async def test_more_users_than_descriptors_is_a_sentence(strange: Target) -> None:
    """What the asked-for processes can't hold is refused before anything starts, with how many it takes."""
    played = Scenario("s", (action("a", "/ok"),))
    plan = UserPlan(strange, played, UserCurve.ramp(1_000_000, 10, 10), processes=1)
    with pytest.raises(LoadError, match=r"1,000,000 users need \d+ load processes"):
        await run_users(plan)


@pytest.fixture
def unused() -> Iterator[Target]:
    """A port that refuses connections."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield Target("127.0.0.1", holder.getsockname()[1])


async def test_nobody_gets_in(unused: Target) -> None:
    """When entering fails users try again after a pause, and no action is begun."""
    result = await run(UserPlan(unused, scenario(action("look", "/a")), UserCurve.steps((0.8, 4))))
    assert part(result.actions, "look").count == 0
    assert part(result.steps, "POST /login").failed == result.failed >= 4
    assert {outcome.kind for outcome in result.outcomes} == {"connect"}
    assert_it_adds_up(result)
