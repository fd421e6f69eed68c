"""`tenfold secrets`: values that the blueprint names and nobody prints."""

import os
import secrets as randomness
import sys

import click

from tenfold.cli.here import Fail, Here, make_state, own
from tenfold.drivers.secrets import Secrets
from tenfold.ports import DriverError


@click.group("secrets")
def secrets_command() -> None:
    """Set, list and remove secrets.

    The blueprint names them (`secrets: [SESSION_KEY]`); their values lie in a file that only you can read, or come from
    environment variables of the same name, which win. Running instances get a new value at the next deploy.
    """


@secrets_command.command("set")
@click.argument("name")
@click.option("--random", "is_random", is_flag=True, help="Make a value up (32 random bytes, as text).")
@click.pass_obj
def set_command(here: Here, name: str, is_random: bool) -> None:
    """Set NAME. The value is asked for, or read from a pipe: never an argument, where others could see it."""
    model = here.model()
    if is_random:
        value = randomness.token_urlsafe(32)
    elif sys.stdin.isatty():
        value = click.prompt(f"{name}", hide_input=True, confirmation_prompt="once more")
    else:
        value = sys.stdin.read().removesuffix("\n")
    if not value:
        raise Fail(f"{name} was given no value: type it, or pipe it in (`tenfold secrets set {name} < file`)")
    try:
        make_state(here.project())
        _secrets(here, model.environment.name).set(name, value)
    except DriverError as error:
        raise Fail(str(error)) from None
    click.echo(f"{name} is set in {model.environment.name}; running instances get it at the next `tenfold deploy`")
    # What the blueprint uses itself, as `${NAME}`, no instance needs.
    if name not in model.secrets and f"${{{name}}}" not in here.read_blueprint().decode(errors="replace"):
        click.echo(f"note: the blueprint does not name it yet: add it to `secrets:` in {here.file_name}")


@secrets_command.command("list")
@click.pass_obj
def list_command(here: Here) -> None:
    """List names: those the blueprint wants, those that are set. Never values."""
    model = here.model()
    try:
        secrets = _secrets(here, model.environment.name)
        names = sorted({*model.secrets, *secrets.names()})
        stored = set(secrets.names())
        for name in names:
            is_set = name in stored or name in os.environ
            note = "set" if is_set else f"not set: {secrets.command_to_set(name)}"
            click.echo(f"{name}  {note}" + ("" if name in model.secrets else "; the blueprint does not name it"))
    except DriverError as error:
        raise Fail(str(error)) from None
    if not names:
        click.echo("the blueprint names no secrets, and none is set")


@secrets_command.command("unset")
@click.argument("name")
@click.pass_obj
def unset_command(here: Here, name: str) -> None:
    """Remove NAME's value."""
    environment = here.model().environment.name
    try:
        if not _secrets(here, environment).unset(name):
            raise Fail(f"{name} is not set in {environment}: `tenfold secrets list` shows what is")
    except DriverError as error:
        raise Fail(str(error)) from None
    click.echo(f"{name} is removed from {environment}")


def _secrets(here: Here, environment: str) -> Secrets:
    return Secrets(own(here.project()).secrets(environment))
