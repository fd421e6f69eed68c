"""Candidates and voters that crash, freeze, forget and drift, over a network that loses and delays: never two who may act at once."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tenfold.drivers.quorum import MARGIN_S, Sight, Tenure, Vigil
from tenfold.drivers.voter import Vote
from tenfold.wire.lease import TTL_S

RATES = st.floats(0.92, 1.09)
"""How fast a clock goes. The fastest gains on the slowest no more than the margin allows: 1.09 / 0.92 < TTL / (TTL - margin)."""
assert TTL_S / (TTL_S - MARGIN_S) > 1.09 / 0.92

NAMES = ("a", "b", "c")
Twin = Any


@dataclass
class Round:
    """Candidate `name` asked the voters something at `asked_s` of its own clock; `votes` have come back."""

    name: str
    epoch: int
    asked_s: float
    is_renewal: bool
    votes: list[Vote] = field(default_factory=list)


@dataclass
class Message:
    """To voter `voter`, or (with a `vote`) back from it. Without a round it lets go."""

    voter: int
    name: str
    epoch: int
    round: Round | None
    vote: Vote | None = None


class World(RuleBasedStateMachine):
    """Three candidates, and voters that `new_twin` makes."""

    new_twin: Callable[[], Twin]

    @initialize(
        count=st.sampled_from((3, 5)),
        rates=st.lists(RATES, min_size=8, max_size=8),
    )
    def begin(self, count: int, rates: list[float]) -> None:
        self.at_s = 1000.0
        self.voters = [self.new_twin() for _ in range(count)]
        for voter in self.voters:
            voter.epoch = 0
        self.offsets_s = [0.0] * count
        self.rates = rates
        self.candidates = {name: Tenure(count, name) for name in NAMES}
        self.rounds: list[Round] = []
        self.network: list[Message] = []
        self.elected: list[int] = []

    def clock_s(self, name: str) -> float:
        return self.at_s * self.rates[NAMES.index(name)]

    def voter_ms(self, voter: int) -> int:
        return int((self.at_s * self.rates[3 + voter] + self.offsets_s[voter]) * 1000)

    def send(self, name: str, epoch: int, is_renewal: bool) -> None:
        # One question at a time: whoever asks again has given the one before up. What was sent of it is still under way.
        asked = Round(name, epoch, self.clock_s(name), is_renewal)
        self.rounds = [*(r for r in self.rounds if r.name != name), asked]
        self.network += [Message(i, name, epoch, asked) for i in range(len(self.voters))]

    @rule(name=st.sampled_from(NAMES), is_renewal=st.booleans())
    def asks(self, name: str, is_renewal: bool) -> None:
        """For the lease, or, holding it, for its renewal."""
        epoch = self.candidates[name].epoch
        if not is_renewal:
            newest = max(0, *self.elected, *(voter.epoch or 0 for voter in self.voters))
            epoch = self.candidates[name].next_epoch(newest)
        if epoch:
            self.send(name, epoch, is_renewal)

    @rule(
        name=st.sampled_from(NAMES),
        is_renewal=st.booleans(),
        pause_s=st.sampled_from((0.0, 0.0, 0.5, 1.0, 2.4, 3.2, 60.0)),
        reached=st.lists(st.sampled_from((True, True, True, False)), min_size=5, max_size=5),
        late_s=st.sampled_from((0.0, 0.0, 0.3, 2.0)),
    )
    def asks_and_counts(self, name: str, is_renewal: bool, pause_s: float, reached: list[bool], late_s: float) -> None:
        """After a pause, with nothing between, but that some voters are not reached and the answers are late."""
        self.at_s += pause_s
        before = self.rounds
        self.asks(name, is_renewal)
        if self.rounds is not before:
            self.only(reached)
            self.at_s += late_s
            self.count(self.rounds.pop())

    @rule(count=st.integers(1, 12), of=st.randoms(use_true_random=False))
    def messages_arrive(self, count: int, of: Any) -> None:
        for _ in range(min(count, len(self.network))):
            self.arrives(self.network.pop(of.randrange(len(self.network))))

    @rule()
    def all_messages_arrive(self) -> None:
        while self.network:
            self.arrives(self.network.pop(0))

    def arrives(self, message: Message) -> None:
        voter = self.voters[message.voter]
        if message.round is None:
            voter.let_go(message.name, message.epoch)
        elif message.vote is None:
            vote, epoch, holder, left = voter.ask(self.voter_ms(message.voter), message.name, message.epoch)
            message.vote = Vote(vote > 0, vote == 1, epoch, holder, left / 1000)
            self.network.append(message)
        else:
            message.round.votes.append(message.vote)

    def only(self, reached: list[bool]) -> None:
        """What was just sent arrives and is answered where voters are `reached`, and gets lost elsewhere."""
        sent = [message for message in self.network if message.round is self.rounds[-1]]
        self.network = [message for message in self.network if message.round is not self.rounds[-1]]
        for message, arrives in zip(sent, reached, strict=False):
            if arrives:
                self.arrives(message)
                self.arrives(self.network.pop())

    @rule(of=st.randoms(use_true_random=False))
    def a_message_is_lost(self, of: Any) -> None:
        if self.network:
            self.network.pop(of.randrange(len(self.network)))

    @rule(of=st.randoms(use_true_random=False))
    def a_candidate_counts(self, of: Any) -> None:
        """It may have been frozen between asking and counting: time has passed, and others have led."""
        if self.rounds:
            self.count(self.rounds.pop(of.randrange(len(self.rounds))))

    def count(self, asked: Round) -> None:
        tenure, at_s = self.candidates[asked.name], self.clock_s(asked.name)
        if asked.is_renewal:
            if asked.epoch == tenure.epoch:
                tenure.renewed(asked.asked_s, at_s, asked.votes)
        elif asked.epoch > tenure.epoch and tenure.elected(asked.epoch, asked.asked_s, asked.votes):
            if tenure.holds(at_s):
                assert asked.epoch > max(self.elected, default=0), "an epoch that is not newer than all before"
                self.elected.append(asked.epoch)
        elif not asked.is_renewal:
            for voter in range(len(self.voters)):
                self.network.append(Message(voter, asked.name, asked.epoch, None))

    @rule(name=st.sampled_from(NAMES))
    def resigns(self, name: str) -> None:
        tenure = self.candidates[name]
        if tenure.epoch:
            self.network += [Message(i, name, tenure.epoch, None) for i in range(len(self.voters))]
            tenure.resign()
            self.rounds = [r for r in self.rounds if r.name != name]

    @rule(voter=st.integers(0, 4), harm=st.sampled_from(("restart", "lose data", "second back", "hour back")))
    def harm_is_done(self, voter: int, harm: str) -> None:
        voter %= len(self.voters)
        match harm:
            case "restart":
                self.voters[voter].restart()
            case "lose data":
                self.voters[voter].lose_data()
            case _:
                self.offsets_s[voter] -= 1.0 if harm == "second back" else 3600.0

    @invariant()
    def one_may_act(self) -> None:
        if hasattr(self, "candidates"):
            acting = [t.holder for t in self.candidates.values() if t.holds(self.clock_s(t.holder))]
            assert len(acting) <= 1, f"{acting} may act at once"


def world_of(new_twin: Callable[[], Twin]) -> type[World]:
    """The world over such voters."""
    return type("World", (World,), {"new_twin": staticmethod(new_twin)})


def test_never_two_may_act_at_once(new_twin: Callable[[], Twin]) -> None:
    """Whatever dies, freezes, forgets, drifts or gets lost: one may act at any time, and epochs grow with every one who may."""
    run_state_machine_as_test(
        world_of(new_twin), settings=settings(max_examples=100, stateful_step_count=30, deadline=None)
    )


@pytest.mark.parametrize("first_seed", range(0, 400, 100))
def test_long_random_lives(new_twin: Callable[[], Twin], first_seed: int) -> None:
    """The same world lived through by dice alone: long lives with many terms, a hundred seeds at a time."""
    kind = world_of(new_twin)
    for seed in range(first_seed, first_seed + 100):
        dice, world = random.Random(seed), kind()
        rates = [dice.choice((0.92, 1.0, 1.09)) for _ in range(8)]
        world.begin(dice.choice((3, 3, 5)), rates)
        for _ in range(200):
            match dice.random():
                case luck if luck < 0.7:
                    reached = [dice.random() < 0.8 for _ in range(5)]
                    pause_s, late_s = dice.choice((0.0, 0.0, 0.5, 1.0, 2.4, 3.2)), dice.choice((0.0, 0.0, 0.3, 2.0))
                    world.asks_and_counts(dice.choice(NAMES), dice.random() < 0.5, pause_s, reached, late_s)
                case luck if luck < 0.78:
                    world.asks(dice.choice(NAMES), dice.random() < 0.5)
                case luck if luck < 0.86:
                    world.messages_arrive(dice.randrange(12), dice)
                case luck if luck < 0.9:
                    world.a_candidate_counts(dice)
                case luck if luck < 0.93:
                    world.resigns(dice.choice(NAMES))
                case _:
                    world.harm_is_done(
                        dice.randrange(5), dice.choice(("restart", "restart", "lose data", "second back"))
                    )
            try:
                world.one_may_act()
            except AssertionError as broken:
                raise AssertionError(f"seed {seed}: {broken}") from broken


def test_someone_who_looks_on_is_not_fooled_by_a_clock_set_ahead() -> None:
    """A voter whose clock jumped says that its vote is free; who looked a moment before knows when that can be."""
    vigil = Vigil()

    def sight(left_s: float, holder: str = "a") -> Sight:
        return Sight(3, {place: Vote(False, False, 4, holder, left_s) for place in ("eu", "us", "au")})

    assert vigil.free_s(sight(2.9), 100.0) == pytest.approx(102.9)
    assert vigil.free_s(sight(0.0), 100.5) == pytest.approx(102.9), "it jumped"
    assert vigil.free_s(sight(0.0), 103.0) <= 103.0
    assert vigil.free_s(sight(2.9), 104.0) == pytest.approx(106.9)
    assert vigil.free_s(sight(0.0, holder=""), 104.5) <= 104.5, "it was let go"
    assert vigil.free_s(Sight(3, {"eu": Vote(False, False, 4, "", 0.0)}), 105.0) == float("inf"), (
        "one of three is no majority"
    )
