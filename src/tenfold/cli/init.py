"""`tenfold init`: recognise the app in this folder and write a commented blueprint for it."""

import os
from pathlib import Path

import click

from tenfold.blueprint import BlueprintError, app_name, load
from tenfold.blueprint.starter import NotRecognised, is_read, starter
from tenfold.cli.here import Here, Problems, WrongCall

READ_BYTES_MAX = 256 * 1024
ENTRIES_MAX = 10_000


@click.command("init", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--force", is_flag=True, help="Replace a blueprint that is there already.")
@click.argument("command", nargs=-1)
@click.pass_obj
def init_command(here: Here, force: bool, command: tuple[str, ...]) -> None:
    """Write a commented blueprint for the app in this folder.

    `tenfold init -- python -m http.server {port}` takes that command as it is; `{port}` (or $PORT) is where it should
    listen. Without one, a Django, FastAPI, Flask, Node, static or Procfile project is recognised.
    """
    target = here.blueprint
    if target.exists() and not force:
        raise WrongCall(f"{target} is there already: edit it, or replace it with `tenfold init --force`")
    if not here.directory.is_dir():
        raise WrongCall(f"there is no folder {here.directory}")
    name = app_name(here.directory.resolve().name)
    try:
        found = starter(command, name, files(here.directory))
    except NotRecognised as error:
        raise WrongCall(str(error)) from None
    try:
        load(found.text, name=here.file_name, default_name=name)
    except BlueprintError as error:
        raise Problems(error) from None
    try:
        target.write_text(found.text)
    except OSError as error:
        raise WrongCall(f"{target} can't be written: {error.strerror}") from None
    click.echo(found.reason)
    click.echo(f"{target.name} is written: look it over, then `tenfold up`")


def files(directory: Path) -> dict[str, str | None]:
    """The folder's entries by name; those that tell what kind of app it is come with their text."""
    found: dict[str, str | None] = {}
    with os.scandir(directory) as entries:
        for entry, _ in zip(entries, range(ENTRIES_MAX), strict=False):
            is_folder = entry.is_dir()
            found[entry.name + ("/" if is_folder else "")] = None
            if not is_folder and is_read(entry.name):
                with Path(entry.path).open("rb") as file:
                    found[entry.name] = file.read(READ_BYTES_MAX).decode(errors="replace")
    return found
