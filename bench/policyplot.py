"""Draws a day of one load under each policy into a file, for the docs: `python -m bench.policyplot docs/img/policies.svg`."""

import re
from pathlib import Path

import click

from bench.ahead import REACTIVE, hpa, kpa
from bench.loads import DAY, PLAYED, Load, loads
from tenfold.proof.report.plot import Curve, Frame, Panel, draw
from tenfold.proof.report.style import STYLE
from tenfold.sim.backtest import Backtest, Policy, Tenfold, backtest

START_MINUTES = 2
DRAWN = "input0"
"""The load that is drawn, where it is among them: cloud metrics of gocrane/crane (Apache-2.0)."""
WIDTH, HEIGHT, HEAD = 980, 190, 26


def drawn() -> Load:
    """The load to draw."""
    return next((load for load in loads() if load.name == DRAWN), loads()[0])


def panels(load: Load) -> list[tuple[str, str, Panel]]:
    """Each policy's last day, with a title and its figures over all three."""
    nothing = (None,) * PLAYED
    policies: dict[str, Policy] = {
        "Tenfold": Tenfold(load.forecasts, START_MINUTES, began_at=load.began_at),
        "its triggers alone (more above 80%, fewer below 50%)": Tenfold(nothing, START_MINUTES, trigger=REACTIVE),
        "Kubernetes HPA at 70%": hpa(0.7),
        "Kubernetes HPA at 90%": hpa(0.9),
        "Knative KPA": kpa(),
    }
    ran = {
        name: backtest(load.played, each, START_MINUTES, load.values[-PLAYED - 1]) for name, each in policies.items()
    }
    return [(name, _told(each), _panel(name, each)) for name, each in ran.items()]


def _told(each: Backtest) -> str:
    return f"{each.cost_ratio:.2f} times a clairvoyant's cost, short {each.short_ratio:.2%}, {each.actions_a_day:.0f} actions a day"


def _panel(name: str, each: Backtest) -> Panel:
    """The last day, in minutes."""
    there = [(float(i) * 60, float(count)) for i, count in enumerate(each.instances[-DAY:])]
    asked = [(float(i) * 60, load) for i, load in enumerate(each.load[-DAY:])]
    curves = (Curve("needed", 1, tuple(asked), is_area=True), Curve("instances", 4, tuple(there), is_step=True))
    return Panel(name, "instances", curves)


def picture(load: Load) -> str:
    """The whole as an SVG that asks for nothing else."""
    parts = []
    for number, (title, figures, panel) in enumerate(panels(load)):
        top = number * (HEIGHT + HEAD)
        # A picture in a page has no pointer over it: without the strips that tell values.
        inner = re.sub(
            r'<rect class="h".*?</rect>', "", draw(panel, Frame(WIDTH, HEIGHT, 0.0, DAY * 60.0), "wide"), flags=re.S
        )
        parts.append(
            f'<text class="title" x="58" y="{top + 18}">{title}<tspan class="figures" dx="12">{figures}</tspan></text>'
        )
        parts.append(inner.replace("<svg ", f'<svg y="{top + HEAD}" width="{WIDTH}" height="{HEIGHT}" ', 1))
    height = len(parts) // 2 * (HEIGHT + HEAD)
    own = "text{font:12px system-ui,sans-serif;fill:var(--soft)}.title{font-size:14px;fill:var(--ink)}"
    style = STYLE + own + ".figures{fill:var(--soft);font-size:12px}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<style>{style}</style><rect width="{WIDTH}" height="{height}" fill="var(--bg)"/>{"".join(parts)}</svg>\n'
    )


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def main(path: Path) -> None:
    """Write the picture to PATH."""
    path.write_text(picture(drawn()))
    click.echo(f"{path}: a day of {drawn().name} under each policy")


if __name__ == "__main__":
    main()
