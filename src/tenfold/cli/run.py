"""`tenfold run COMMAND`: one thing in a release's environment, in this terminal (a console, a one-off script)."""

import os
import signal

import click

from tenfold.cli.here import Fail, Here
from tenfold.cli.wiring import surroundings
from tenfold.ports import DriverError


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-s", "--service", help="Whose environment (default: web, or the first).")
@click.option("-r", "--release", "release_id", help="In which release (default: the one that serves).")
@click.argument("command", nargs=-1, required=True)
@click.pass_obj
def run_command(here: Here, service: str | None, release_id: str | None, command: tuple[str, ...]) -> None:
    """Run COMMAND in a release's folder with its environment: DATABASE_URL, VALKEY_URL, secrets and all.

    One word is given to the shell (`tenfold run 'psql $DATABASE_URL'`), several are run as they are
    (`tenfold run python manage.py shell`). Exits with the command's own exit code.
    """
    around, inside = surroundings(here, service, release_id)
    words: tuple[str, ...] = ("/bin/sh", "-c", command[0]) if len(command) == 1 else command
    try:
        # It takes our place: keys, signals and the exit code are its own. What Python ignores, others want to hear.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(around.cwd)
        with inside:
            os.execvpe(words[0], words, dict(around.env))
    except FileNotFoundError:
        raise Fail(f"there is no command {command[0]} in {around.cwd} or its PATH") from None
    except DriverError as error:
        raise Fail(str(error)) from None
    except OSError as error:
        raise Fail(f"{command[0]} can't be run: {error.strerror}") from None
