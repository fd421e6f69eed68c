"""Keeps what is written true: links lead somewhere, commands and options exist and are told, blueprints load, figures are the code's."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from tenfold.blueprint import load
from tenfold.cli.app import COMMANDS, cli
from tenfold.console import guard, live, server
from tenfold.deciders import engines, failures, regions, ways
from tenfold.deciders.heal import rungs
from tenfold.deciders.heal.look import FACT_AGE_S_MAX
from tenfold.deciders.nearness import RTT_STEP_MS
from tenfold.deciders.release import steps
from tenfold.deciders.scale import bounds, budget, floors, pool, triggers
from tenfold.drivers import freeport, logs, source, valkey
from tenfold.facts.seen import METRIC_AGE_S_MAX, WARM_UP_S
from tenfold.loop.upkeep import RETENTION
from tenfold.model import Rollout, zones
from tenfold.model.places import DETOUR_RATIO, FIBRE_KM_PER_MS
from tenfold.proof import acts, verdict
from tenfold.proof.bounds import requests_to_show
from tenfold.render import envoy
from tenfold.wire.lease import TTL_S

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CRITIQUES.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
)
COMMANDS_PAGE = ROOT / "docs" / "commands.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MIB = 1024 * 1024


def healing_rows() -> Iterator[str]:
    """The ladder, the waits and the limits of healing as the page tells them."""
    for number, step in enumerate(rungs.LADDER, 1):
        yield f"| {number} `{step.rung}` |"
        yield f"| {step.does} |"
    restart, replace, move, _ = rungs.LADDER
    yield f"| {restart.until} times, then the next rung |"
    yield f"| until {replace.until} failures in a row |"
    yield f"| until {move.until} failures in a row |"
    yield f"0, {', '.join(f'{wait_s:g}' for wait_s in failures.BACKOFF_S[1:])} s"
    yield f"served for {failures.SETTLED_S:.0f} s ends the row"
    yield f"ends within {failures.SOON_S:.0f} s of\nbeing ready count together for {failures.FLAP_WINDOW_S / 60:.0f} minutes"
    yield f"one try every {failures.GIVEN_UP_RETRY_S / 60:.0f} min"
    yield f"goes on being tried every {engines.ASKED_RETRY_S:.0f} s"
    yield f"not answered for {engines.ENGINE_STUCK_S:.0f} s"
    yield f"gets {rungs.BACK_S:.0f} s to find that out"
    yield f"gets {rungs.BUSY_S:.0f} s to get well without new requests"
    yield f"left alone for up to {rungs.ALONE_S / 60:.0f} min"
    yield f"not seen for {FACT_AGE_S_MAX:.0f} s"
    assert (rungs.TOUCHED_RATIO, rungs.touched_max(0)) == (1 / 3, 1), "the page says a third, at least 1"
    yield f"a third of all instances, at least {rungs.AT_ONCE_MIN}"
    for whose, least in (("of a pool", rungs.POOL_REMEDIES_MIN), ("over all pools", rungs.ALL_REMEDIES_MIN)):
        each, window = rungs.REMEDIES_EACH, f"{rungs.WINDOW_S / 60:.0f} min"
        yield f"| remedies {whose} in {window} | {each} for each instance wanted, at least {least} |"
    *first, last = rungs.SHORT_S
    yield f"after {', '.join(f'{wait_s:g}' for wait_s in first)} and then every {last:g} s"


FIGURES = (
    ("scaling.md", f"ready for {WARM_UP_S:.0f} s: start-up is not load"),
    ("scaling.md", f"older than {triggers.TRAFFIC_AGE_S_MAX:.0f} s"),
    ("scaling.md", f"longer than {METRIC_AGE_S_MAX:.0f} s ago"),
    ("scaling.md", f"then waits {pool.STEP_GAP_S:.0f} s"),
    ("scaling.md", f"within the last {pool.AFTER_OUTAGE_S / 60:.0f} minutes"),
    ("scaling.md", f"The rules of {len(zones())} zones"),
    ("scaling.md", f"{'an hour' if floors.STARTS_S_MAX == 3600 else floors.STARTS_S_MAX} at the most"),
    ("scaling.md", f"the last ones took, and {floors.MARGIN_S:.0f} s"),
    ("scaling.md", f"when there was none for {bounds.REFUSED_S / 60:.0f} minutes"),
    ("scaling.md", f"Figures older than {budget.SPEND_AGE_S_MAX / 60:.0f} minutes still hold"),
    ("scaling.md", f"`day` {budget.DAY_HOURS:.0f} of them"),
    ("levels.md", f"or did in the last {bounds.REFUSED_S / 60:.0f} min"),
    (
        "how-it-works.md",
        f"after {failures.GIVE_UP_AFTER} it is given up loudly and tried every {failures.GIVEN_UP_RETRY_S / 60:.0f} min",
    ),
    *(("healing.md", row) for row in healing_rows()),
    ("how-it-works.md", f"{RETENTION.age_s / 86400:.0f} days and {RETENTION.size_bytes / 1e9:.0f} GB"),
    ("deploys.md", f"`rollout.watch` ({Rollout().watch_s:.0f} s)"),
    (
        "deploys.md",
        f"after {steps.WATCH_REQUESTS_MIN} requests, more than {steps.WATCH_ERROR_RATIO:.0%} more of them fail",
    ),
    ("deploys.md", f"{source.FILES_MAX:,} files or {source.SIZE_BYTES_MAX // 1024**3} GiB"),
    ("regions.md", f"differs by {RTT_STEP_MS:.0f} ms and by {ways.RTT_STEP_RATIO:.0%}"),
    ("regions.md", f"({FIBRE_KM_PER_MS:.0f} km of glass in a millisecond, {DETOUR_RATIO:g} times as long"),
    ("regions.md", f"filled to {ways.SPILL_RATIO:.0%}"),
    ("regions.md", f"older\nthan {regions.FACT_AGE_S_MAX:.0f} s say nothing"),
    (
        "regions.md",
        f"more than {regions.UNANSWERED_RATIO_MAX:.0%} of what is sent there gets no answer | when it lasts {regions.SOFT_S:g} s",
    ),
    ("regions.md", f"more than {regions.ERROR_RATIO_MAX:.0%} of its answers are errors"),
    ("regions.md", f"take {regions.SLOW_MS:.0f} ms longer than twice"),
    ("regions.md", f"amiss for {regions.WELL_S:.0f} s ({regions.BLIND_WELL_S:.0f} s after"),
    ("regions.md", f"takes {regions.STEPS[0]:.0%}, {regions.STEPS[1]:.0%}, {regions.STEPS[2]:.0%} and all"),
    (
        "regions.md",
        f"{regions.STEP_S:.0f} s each. One that fails again waits twice as long, up to {regions.WAIT_S_MAX / 60:.0f} minutes",
    ),
    ("regions.md", f"granted for {TTL_S:.0f} s"),
    ("console.md", f"503 once it has written nothing down for {live.STALE_S:.0f} s"),
    ("console.md", f"may then read for {guard.COOKIE_S / 86400:.0f} days"),
    ("console.md", f"bounded at\n{server.BODY_BYTES_MAX // 1024} KiB"),
    ("engines.md", f"at most {envoy.REQUESTS_MAX:,} at hand and {envoy.SOCKETS_MAX:,} sockets"),
    ("engines.md", f"its {valkey.MEMORY_BYTES_MAX // MIB} MiB are full"),
    ("engines.md", f"from {freeport._FIRST} to {freeport._LAST}"),
    ("engines.md", f"at most {2 * logs.SIZE_BYTES_MAX // MIB} MB each"),
    (
        "edge.md",
        f"At most {envoy.REPLAYS_RATIO:.0%} of the requests at hand may be second tries ({envoy.REPLAYS_MIN} at least)",
    ),
    *(("proof.md", f"| `{key}` | {weight} |") for key, weight in verdict.WEIGHTS.items()),
    *(
        ("proof.md", f"| {requests_to_show(share):,} | {requests_to_show(share, 1):,} |")
        for share in (1e-2, 1e-3, 1e-4, 1e-5)
    ),
    ("proof.md", f"half of the users, {acts.DRILL_USERS_MAX} at the most"),
    ("proof.md", f"a 95th percentile needs {verdict.TAIL_MIN}, a mean {verdict.MEAN_MIN}"),
    ("proof.md", f"{acts.RATE_MARGIN - 1:.0%} more, for\n   {acts.RATE_S:.0f} s"),
)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def calls(text: str) -> Iterator[str]:
    """Every call of `tenfold` that a page shows: lines of code blocks, and what stands in `backticks`."""
    for _, body in FENCE.findall(text):
        for line in body.splitlines():
            found = re.match(r"(?:\$ )?(tenfold [^#]+)", line)
            if found:
                yield found[1].strip()
    yield from re.findall(r"`(tenfold [^`]+)`", FENCE.sub("", text))


def problem_of(call: str) -> str:
    """Why a call is none that the command line takes; empty when it is one."""
    words = shlex.split(re.split(r" [<>] ", call)[0])[1:]
    command: click.Command = cli
    try:
        while True:
            context = click.Context(
                command, info_name=command.name, allow_interspersed_args=not isinstance(command, click.Group)
            )
            given, words, _ = command.make_parser(context).parse_args(words)
            for option in command.params:
                if isinstance(option, click.Option) and given.get(option.name or "") is not None:
                    option.type_cast_value(context, given[option.name or ""])
            if not words or not isinstance(command, click.Group):
                return ""
            found = command.get_command(context, words[0])
            if found is None:
                return f"{call}: there is no command {words[0]}"
            command, words = found, words[1:]
    except click.UsageError as error:
        return f"{call}: {error.format_message()}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file, and every picture, of a page is there."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", FENCE.sub("", text_of(page)))
    lost = [t for t in targets if "://" not in t and not t.startswith("mailto:") and not (page.parent / t).exists()]
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_shown_exist(page: Path) -> None:
    """Every call of `tenfold` that a page shows is one that the command line understands, options and all."""
    assert not [problem for call in calls(text_of(page)) if (problem := problem_of(call))]


@pytest.mark.parametrize(
    "call",
    ["tenfold fly", "tenfold up --fast", "tenfold secrets paint X", "tenfold load --rate often", "tenfold --loud up"],
)
def test_a_wrong_call_would_be_found(call: str) -> None:
    """A command, an option, a subcommand or a value that does not exist is a problem."""
    assert problem_of(call)


def test_every_command_is_told() -> None:
    """The page of commands has a part for each command, and for none that is not there."""
    told = re.findall(r"^## tenfold (\w+)$", text_of(COMMANDS_PAGE), re.MULTILINE)
    assert told == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_told(name: str) -> None:
    """Each option of a command, and each of its subcommands, stands in that command's part of the page."""
    part = text_of(COMMANDS_PAGE).partition(f"## tenfold {name}\n")[2].partition("\n## ")[0]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    subcommands = list(command.commands.values()) if isinstance(command, click.Group) else []
    options = [p.opts[-1] for c in (command, *subcommands) for p in c.params if isinstance(p, click.Option)]
    names = [f"tenfold {name} {c.name}" for c in subcommands]
    assert not [told for told in (*options, *names) if told not in part]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blueprints_that_are_shown_load(page: Path) -> None:
    """Every whole blueprint in a page's code blocks is one without problems."""
    for kind, body in FENCE.findall(text_of(page)):
        if kind == "yaml" and "services:" in body:
            load(body.encode(), name=name_of(page), default_name="shown")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_that_are_shown_exist(page: Path) -> None:
    """Every `make` that a page names is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    shown = set(re.findall(r"(?:^|`)make ([a-z-]+)", text_of(page), re.MULTILINE))
    assert shown <= targets


@pytest.mark.parametrize(("page", "sentence"), FIGURES)
def test_figures_are_those_of_the_code(page: str, sentence: str) -> None:
    """A bound that the docs name is the bound that the code has."""
    assert sentence in text_of(ROOT / "docs" / page)
