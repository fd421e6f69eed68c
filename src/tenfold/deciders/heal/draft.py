"""What one tick of healing works on: the lines, what is around them, the memory being written and the decisions being made."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace

from tenfold.deciders.failures import FLAP_WINDOW_S, SOON_S, failed, recent
from tenfold.deciders.heal.rungs import WINDOW_S, Ill, number_of, rung_for
from tenfold.deciders.memory import EngineMemory, Failures, HealMemory, Member, MemberState, Move, Rung, Short, Try
from tenfold.effects import Decision, Effect
from tenfold.facts import InstanceState, Snapshot
from tenfold.model import Region, Release, Service

FLAPS_KEPT_MAX = 200


@dataclass(frozen=True, slots=True)
class Line:
    """How many instances of one release's service should run in a region, and why that many."""

    service: Service
    region: str
    release: str
    wanted: int
    why: str

    @property
    def key(self) -> str:
        return f"{self.service.name}@{self.region}/{self.release}"

    @property
    def pool(self) -> str:
        return f"{self.service.name}@{self.region}"


@dataclass(frozen=True, slots=True)
class Around:
    """What healing goes by beside instances.

    `releases` are all that may have instances, `regions` those of the model. `waiting_for` names what instances need that is not there
    (`postgres/local`; empty: nothing). `takes` are the regions that take traffic, `away` those of which nothing can be reached now, with
    the reason. `watched` is the release that is on its way, with one to go back to: what ails it is for its watch to judge.
    """

    releases: Mapping[str, Release]
    regions: Mapping[str, Region]
    waiting_for: str = ""
    takes: tuple[str, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)
    watched: str = ""


@dataclass(slots=True)
class Draft:
    """The memory being written and the decisions being made, within one tick."""

    snapshot: Snapshot
    around: Around
    lines: dict[str, Line]
    members: dict[str, Member]
    numbers: dict[str, int]
    failures: dict[str, Failures]
    told: dict[str, str]
    owed: dict[str, int]
    flaps: dict[str, tuple[float, ...]]
    spent: dict[str, tuple[float, ...]]
    moves: dict[str, Move]
    short: dict[str, Short]
    sure: dict[str, float]
    away_at: dict[str, float]
    engines: Mapping[str, EngineMemory]
    decisions: list[Decision] = field(default_factory=list)

    @classmethod
    def of(cls, lines: tuple[Line, ...], around: Around, snapshot: Snapshot, memory: HealMemory) -> "Draft":
        """What this tick begins with."""
        return cls(
            snapshot=snapshot,
            around=around,
            lines={line.key: line for line in lines},
            members=dict(memory.members),
            numbers=dict(memory.numbers),
            failures={key: _dated(one, snapshot.taken_at) for key, one in memory.failures.items()},
            told=dict(memory.told),
            owed=dict(memory.owed),
            flaps=dict(memory.flaps),
            spent=dict(memory.spent),
            moves=dict(memory.moves),
            short={
                region: replace(one, since=min(one.since, snapshot.taken_at)) for region, one in memory.short.items()
            },
            sure=dict(memory.sure),
            away_at=dict(memory.away_at),
            engines=memory.engines,
        )

    @property
    def now(self) -> float:
        return self.snapshot.taken_at

    def memory(self) -> HealMemory:
        """What is remembered after this tick."""
        return HealMemory(
            self.members,
            self.numbers,
            self.failures,
            self.engines,
            self.told,
            self.owed,
            self.flaps,
            self.spent,
            self.moves,
            self.short,
            self.sure,
            self.away_at,
        )

    def decide(self, subject: str, why: str, *effects: Effect, facts: tuple[str, ...] = ()) -> None:
        """One decision about `subject`."""
        self.decisions.append(Decision("", "heal", subject, effects, why, facts))

    def tell(self, subject: str, why: str, facts: tuple[str, ...] = ()) -> None:
        """Say something once, until it changes or `hush`ed."""
        if self.told.get(subject) != why:
            self.told[subject] = why
            self.decide(subject, why, facts=facts)

    def tell_once(self, subject: str, why: str) -> None:
        """Say something once of many that it holds for, until `hush`ed: who of them is named matters little."""
        if subject not in self.told:
            self.tell(subject, why)

    def hush(self, subject: str) -> None:
        """What was said of `subject` is over."""
        self.told.pop(subject, None)

    def hush_all(self, prefix: str, but: Container[str] = ()) -> None:
        """Hush every subject that begins with `prefix`, but those whose rest is in `but`."""
        for subject in tuple(self.told):
            if subject.startswith(prefix) and subject.removeprefix(prefix) not in but:
                self.hush(subject)

    def is_moved_to(self, line: Line) -> bool:
        """Whether `line` runs some for another region."""
        return any(
            line.region in moved.extra and replace(line, region=self.lines[key].region).key == key
            for key, moved in self.moves.items()
        )

    def owe(self, member: Member) -> None:
        """Forget `member`, which is lost: another is to take its place."""
        self.owed[member.line] = self.owed.get(member.line, 0) + 1

    def spend(self, pool: str) -> None:
        """One remedy more in this window."""
        self.spent[pool] = (*recent(self.spent.get(pool, ()), self.now, WINDOW_S), self.now)

    def flaps_each(self, line: str) -> int:
        """How often of late an instance of `line` ended soon after it had served, for each that is wanted (rounded up)."""
        recently = recent(self.flaps.get(line, ()), self.now, FLAP_WINDOW_S)
        wanted = self.lines[line].wanted if line in self.lines else 1
        return -(-len(recently) // max(1, wanted))

    def fail(self, id_: str, member: Member, ill: Ill, note: str) -> Rung:
        """Count a failure of `member`, and say what is to be done about it. While its release is watched each one counts, also of those
        that fall together or had served for a while: the watch counts them."""
        is_watched = bool(self.around.watched) and member.release == self.around.watched
        served_s = max(0.0, self.now - member.ready_since) if member.ready_since is not None else 0.0
        if member.was_ready and served_s < SOON_S:
            flaps = recent(self.flaps.get(member.line, ()), self.now, FLAP_WINDOW_S)
            self.flaps[member.line] = (*flaps, self.now)[-FLAPS_KEPT_MAX:]
        gave = f"{note}, after it had served for {served_s:.0f} s" if member.was_ready else note
        failures = failed(
            self.failures.get(member.line),
            note,
            self.now,
            had_served=member.was_ready,
            served_s=0.0 if is_watched else served_s,
            started_at=None if is_watched else member.asked_at,
            flaps=self.flaps_each(member.line),
            tried=Try(member.asked_at, member.cause, id_, gave),
        )
        rung = rung_for(ill, member.restarts, failures.count)
        self.failures[member.line] = replace(failures, rung=rung)
        return rung

    def outlook(self, member: Member, rung: Rung) -> str:
        """What happens next, for the end of a sentence."""
        failures = self.failures[member.line]
        if member.line not in self.lines or failures.gave_up:
            return ""
        wait_s = failures.next_start_at - self.now
        row = f"; failure {failures.count} in a row, " if failures.count > 1 else "; "
        if rung is Rung.RESTART:
            when = "" if wait_s <= 0 else f" in {wait_s:.0f} s"
            return f"{row}restarted in its place{when} (restart {member.restarts + 1})"
        return "; replaced at once" if wait_s <= 0 else f"{row}next start in {wait_s:.0f} s"

    def ladder_facts(self, member: Member, rung: Rung) -> tuple[str, ...]:
        """Where on the ladder a line is, as facts of a decision."""
        failures = self.failures.get(member.line)
        count = failures.count if failures else 0
        return (f"{number_of(rung)}: failure {count} in a row of {member.line}",)

    def ready(self, line: str) -> list[Member]:
        """The members of a line that can serve now."""
        return [m for id_, m in self.members.items() if m.line == line and self.serves(id_, m)]

    def serves(self, id_: str, member: Member) -> bool:
        """Whether an instance is meant to serve, and can."""
        seen = self.snapshot.instances.get(id_)
        return (
            member.state is MemberState.WANTED
            and seen is not None
            and seen.state is InstanceState.READY
            and not seen.frozen
        )


def _dated(failures: Failures, now: float) -> Failures:
    """With no failure that is still to come, whatever became of the clock."""
    return failures if failures.last_at <= now else replace(failures, last_at=now)
