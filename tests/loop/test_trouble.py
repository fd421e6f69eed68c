"""A journal that can't be used says so in one sentence, loses nothing that was written, and works again by itself."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.effects import StopInstance
from tenfold.facts import DeployRequest, UpRequest
from tenfold.loop import Desk, Journal, JournalError, JournalReader, replay, store
from tenfold.loop.store import SCHEMA_VERSION
from tenfold.model import Release

Fill = Callable[..., None]

WRITER = """
import sys
from pathlib import Path
from tenfold.deciders import Decided, Memory
from tenfold.effects import Decision, StopInstance
from tenfold.facts import InstanceSeen, InstanceState, Snapshot
from tenfold.loop import Entry, Journal, Retention, tidy
from tenfold.model import Model
journal = Journal(Path(sys.argv[1]))
journal.open()
model = Model("shop", {}, {})
while True:
    n = journal.memory.decisions + 1
    seen = InstanceSeen("web-1", "web", "local", "r1", InstanceState.READY, 1.0, 1.0, float(n))
    snapshot = journal.seen(Snapshot(float(n), instances={"web-1": seen}))
    decision = Decision(f"d{n}", "test", "x", (StopInstance("web-1", 1.0),), "because")
    journal.append(Entry(model, snapshot, Decided((decision,), (), Memory(decisions=n))))
    print(n, flush=True)
    if n % 400 == 0:
        tidy(journal.path, Retention(size_bytes=2_000_000))
"""


def test_killed_at_any_moment(path: Path) -> None:
    """A writer killed with -9 in the middle of anything leaves whole ticks: the last memory is at least what it had reported."""
    dice = random.Random(7)
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        try:
            lines = [writer.stdout.readline()]
            until = time.monotonic() + dice.uniform(0.0, 0.4)
            while time.monotonic() < until:
                lines.append(writer.stdout.readline())
        finally:
            os.kill(writer.pid, signal.SIGKILL)
            lines += writer.stdout.readlines()
            writer.wait()
            writer.stdout.close()
        reported = int([line for line in lines if line.endswith("\n")][-1])
        journal = Journal(path)
        journal.open()
        try:
            assert journal.memory.decisions in (reported, reported + 1)
            with JournalReader(path) as reader:
                span = reader.span()
                assert span is not None and span[1] == journal.seq
                ticks = list(reader.ticks(*span))
            assert [t.seq for t in ticks] == list(range(span[0], span[1] + 1))
            for tick in ticks:
                assert [d.id for d in tick.decisions] == [f"d{tick.memory.decisions}"]
                assert tick.memory.decisions == tick.memory_before.decisions + 1 == int(tick.snapshot.taken_at)
        finally:
            journal.close()


def test_another_program_keeps_it_locked(path: Path, fill: Fill) -> None:
    """While somebody holds the write lock the tick fails with a sentence; when they let go the next one is written."""
    journal = Journal(path)
    journal.open()
    fill(journal, 3)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="another program keeps it locked"):
        fill(journal, 1)
    assert journal.memory.decisions == 3
    other.execute("ROLLBACK")
    other.close()
    fill(journal, 2)
    assert journal.memory.decisions == 5
    with JournalReader(path) as reader:
        assert [t.memory.decisions for t in reader.ticks(1, 99)] == [1, 2, 3, 4, 5]
    journal.close()


def test_readers_do_not_wait_for_a_writer(path: Path, fill: Fill) -> None:
    """A reader in the middle of a walk, a second one, and an open write transaction do not hold each other up."""
    journal = Journal(path)
    journal.open()
    fill(journal, 70)
    with JournalReader(path) as first, JournalReader(path) as second:
        walk = first.ticks(1, 10**6)
        next(walk)
        fill(journal, 5)
        latest = second.latest()
        assert latest is not None and latest.seq == 75
        assert len(list(walk)) == 74
    journal.close()


FULL = """
import resource, sys
from pathlib import Path
from tenfold.deciders import Decided, Memory
from tenfold.facts import Snapshot
from tenfold.loop import Entry, Journal, JournalError
from tenfold.model import Model
journal = Journal(Path(sys.argv[1]))
journal.open()
def write():
    n = journal.memory.decisions + 1
    snapshot = journal.seen(Snapshot(float(n), observed={"x" * 20_000 + str(n): 1.0}))
    journal.append(Entry(Model("shop", {}, {}), snapshot, Decided((), (), Memory(decisions=n))))
write()
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
failed = 0
for _ in range(60):
    try:
        write()
    except JournalError as error:
        failed, sentence = failed + 1, str(error)
assert failed > 5, failed
assert "can't be" in sentence and "free" in sentence or "ulimit" in sentence, sentence
held = journal.memory.decisions
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for _ in range(5):
    write()
assert journal.memory.decisions == held + 5
journal.close()
again = Journal(Path(sys.argv[1]))
again.open()
assert again.memory.decisions == held + 5
"""


def test_no_space_left(path: Path) -> None:
    """When no more may be written, ticks fail with a sentence and nothing of them is there; with space again it goes on."""
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    with JournalReader(path) as reader:
        span = reader.span()
        assert span is not None
        counts = [t.memory.decisions for t in reader.ticks(*span)]
    assert counts == list(range(1, len(counts) + 1))


def test_removed_while_it_is_used(path: Path, fill: Fill) -> None:
    """A journal whose file is taken away is noticed at the next tick, and a new one is begun with all that must be remembered."""
    journal = Journal(path)
    journal.open()
    fill(journal, 3)
    for file in path.parent.glob("journal.db*"):
        file.unlink()
    with pytest.raises(JournalError, match="removed or replaced"):
        fill(journal, 1)
    fill(journal, 2)
    with JournalReader(path) as reader:
        assert [(t.seq, t.memory.decisions) for t in reader.ticks(1, 99)] == [(4, 4), (5, 5)]
    journal.close()


def test_what_runs_stays_known_when_the_file_is_replaced(path: Path, fill: Fill, release: Release) -> None:
    """The release that serves is in the file that is begun when its own was taken away, and in an older one that is put back."""
    newer = replace(release, id="r2")
    journal = Journal(path)
    journal.open()
    Desk(path).append(UpRequest("up", 1.0, release))
    fill(journal, 1)
    shutil.copy(path, path.with_name("older"))
    Desk(path).append(DeployRequest("deploy", 2.0, newer))
    assert list(journal.releases()) == [release.id, "r2"]
    for put in (lambda: None, lambda: shutil.copy(path.with_name("older"), path)):
        for file in path.parent.glob("journal.db*"):
            file.unlink()
        put()
        with pytest.raises(JournalError, match="removed or replaced"):
            fill(journal, 1)
        assert journal.releases() == {release.id: release, "r2": newer}
        fill(journal, 1)
    journal.close()


def spoil_header(path: Path) -> None:
    """Not a database any more."""
    path.write_bytes(b"this was a journal once" * 500)


def spoil_pages(path: Path) -> None:
    """A database with garbage from its second page on."""
    body = bytearray(path.read_bytes())
    body[4096:] = bytes(255 for _ in body[4096:])
    path.write_bytes(bytes(body))


def cut(path: Path) -> None:
    """Only the first part of the file is left."""
    os.truncate(path, 5000)


def spoil_tick(path: Path) -> None:
    """A sound database with a tick that is none."""
    with sqlite3.connect(path) as db:
        db.execute("UPDATE ticks SET body = x'c1c1'")
    db.close()


@pytest.mark.parametrize("spoil", (spoil_header, spoil_pages, cut, spoil_tick))
def test_a_damaged_journal(path: Path, fill: Fill, spoil: Callable[[Path], None]) -> None:
    """Damage of any kind is a sentence that names the file and says what to do, for the loop and for readers, never a traceback."""
    journal = Journal(path)
    journal.open()
    fill(journal, 100, effects=lambda i: (StopInstance(f"web-{i}", 1.0),))
    journal.close()
    spoil(path)
    with pytest.raises(JournalError, match=r"journal\.db .*move it away"):
        journal = Journal(path)
        journal.open()
    journal.close()
    with pytest.raises(JournalError, match=r"journal\.db .*move it away"), JournalReader(path) as reader:
        reader.latest()


def test_not_a_journal_at_all(path: Path) -> None:
    """Another program's database is left alone."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(JournalError, match="another program's database"):
        Journal(path).open()


def test_another_makes_it_at_the_same_moment(path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who found no journal, and finds one when about to make it, uses that one, and does not take it for another program's."""
    make = store._create

    def late(db: sqlite3.Connection, path: Path) -> None:
        monkeypatch.setattr(store, "_create", make)
        other = Journal(path)
        other.open()
        fill(other, 1)
        other.close()
        make(db, path)

    monkeypatch.setattr(store, "_create", late)
    journal = Journal(path)
    journal.open()
    assert journal.seq == 1
    journal.close()


def test_written_by_a_newer_program(path: Path, fill: Fill) -> None:
    """A journal of a later format is refused with the advice to upgrade, and not touched."""
    journal = Journal(path)
    journal.open()
    fill(journal, 1)
    journal.close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(JournalError, match="upgrade tenfold"):
        Journal(path).open()
    with pytest.raises(JournalError, match="upgrade tenfold"):
        JournalReader(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A journal in a folder that is absent says what to check."""
    with pytest.raises(JournalError, match="check that its folder exists"):
        Journal(tmp_path / "absent" / "journal.db").open()


def test_replay_of_a_damaged_journal(path: Path, fill: Fill) -> None:
    """Replaying damage is the same sentence, not a difference."""
    journal = Journal(path)
    journal.open()
    fill(journal, 5)
    journal.close()
    spoil_tick(path)
    with pytest.raises(JournalError, match="is damaged"):
        replay(path, 1, 5, lambda model, snapshot, memory: pytest.fail("nothing to decide on"))
