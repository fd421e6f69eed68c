"""`python -m bench`: measure every row, print the table; 1 when a row misses its goal, 2 when one could not be measured."""

import asyncio
import json
import signal
import sys
import time
import traceback
from pathlib import Path

import click

from bench.rows import ROWS, SETS
from bench.table import Measured, Unmeasured, as_data, show, status
from tenfold.loop import JournalError
from tenfold.proof.load import LoadError

EXPECTED = (Unmeasured, LoadError, JournalError, OSError)
"""What the world may do to a row: told in one sentence. Anything else is a mistake of the bench, and told whole."""


@click.command()
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there too.")
@click.option(
    "--set",
    "set_",
    type=click.Choice(list(SETS)),
    default="loop",
    help="Which rows (loop: one region; proof: what proves it; brain: forecasts and policies).",
)
@click.option("--only", help="Only these rows, with commas between them.")
@click.option("--list", "is_list", is_flag=True, help="Name the rows, and measure nothing.")
def main(path: Path | None, set_: str, only: str | None, is_list: bool) -> None:
    """Measure what Tenfold must show, on the real engines, and print it beside its reference (about 20 minutes)."""
    names = [name.strip() for name in only.split(",")] if only else list(SETS[set_])
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise click.UsageError(f"there is no row {unknown[0]}: choose from {', '.join(ROWS)}")
    if is_list:
        for name, row in ROWS.items():
            click.echo(f"{name:20} {row.drill}")
        return
    rows: list[Measured] = []
    at = time.time()
    try:
        asyncio.run(_measure_all(names, rows))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("stopped: everything that was started is gone again", err=True)
        raise SystemExit(130) from None
    finally:
        if rows:
            show(rows)
        if path is not None:
            path.write_text(json.dumps(as_data(rows, at), indent=1) + "\n")
    raise SystemExit(status(rows))


async def _measure_all(names: list[str], rows: list[Measured]) -> None:
    main_task = asyncio.current_task()
    assert main_task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main_task.cancel)
    for number, name in enumerate(names, 1):
        rows.append(await _measure(name, f"[{number}/{len(names)}] {name}"))


async def _measure(name: str, label: str) -> Measured:
    """One row; what goes wrong in it is told and does not end the others."""
    row, since_s = ROWS[name], time.monotonic()

    def tell(text: str) -> None:
        click.echo(f"{label} {time.monotonic() - since_s:4.0f} s  {text}", err=True)

    tell(row.drill)
    task = asyncio.ensure_future(row.measure(tell))
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    took_s, error = time.monotonic() - since_s, task.exception()
    if error is None:
        return Measured(name, row.drill, tuple(task.result()), took_s=took_s)
    if not isinstance(error, EXPECTED):
        traceback.print_exception(error, file=sys.stderr)
    return Measured(name, row.drill, error=str(error) or type(error).__name__, took_s=took_s)


if __name__ == "__main__":
    main()
