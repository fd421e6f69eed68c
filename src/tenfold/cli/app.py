"""The command line's table: every command, where it lives, and what it does in a line. Commands are loaded when called."""

import difflib
import importlib
from pathlib import Path

import click

from tenfold.cli.here import Here, WrongCall
from tenfold.cli.loading import interrupts_held

COMMANDS = {
    "init": ("tenfold.cli.init", "Write a commented blueprint for the app in this folder"),
    "up": ("tenfold.cli.up", "Run the app: edge, instances, stores; Ctrl-C stops it cleanly"),
    "down": ("tenfold.cli.up", "Drain and stop everything of this project; data stays"),
    "deploy": ("tenfold.cli.ship", "Ship the folder as the next release, without downtime"),
    "rollback": ("tenfold.cli.ship", "Go back to the release that served before"),
    "drain": ("tenfold.cli.drain", "Take an instance or a region out of service gently"),
    "status": ("tenfold.cli.status", "What runs, how it is, and what was decided last"),
    "console": ("tenfold.cli.console", "The page that shows what runs, why, and what was"),
    "plan": ("tenfold.cli.plan", "What would be done, and why, without doing it"),
    "explain": ("tenfold.cli.explain", "Why a decision was made, or what happened to a request"),
    "logs": ("tenfold.cli.logs", "What instances and engines print"),
    "run": ("tenfold.cli.run", "Run one command in a release's environment"),
    "secrets": ("tenfold.cli.secrets", "Set, list and remove secrets"),
    "load": ("tenfold.cli.load", "Put a load on the edge: users who play a scenario, a trace, or a steady rate"),
    "measure": ("tenfold.cli.measure", "Find out what one instance holds at the target latency"),
    "simulate": ("tenfold.cli.simulate", "Try a policy on your own traffic before switching it on"),
    "drill": ("tenfold.cli.drill", "Harm what runs on purpose, and measure what comes of it"),
    "prove": ("tenfold.cli.prove", "Make load and harm, and judge the targets: a verdict each, a score, a report"),
    "report": ("tenfold.cli.report", "What happened in the last hours, what it cost, what could be better"),
    "scaler": ("tenfold.cli.scaler", "Tell KEDA how many instances a workload of a cluster needs"),
    "doctor": ("tenfold.cli.doctor", "Say what is missing on this machine and how to mend it"),
    "blueprint": ("tenfold.cli.blueprint", "Check the blueprint; print its JSON Schema"),
}

HIDDEN = {"standby": "tenfold.cli.standby"}
"""Commands that only Tenfold itself calls."""


class Commands(click.Group):
    """Loads a command's module when it is called: `tenfold status` need not import an Envoy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which a new user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command; None when there is none of that name."""
        if cmd_name not in COMMANDS and cmd_name not in HIDDEN:
            return None
        with interrupts_held():
            module = importlib.import_module(HIDDEN.get(cmd_name) or COMMANDS[cmd_name][0])
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        if args and args[0] not in {**COMMANDS, **HIDDEN} and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            advice = f"did you mean `tenfold {near[0]}`?" if near else "`tenfold --help` lists them all"
            raise WrongCall(f"there is no command {args[0]}; {advice}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name each command with its line, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-C", "directory", type=click.Path(path_type=Path), default=Path(), help="The project's folder (default: here)."
)
@click.option(
    "-f", "--file", "file_name", default="tenfold.yaml", show_default=True, help="The blueprint's name in it."
)
@click.option("-e", "--environment", envvar="TENFOLD_ENVIRONMENT", help="Which environment of the blueprint.")
@click.version_option(package_name="tenfold", message="tenfold %(version)s")
@click.pass_context
def cli(ctx: click.Context, directory: Path, file_name: str, environment: str | None) -> None:
    """Tenfold runs a web app at ten times its size: it deploys it behind an edge, scales it, heals it, and says why.

    Begin with `tenfold init`, then `tenfold up`.
    """
    if not directory.is_dir():
        raise WrongCall(f"there is no folder {directory}")
    ctx.obj = Here(directory, file_name, environment)
