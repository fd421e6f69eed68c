"""What runs on this machine for one project, read from /proc in one pass. Stage: world -> facts.

A process belongs to a tree when its environment carries the project's tag, when its standard output is one of the
project's logs (a program that overwrites its environment to show a title loses the tag), when it lives in the session
of a process that does, or when it descends from one. Nothing here trusts a pid alone: see `Identity`.
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.drivers.project import Project
from tenfold.wire import environment

TAG_LEADER = environment.PREFIX + "LEADER"
TAG_STARTED_AT = environment.PREFIX + "STARTED_AT"
"""Tags beside those of the wire, for the drivers' own use."""

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_YOUNG_S = 3.0
"""A process this young may not have reached its `exec` yet: its environment is still its parent's, so look again."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process for good: its pid may be given to another one day, pid and `start_ticks` (since boot) are not."""

    pid: int
    start_ticks: int

    @property
    def age_s(self) -> float:
        """Seconds since it began, on the kernel's clock since boot: nobody can set that one."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_ticks / TICKS_PER_S


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of /proc/PID/stat. `cpu_ticks` includes children that ended and were waited for."""

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int
    cpu_ticks: int
    resident_pages: int

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_ticks)

    @property
    def alive(self) -> bool:
        """False for a zombie: it has ended and only waits for its parent to look."""
        return self.state not in "ZXx"

    @property
    def frozen(self) -> bool:
        """True when it was stopped (SIGSTOP, a debugger)."""
        return self.state in "Tt"


@dataclass(frozen=True, slots=True)
class TreeKey:
    """What a tree is for: `kind` is `instance`, `task` or `engine`, `id` names it (`web-12`, `postgres/local`)."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Tree:
    """All living processes of one tagged thing. `leader` is None when the process that was started has ended.

    `tags` are the `TENFOLD_*` variables it was started with.
    """

    key: TreeKey
    tags: Mapping[str, str]
    leader: Stat | None
    members: tuple[Stat, ...]

    @property
    def frozen(self) -> bool:
        """True when one of its processes is stopped."""
        return any(member.frozen for member in self.members)


def read_stat(pid: int) -> Stat | None:
    """The process's line now, or None when there is no such process (zombies are returned: see `Stat.alive`)."""
    text = _read(f"/proc/{pid}/stat", 1024)
    if not text:
        return None
    # The name stands in parentheses and may hold anything, parentheses too: what counts starts after the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        cpu_ticks=sum(int(ticks) for ticks in fields[11:15]),
        resident_pages=int(fields[21]),
    )


def read_all() -> dict[int, Stat]:
    """Every process of this machine, by pid."""
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    stats = (read_stat(pid) for pid in pids)
    return {stat.pid: stat for stat in stats if stat is not None}


def memory_bytes(members: Iterable[Stat]) -> int:
    """Memory of several processes together: what is private to each, and the largest part that they may share once."""
    private, shared = 0, 0
    for member in members:
        fields = _read(f"/proc/{member.pid}/statm", 256).split()
        if fields:
            shared_pages = int(fields[2])
            private += int(fields[1]) - shared_pages
            shared = max(shared, shared_pages)
    return (private + shared) * PAGE_BYTES


@dataclass(slots=True)
class ProcessTable:
    """Finds the project's trees. Keeps what it learned of each process: a look costs one small read per process."""

    project: Project
    _known: dict[Identity, Mapping[str, str]] = field(default_factory=dict)
    _owned: dict[Identity, TreeKey] = field(default_factory=dict)

    def look(self) -> dict[TreeKey, Tree]:
        """All trees of the project that have a living process, by what they are for."""
        stats = {pid: stat for pid, stat in read_all().items() if stat.alive and pid != os.getpid()}
        tags = self._tags(stats)
        # Whoever was seen to belong to a tree stays with it, also when its parent dies and nothing tells of it any more.
        remembered = {pid: key for pid, stat in stats.items() if (key := self._owned.get(stat.identity))}
        owner = _owners(stats, tags, remembered)
        self._owned = {stats[pid].identity: key for pid, key in owner.items()}
        trees: dict[TreeKey, list[Stat]] = {}
        for pid, key in owner.items():
            trees.setdefault(key, []).append(stats[pid])
        return {key: _tree(key, members, tags) for key, members in trees.items()}

    def tag_file(self, log: Path) -> Path:
        """Where the tags of the process that writes to `log` are kept, for those that overwrite their environment."""
        return self.project.run / "tags" / str(log.relative_to(self.project.logs)).replace("/", ":")

    def _tags(self, stats: Mapping[int, Stat]) -> dict[int, Mapping[str, str]]:
        """The tags of each process that carries any."""
        newest = max((stat.start_ticks for stat in stats.values()), default=0)
        known: dict[Identity, Mapping[str, str]] = {}
        for stat in stats.values():
            tags = self._known.get(stat.identity)
            if tags is None or (not tags and stat.start_ticks > newest - _YOUNG_S * TICKS_PER_S):
                tags = self._read_tags(stat.pid)
            known[stat.identity] = tags
        self._known = known
        return {identity.pid: tags for identity, tags in known.items() if tags}

    def _read_tags(self, pid: int) -> Mapping[str, str]:
        tags = _parse(_read(f"/proc/{pid}/environ", 1 << 20).split(b"\0"))
        if tags.get(environment.PROJECT) == self.project.id and tags.get(environment.KIND) and tags.get(environment.ID):
            return tags
        try:
            log = Path(os.readlink(f"/proc/{pid}/fd/1").removesuffix(" (deleted)"))  # noqa: PTH115 - it is no path yet
        except OSError:
            return {}
        logs = self.project.logs.resolve()
        if not log.is_relative_to(logs):
            return {}
        return _parse(_read(str(self.tag_file(self.project.logs / log.relative_to(logs))), 65536).split(b"\n"))


def _owners(
    stats: Mapping[int, Stat], tags: Mapping[int, Mapping[str, str]], remembered: Mapping[int, TreeKey]
) -> dict[int, TreeKey]:
    """Which tree each process belongs to: by its own tag, else as before, else by its session, else by its parent."""
    tagged = {pid: TreeKey(found[environment.KIND], found[environment.ID]) for pid, found in tags.items()}
    sessions = {stats[pid].session: key for pid, key in tagged.items()}
    owner = {**remembered, **tagged}
    for pid, stat in stats.items():
        if pid not in owner and stat.session in sessions:
            owner[pid] = sessions[stat.session]
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    waiting = list(owner)
    while waiting:
        parent = waiting.pop()
        for child in children.get(parent, ()):
            if child not in owner:
                owner[child] = owner[parent]
                waiting.append(child)
    return owner


def _tree(key: TreeKey, members: list[Stat], tags: Mapping[int, Mapping[str, str]]) -> Tree:
    members.sort(key=lambda stat: (stat.start_ticks, stat.pid))
    leader = None
    found: Mapping[str, str] = {}
    for member in members:
        own = tags.get(member.pid, {})
        found = found or own
        # A program that lost its environment lost this variable too: then the session's first process leads.
        leads = own.get(TAG_LEADER, str(member.session)) == str(member.pid)
        if leader is None and own and leads and member.session == member.pid:
            leader = member
    return Tree(key, found, leader, tuple(members))


def _parse(items: Iterable[bytes]) -> dict[str, str]:
    pairs = (
        item.decode(errors="replace").partition("=") for item in items if item.startswith(environment.PREFIX.encode())
    )
    return {name: value for name, _, value in pairs}


def _read(path: str, size_bytes: int) -> bytes:
    """Up to `size_bytes` of a small file; empty when it is gone or not ours to read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, size_bytes)
    except OSError:
        return b""
    finally:
        os.close(handle)
