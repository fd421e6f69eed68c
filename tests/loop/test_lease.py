"""One holder at a time on a machine, each with an epoch of its own, whatever way the one before ended."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tenfold.loop import FileLease, JournalError, LeaseError

HOLDER = """
import asyncio, sys, time
from pathlib import Path
from tenfold.loop import FileLease
print(asyncio.run(FileLease(Path(sys.argv[1])).acquire()), flush=True)
time.sleep(60)
"""


ASKER = """
import sys
from pathlib import Path
from tenfold.loop import FileLease
lease = FileLease(Path(sys.argv[1]))
print(1, flush=True)
while True:
    lease.holder()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lease lies, in a folder that is not there yet."""
    return tmp_path / "run" / "lease"


async def test_the_second_is_told_who_holds_it(path: Path) -> None:
    """A second control plane gets no lease and a sentence that names the holder's pid; nobody holds it after the release."""
    first, second = FileLease(path), FileLease(path)
    assert first.holder() is None
    assert await first.acquire() == 1
    assert await second.acquire() is None
    assert await first.held() and not await second.held()
    assert f"process {os.getpid()}" in second.taken() and "tenfold down" in second.taken()
    await first.release()
    assert not await first.held()
    assert second.holder() is None
    assert await second.acquire() == 2
    await second.release()


async def test_a_holder_killed_leaves_the_lease_free(path: Path) -> None:
    """Holders killed with -9 one after the other: each next one gets a higher epoch at once."""
    for epoch in (1, 2, 3):
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == f"{epoch}\n"
            mine = FileLease(path)
            assert await mine.acquire() is None
            assert mine.holder() == holder.pid
        finally:
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait()
            holder.stdout.close()
    mine = FileLease(path)
    assert await mine.acquire() == 4
    await mine.release()


async def test_asking_for_the_holder_does_not_keep_others_out(path: Path) -> None:
    """Commands that ask who holds a free lease, all the time, do not make a control plane believe that it is taken."""
    mine = FileLease(path)
    assert await mine.acquire() == 1
    await mine.release()
    asker = subprocess.Popen([sys.executable, "-c", ASKER, str(path)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert asker.stdout is not None
    try:
        asker.stdout.readline()
        for epoch in range(2, 12):
            assert await mine.acquire() == epoch
            await mine.release()
    finally:
        os.kill(asker.pid, signal.SIGKILL)
        asker.wait()
        asker.stdout.close()


async def test_a_look_that_takes_long_keeps_nobody_out(path: Path) -> None:
    """Whoever asks for the holder may be held up in the middle of it: a control plane waits for that, and refuses nothing."""
    mine, other = FileLease(path), FileLease(path)
    assert await mine.acquire() == 1
    await mine.release()
    with path.open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        acquiring = asyncio.create_task(mine.acquire())
        await asyncio.sleep(0.3)
        assert not acquiring.done()
        assert other.holder() is None
    assert await acquiring == 2
    assert await other.acquire() is None
    await mine.release()


async def test_the_newest_epoch_is_asked_for_under_the_lock(path: Path) -> None:
    """Who does not get the lease asks no journal, and one that can't be read lets go of the lock."""

    def unreadable() -> int:
        raise JournalError("damaged")

    first, second = FileLease(path), FileLease(path, unreadable)
    assert await first.acquire() == 1
    assert await second.acquire() is None
    await first.release()
    with pytest.raises(JournalError, match="damaged"):
        await second.acquire()
    assert second.holder() is None
    assert await first.acquire() == 2
    await first.release()


async def test_a_lease_whose_file_went_is_lost(path: Path) -> None:
    """When the file is removed somebody else could lock a new one: the holder finds that it holds nothing any more."""
    first = FileLease(path)
    assert await first.acquire() == 1
    path.unlink()
    assert not await first.held()
    second = FileLease(path)
    assert await second.acquire() == 2
    assert await second.held() and not await first.held()
    await first.release()
    await second.release()


async def test_the_epoch_never_falls_below_the_journals(path: Path) -> None:
    """With the whole folder gone, epochs go on above the newest that the journal knows, and above the file's if that is higher."""
    first = FileLease(path, lambda: 41)
    assert await first.acquire() == 42
    await first.release()
    second = FileLease(path, lambda: 7)
    assert await second.acquire() == 43
    await second.release()


async def test_a_damaged_epoch_is_refused(path: Path) -> None:
    """Nobody acts under an epoch that could have been used before: a damaged file is a sentence, and the lock is let go."""
    lease = FileLease(path)
    assert await lease.acquire() == 1
    await lease.release()
    epoch = path.with_name("lease.epoch")
    epoch.write_text("12x")
    with pytest.raises(LeaseError, match=r"lease\.epoch is damaged: remove it"):
        await lease.acquire()
    epoch.unlink()
    assert await lease.acquire() == 1
    await lease.release()
