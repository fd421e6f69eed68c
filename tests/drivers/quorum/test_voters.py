"""The lease by votes over real voters: killed, frozen, robbed, and filled up; and holders that freeze."""

import asyncio
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers.voter import NoVote
from tenfold.ports import Retryable
from tenfold.wire import lease as wire

Voters = Any
PILOT = Path(__file__).with_name("pilot.py")
TTL_MS = round(wire.TTL_S * 1000)
SEED = 20_261_120


async def test_one_of_many_who_ask_at_once_gets_it(voters: Voters) -> None:
    """Eight ask in the same moment, again and again: never two of them get it, and whoever does has a newer epoch."""
    candidates = [voters.candidate(f"c{i}") for i in range(8)]
    newest = 0
    for _ in range(5):
        epochs = await asyncio.gather(*(candidate.acquire() for candidate in candidates))
        got = [epoch for epoch in epochs if epoch is not None]
        assert len(got) <= 1
        assert [await c.held() for c in candidates].count(True) == len(got)
        if got:
            assert got[0] > newest
            newest = got[0]
            await candidates[epochs.index(newest)].release()


async def test_the_loss_of_a_minority_changes_nothing(voters: Voters, eventually: Any) -> None:
    """One of three voters killed, then another frozen in its place: the holder holds on, and nobody else gets the lease."""
    holder, other = voters.candidate("a"), voters.candidate("b")
    await eventually(holder.acquire)
    for number, place, for_s in ((signal.SIGKILL, "eu", 0.5), (signal.SIGSTOP, "us", wire.TTL_S)):
        voters.signal(number, place)
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            assert await holder.held()
            assert await other.acquire() is None
        await voters.start() if number == signal.SIGKILL else voters.signal(signal.SIGCONT, place)


async def test_a_voter_whose_settings_are_damaged_is_a_minority_too(voters: Voters, eventually: Any) -> None:
    """Killed, with a file that nobody can read any more: the holder goes on by the others, for longer than a vote lasts."""
    holder = voters.candidate("a")
    await eventually(holder.acquire)
    voters.signal(signal.SIGKILL, "eu")
    (voters.project.data / "voter-eu" / "settings.json").write_text("{")
    with pytest.raises(NoVote, match="is damaged"):
        voters.voter("eu").ask("", 0)
    until_s = time.monotonic() + wire.TTL_S
    while time.monotonic() < until_s:
        assert await holder.held()
        await asyncio.sleep(0.05)


async def test_without_a_majority_nobody_holds_it_until_it_is_back(voters: Voters, eventually: Any) -> None:
    """Two of three frozen: the holder stops before its votes end and says why, nobody else gets it, and after the thaw it goes on."""
    holder, other = voters.candidate("a"), voters.candidate("b")
    await eventually(holder.acquire)
    voters.signal(signal.SIGSTOP, "eu", "us")
    with pytest.raises(Retryable, match="no majority of the 3 voters has renewed the lease in time"):
        await eventually(lambda: _lost(holder))
    assert await other.acquire() is None
    voters.signal(signal.SIGCONT)
    await eventually(lambda: _holds(holder))
    assert await other.acquire() is None


async def test_voters_that_were_killed_know_whom_they_voted_for(voters: Voters, eventually: Any) -> None:
    """All three killed and started again: the holder goes on under its epoch, and for one more lease nobody else may have it."""
    holder = voters.candidate("a")
    epoch = await eventually(holder.acquire)
    voters.signal(signal.SIGKILL)
    await voters.start()
    assert all(voters.voter(place).ask("b", epoch + 1).holder == "a" for place in voters.places)
    await eventually(lambda: _holds(holder))
    votes = [voters.voter(place).ask("", 0) for place in voters.places]
    assert {(vote.epoch, vote.holder) for vote in votes} == {(epoch, "a")}


async def test_voters_that_lost_their_data_wait(voters: Voters, eventually: Any) -> None:
    """A majority of voters robbed of their data votes for nobody until any lease they may have given has ended; epochs go on growing."""
    holder = voters.candidate("a")
    epoch = await eventually(holder.acquire)
    await holder.release()
    voters.signal(signal.SIGKILL)
    for place in voters.places:
        shutil.rmtree(voters.project.data / f"voter-{place}" / "data")
    begun_s = time.monotonic()
    await voters.start()
    other = voters.candidate("b", newest=lambda: epoch)
    assert await other.acquire() is None
    assert await eventually(other.acquire) == epoch + 1
    assert time.monotonic() - begun_s >= wire.TTL_S


async def test_a_renewal_writes_nothing(voters: Voters, eventually: Any) -> None:
    """Only a new epoch is put on a voter's disk: a holder may renew for years, and on a full disk."""
    holder = voters.candidate("a")
    await eventually(holder.acquire)
    logs = sorted(voters.project.data.glob("voter-*/data/appendonlydir/*"))
    sizes = [log.stat().st_size for log in logs]
    until_s = time.monotonic() + 1.5
    while time.monotonic() < until_s:
        assert await holder.held()
        await asyncio.sleep(0.05)
    assert [log.stat().st_size for log in logs] == sizes
    assert any(size for size in sizes)


async def test_a_candidate_is_told_when_voters_are_missing(voters: Voters) -> None:
    """Nobody gets a lease from one voter of three; who asks is told which do not answer."""
    voters.signal(signal.SIGKILL, "eu", "au")
    candidate = voters.candidate("a")
    assert await candidate.acquire() is None
    sight = await candidate.look()
    assert not sight.has_majority and sight.trouble.startswith("1 of 3 voters answer (the voter eu does not answer: ")


async def test_the_script_does_what_its_twin_does(voters: Voters, new_twin: Callable[[], Any]) -> None:
    """A thousand random questions on a clock that leaps and is set back: the script and its twin in Python agree on every answer."""
    chance, twin, voter = random.Random(SEED), new_twin(), voters.voter("eu")
    script = wire.ASK.replace("redis.call('TIME')", "{ARGV[4], '0'}")
    voter._say("FLUSHALL")
    now = 1_800_000_000
    for _ in range(1500):
        now += chance.choice((0, 0, 1, 1, 2, 4, 60, -2, -3600))
        holder, epoch = (
            chance.choice("ab"),
            chance.choice((0, *range(max(1, (twin.epoch or 0) - 1), (twin.epoch or 0) + 3))),
        )
        match chance.random():
            case luck if luck < 0.05:
                voter._say("DEL", wire.AWAKE)
                twin.restart()
            case luck if luck < 0.08:
                voter._say("FLUSHALL")
                twin.lose_data()
            case luck if luck < 0.15:
                voter.let_go(holder, epoch)
                twin.let_go(holder, epoch)
            case _:
                asked = (holder, str(epoch), str(TTL_MS), str(now))
                got = voter._say("EVAL", script, "2", wire.KEY, wire.AWAKE, *asked)
                assert got == list(twin.ask(now * 1000, holder, epoch)), (asked, twin)


@pytest.fixture
def pilot(voters: Voters) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Starts a control plane, by name."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> "subprocess.Popen[str]":
        argv = [sys.executable, str(PILOT), str(voters.project.root), name]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def test_a_leader_that_thaws_after_another_took_over_does_nothing(
    voters: Voters, pilot: Any, eventually: Any
) -> None:
    """Frozen in the middle of acting, overtaken and thawed, twice over: not one deed of an old epoch comes after one of a newer."""
    marks = voters.project.root / "marks"
    old = pilot("c0")
    assert await _says(old) == "leads 1\n"
    for turn in (1, 2):
        await eventually(partial(_has_done, marks, turn))
        old.send_signal(signal.SIGSTOP)
        new = pilot(f"c{turn}")
        assert await _says(new) == f"leads {turn + 1}\n"
        await eventually(partial(_has_done, marks, turn + 1))
        old.send_signal(signal.SIGCONT)
        assert await _says(old) == "ended lost\n"
        old = new
    done = [int(line) for line in marks.read_text().split()]
    assert done == sorted(done), "an old leader acted after a newer one"
    assert set(done) == {1, 2, 3}


async def _says(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 60)


async def _has_done(marks: Path, epoch: int) -> bool:
    """True when the holder of `epoch` has done something lately."""
    return marks.exists() and str(epoch) in marks.read_text().split()[-3:]


async def _lost(lease: Any) -> bool:
    return not await lease.held()


async def _holds(lease: Any) -> bool:
    try:
        return bool(await lease.held())
    except Retryable:
        return False
