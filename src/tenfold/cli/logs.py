"""`tenfold logs`: what instances, tasks and engines print, merged or one alone. Stage: log files -> a person."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import click

from tenfold.cli.here import Fail, Here, own
from tenfold.drivers.logs import tail
from tenfold.drivers.secrets import Secrets
from tenfold.ports import DriverError

FOLLOW_S = 0.2
BEGIN_BYTES_MAX = 256 * 1024
COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_yellow")


@dataclass(slots=True)
class Tail:
    """One log file and how far it was read."""

    name: str
    path: Path
    offset: int = 0

    def last(self, lines: int) -> list[str]:
        """The last whole lines there are now; `news` goes on exactly behind them."""
        try:
            with self.path.open("rb") as file:
                begin = max(0, file.seek(0, os.SEEK_END) - BEGIN_BYTES_MAX)
                file.seek(begin)
                text = file.read()
        except FileNotFoundError:
            return []
        end = text.rfind(b"\n") + 1
        self.offset = begin + end
        found = text[:end].decode(errors="replace").splitlines()[1 if begin else 0 :]
        return found[-lines:] if lines else []

    def news(self) -> list[str]:
        """Whole lines since the last call; a file that was cut is read from its beginning."""
        try:
            size = self.path.stat().st_size
            self.offset = min(self.offset, size) if size >= self.offset else 0
            with self.path.open("rb") as file:
                file.seek(self.offset)
                text = file.read(1 << 20)
        except FileNotFoundError:
            return []
        end = text.rfind(b"\n") + 1
        self.offset += end
        return text[:end].decode(errors="replace").splitlines()


@click.command("logs")
@click.argument("names", nargs=-1)
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="How many lines of each to begin with."
)
@click.option("-F", "--follow", is_flag=True, help="Go on showing what comes, until Ctrl-C.")
@click.pass_obj
def logs_command(here: Here, names: tuple[str, ...], lines: int, follow: bool) -> None:
    """What instances and engines print.

    NAMES choose: an instance (`web-3`), a service (`web`), an engine (`postgres`), a task (`r2-build-web`), or `control`; without
    any, all instances that run. Secrets are masked here, as far as they are Tenfold's; the files hold what the app wrote.
    """
    files = _choose(here, names)
    if not files:
        known = ", ".join(sorted(_all(here))) or "none yet"
        what = f"no log is named {' or '.join(names)}" if names else "no instance runs"
        raise Fail(f"{what}; there are: {known}")
    try:
        mask = Secrets(here.project().secrets(here.environment or "development")).mask()
    except DriverError as error:
        raise Fail(str(error)) from None
    width = max(len(name) for name in files)
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(files)}

    def say(name: str, text: str) -> None:
        prefix = click.style(f"{name:{width}}  ", fg=colours[name]) if len(files) > 1 else ""
        click.echo(prefix + mask(text))

    if not follow:
        for name, path in files.items():
            for text in tail(path, lines) if lines else ():
                say(name, text)
        return
    tails = [Tail(name, path) for name, path in files.items()]
    try:
        for one in tails:
            for text in one.last(lines):
                say(one.name, text)
        while True:
            for one in tails:
                for text in one.news():
                    say(one.name, text)
            time.sleep(FOLLOW_S)
    except KeyboardInterrupt:
        return


def _all(here: Here) -> dict[str, Path]:
    """Every log by its name; those written last come last."""
    logs = own(here.project()).logs
    paths = [*logs.glob("*.log"), *(logs / "tasks").glob("*.log")]
    return {path.stem: path for path in sorted(paths, key=lambda p: p.stat().st_mtime)}


def _choose(here: Here, names: tuple[str, ...]) -> dict[str, Path]:
    found = _all(here)
    if names:
        return {n: p for n, p in found.items() if n in names or n.rpartition("-")[0] in names}
    with here.reader() as reader:
        tick = reader.latest()
    running = tick.snapshot.instances if tick else {}
    return {n: p for n, p in found.items() if n in running}
