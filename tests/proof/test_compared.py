"""The page of policies compared: whole, without a script, and nothing that a name says breaks out of it."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from tenfold.cli.simulateview import decision_view
from tenfold.effects import Decision
from tenfold.proof.report.compared import Compared, cells, compared_page, money, pool_rows, struck_text
from tenfold.proof.report.style import STYLE
from tenfold.sim.tally import Course, Made, Outcome, PoolCourse, Struck
from tests.proof.markup import HOSTILE, seen

COURSE = Course((0.0, 60.0, 120.0), (10.0, 20.0, 30.0), (40.0, 40.0, 80.0), (1, 1, 2))
STRUCK = Struck("region-kill@13:00", 60.0, 30.0, 1234.4, 5.0, 90.0)


def outcome(policy: str, cost: float, why: str = "more is asked for", name: str = STRUCK.name) -> Outcome:
    """Three minutes under a policy."""
    decision = Decision("d7", "scale", "web@local", (), why, (why,), (why,))
    return Outcome(
        policy=policy, seconds=180.0, currency="EUR", cost=cost, offered=1000.0, answered=990.0, failed=9.0, refused=1.0, short_s=18.0,
        p50_ms=20.4, p95_ms=101.6, actions=1, flaps=0, instances_min=1, instances_mean=1.4, instances_max=2,
        pools=(PoolCourse("web@local", 18.0, 1, 1.4, 2, 1, 0),), struck=(replace(STRUCK, name=name),), course=COURSE,
        made=(Made(60.0, decision), Made(61.0, replace(decision, by="heal"))),
    )  # fmt: skip


def compared(*outcomes: Outcome, told: tuple[str, ...] = ()) -> Compared:
    """That many policies of a shop, on a Monday."""
    return Compared("shop", "development", 1_767_571_200.0, told, outcomes, "tenfold simulate --users 5")


def test_the_figures_of_a_row() -> None:
    """Cost by day and month, over the oracle's, what was short and lost, times, actions and instances, in the order of the heads."""
    both = compared(outcome("tenfold", 0.11), outcome("oracle", 0.1))
    assert dict(zip(both.heads, cells(both, both.outcomes[0]), strict=True)) == {
        "EUR/day": "52.80",
        "EUR/month": "1,606",
        "x oracle": "1.100",
        "short": "10%",
        "lost": "1%",
        "p50, p95 ms": "20, 102",
        "actions/day": "480.0",
        "flaps": "0",
        "instances": "1 / 1.4 / 2",
    }
    assert cells(compared(outcome("tenfold", 1.0)), outcome("tenfold", 1.0))[2] == "-"
    assert (money(0.5), money(12_345.6)) == ("0.50", "12,346")


@pytest.mark.parametrize(
    ("struck", "says"),
    [
        (STRUCK, "1,234 requests failed, recovered 5 s after it, all whole 90 s after it"),
        (
            replace(STRUCK, failed=0.0, recovered_s=0.0),
            "0 requests failed, nothing to recover from, all whole 90 s after it",
        ),
        (
            replace(STRUCK, failed=1.0, recovered_s=None, whole_s=None),
            "1 request failed, did not recover while it was played, never whole again",
        ),
    ],
)
def test_what_a_fault_did(struck: Struck, says: str) -> None:
    """One sentence, also for what never came back."""
    assert struck_text(struck) == says


def test_pools_of_tiers_have_rows() -> None:
    """Of services that are told apart each pool has a row: its instances and how long it was short under each policy."""
    pools = PoolCourse("web@local", 18.0, 1, 1.4, 2, 1, 0), PoolCourse("web-gold@local", 0.0, 2, 2.6, 4, 1, 0)
    both = compared(*(replace(outcome(name, 0.1), pools=pools) for name in ("tenfold", "oracle")))
    apart = replace(both, told_apart=("web-gold",))
    assert pool_rows(apart) == (("web-gold@local", "2 / 2.6 / 4", "2 / 2.6 / 4"),)
    assert pool_rows(replace(both, told_apart=("web",))) == (("web@local", *["1 / 1.4 / 2, short 10%"] * 2),)
    assert "Pools of tiers" in compared_page(apart) and "Pools of tiers" not in compared_page(both)
    assert seen(compared_page(apart)).tags.count("table") == seen(compared_page(both)).tags.count("table") + 1


def test_the_page_is_whole() -> None:
    """Well-formed, no script, a plot of each policy and of all, the decisions of the first with pins that lead to them."""
    page = compared_page(compared(outcome("tenfold", 0.11), outcome("oracle", 0.1), told=("played: `days.csv`",)))
    tags = seen(page).tags
    assert "script" not in tags and tags.count("figure") == 4
    assert 'href="#why-1"' in page and 'id="why-1"' in page
    assert "<code>days.csv</code>" in page and "tenfold simulate --users 5" in page
    assert page == compared_page(
        compared(outcome("tenfold", 0.11), outcome("oracle", 0.1), told=("played: `days.csv`",))
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_breaks_out_of_the_page(text: str) -> None:
    """Whatever a file, a policy, a fault or a reason is called, it stays text."""
    shown = compared(outcome(text, 0.1, text, text), told=(text,))
    page = compared_page(replace(shown, name=text, environment=text, command=text))
    calm = seen(compared_page(compared(outcome("x", 0.1, "x", "x"), told=("x",))))
    found = seen(page)
    assert set(found.tags) <= {*calm.tags, "code"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_a_phone_reads_the_table_whole() -> None:
    """A table of more columns than a phone is wide moves within its own frame, with the policy's name in sight."""
    page = compared_page(compared(outcome("tenfold", 1.0), outcome("oracle", 1.0)))
    framed = page.partition('<div class="side" tabindex="0"><table>')[2].partition("</table></div>")[0]
    assert '<td class="name">tenfold</td>' in framed and '<th class="num">instances</th>' in framed
    narrow = STYLE.partition("@media (max-width:680px){")[2].partition("@media")[0]
    assert ".side{overflow-x:auto}" in narrow
    assert ".side .name{white-space:nowrap;position:sticky" in narrow


def test_how_sure_a_decision_was_is_said_of_what() -> None:
    """A chance of a hundredth is one that the instances are needed; what was seen is sure without more words."""
    doubted = outcome("tenfold", 1.0)
    made = replace(doubted.made[0], decision=replace(doubted.made[0].decision, confidence_ratio=0.0075))
    for given, said in ((replace(doubted, made=(made,)), "0.75% that it is needed"), (doubted, "100%")):
        console = Console(width=120, file=StringIO())
        console.print(decision_view(compared(given), "d7"))
        [line] = [each for each in console.file.getvalue().splitlines() if "sure" in each]  # type: ignore[attr-defined]
        assert line.split(maxsplit=1)[1] == said
