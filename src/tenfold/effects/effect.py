"""The effects themselves. Emitted by deciders, settled by `arbitrate`, sent as an `Order`,
carried out by one driver each.

`key` is an effect's idempotency key: the same key is carried out once, however often it is sent. `subject` is what it
acts upon: `arbitrate` lets one effect through per subject and tick. `expected_generation` is the generation of the
subject that the decider saw (0: absent); a driver that finds another one refuses.
"""

from dataclasses import dataclass

from tenfold.model import EntryTable, RouteTable


@dataclass(frozen=True, slots=True)
class StartEngine:
    """Start the embedded engine `kind` (`gateway`, `entry`, `postgres`, `valkey`, `voter`, `control`) of `region`;
    `attempt` counts starts, from 1.

    A store that is to follow the primary in region `follow` starts as its standby: with a copy of its data when it has none,
    wound back to where the two parted when it was a primary itself. `is_synchronous` is how a primary is to run.
    """

    kind: str
    region: str
    attempt: int = 1
    expected_generation: int = 0
    follow: str = ""
    is_synchronous: bool = False

    @property
    def subject(self) -> str:
        return f"engine/{self.kind}/{self.region}"

    @property
    def key(self) -> str:
        return f"start-engine:{self.kind}/{self.region}#{self.attempt}"


@dataclass(frozen=True, slots=True)
class StopEngine:
    """Stop the engine `kind` of `region` cleanly, or `at_once` where it must not do another thing; its data stays."""

    kind: str
    region: str
    expected_generation: int = 0
    at_once: bool = False

    @property
    def subject(self) -> str:
        return f"engine/{self.kind}/{self.region}"

    @property
    def key(self) -> str:
        """A fence does not wait behind a clean stop that is under way."""
        verb = "fence" if self.at_once else "stop"
        return f"{verb}-engine:{self.kind}/{self.region}@{self.expected_generation}"


@dataclass(frozen=True, slots=True)
class Promote:
    """Make the standby of store `kind` in `region` the primary. `number` counts the promotions of this store, from 1."""

    kind: str
    region: str
    number: int
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return f"engine/{self.kind}/{self.region}"

    @property
    def key(self) -> str:
        return f"promote:{self.kind}/{self.region}#{self.number}"


@dataclass(frozen=True, slots=True)
class StartInstance:
    """Start instance `instance` (an id never used before, `web-12`) of a release's service; with an `attempt` above 1 restart one that
    has ended in its place, under the same id and at the same port."""

    instance: str
    service: str
    region: str
    release: str
    expected_generation: int = 0
    attempt: int = 1

    @property
    def subject(self) -> str:
        return f"instance/{self.instance}"

    @property
    def key(self) -> str:
        return f"start:{self.instance}" + (f"#{self.attempt}" if self.attempt > 1 else "")


@dataclass(frozen=True, slots=True)
class StopInstance:
    """End an instance that gets no new requests any more:
    SIGTERM, then SIGKILL after `grace_s`, its whole process tree."""

    instance: str
    grace_s: float
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return f"instance/{self.instance}"

    @property
    def key(self) -> str:
        return f"stop:{self.instance}"


@dataclass(frozen=True, slots=True)
class RunTask:
    """Run `command` of a release's service once, to its end, at most `timeout_s`.
    `task` is its id and what makes it happen once.

    `kind` is `build`, `release` (the release hook) or `schedule`.
    """

    task: str
    kind: str
    service: str
    release: str
    command: str
    timeout_s: float = 900.0
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return f"task/{self.task}"

    @property
    def key(self) -> str:
        return f"run:{self.task}"


@dataclass(frozen=True, slots=True)
class StopTask:
    """End a running task: SIGTERM, then SIGKILL after `grace_s`, its whole process tree."""

    task: str
    grace_s: float = 5.0
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return f"task/{self.task}"

    @property
    def key(self) -> str:
        return f"stop-task:{self.task}"


@dataclass(frozen=True, slots=True)
class PublishRoutes:
    """Give a region's gateway `table`; `expected_generation` counts tables published to it so far."""

    table: RouteTable
    table_digest: str
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return f"routes/{self.table.region}"

    @property
    def key(self) -> str:
        return f"publish:{self.table.region}@{self.expected_generation}:{self.table_digest}"


@dataclass(frozen=True, slots=True)
class PublishEntry:
    """Give the global entry `table`; `expected_generation` counts tables published to it so far."""

    table: EntryTable
    table_digest: str
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return "routes/entry"

    @property
    def key(self) -> str:
        return f"publish:entry@{self.expected_generation}:{self.table_digest}"


@dataclass(frozen=True, slots=True)
class RemoveRelease:
    """Delete the files of a release that can no longer be gone back to."""

    release: str
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return f"release/{self.release}"

    @property
    def key(self) -> str:
        return f"remove:{self.release}"


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """Tell the person who made `request` how it ended; carried out by the loop, in the journal."""

    request: str
    ok: bool
    text: str
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return f"request/{self.request}"

    @property
    def key(self) -> str:
        return f"answer:{self.request}"


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell people of an alert: POST it to `webhook`, or give it to `command`, as one rung (`rung`, from 0) of the escalation says.

    `state` is `firing` (it has just begun), `still_firing` (it has lasted until this rung) or `resolved`. `since` is when it began,
    and with `alert` names it for good. `answered_by` are the decisions that answered it so far. What is sent again after a
    failure has the same key: whoever gets it twice can tell.
    """

    alert: str
    severity: str
    state: str
    since: float
    text: str
    rung: int
    webhook: str | None = None
    command: str | None = None
    answered_by: tuple[str, ...] = ()
    expected_generation: int = 0

    @property
    def subject(self) -> str:
        return f"alert/{self.alert}/{self.rung}"

    @property
    def key(self) -> str:
        return f"notify:{self.alert}@{self.since:.3f}:{self.state}#{self.rung}"


Effect = (
    StartEngine
    | StopEngine
    | Promote
    | StartInstance
    | StopInstance
    | RunTask
    | StopTask
    | PublishRoutes
    | PublishEntry
    | RemoveRelease
    | AnswerRequest
    | Notify
)


@dataclass(frozen=True, slots=True)
class Order:
    """An effect as it is sent to a driver: under which lease `epoch` (a fencing token), by which decision."""

    effect: Effect
    epoch: int
    decision: str
    sent_at: float

    @property
    def key(self) -> str:
        return self.effect.key
