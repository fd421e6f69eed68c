"""`tenfold init`: recognise the app in this folder and write a commented blueprint for it."""

import os
from pathlib import Path

import click

from tenfold.blueprint import BlueprintError, app_name, load
from tenfold.blueprint.starter import NotRecognised, is_read, starter
from tenfold.cli.here import Here, Problems, WrongCall

READ_BYTES_MAX = 64 * 1024
ENTRIES_MAX = 10_000
DEPTH_MAX = 2
NOT_ENTERED = {".git", ".tenfold", "node_modules", "__pycache__", ".venv", "venv"}


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
    click.echo(f"made from {found.reason}")
    click.echo(f"{target.name} is written: look it over, then `tenfold up`")


def files(directory: Path) -> dict[str, str | None]:
    """The folder's entries, two levels deep, by relative path; those that tell what kind of app it is come with their text."""
    found: dict[str, str | None] = {}
    for folder, folders, names in os.walk(directory):
        inside = Path(folder).relative_to(directory)
        prefix = "" if inside == Path() else f"{inside.as_posix()}/"
        found |= {f"{prefix}{name}/": None for name in folders}
        folders[:] = [name for name in folders if name not in NOT_ENTERED]
        for name in names:
            path = Path(folder, name)
            is_text = is_read(name) and path.is_file() and path.stat().st_size <= READ_BYTES_MAX
            found[prefix + name] = path.read_text(errors="replace") if is_text else None
        if len(inside.parts) + 1 >= DEPTH_MAX or len(found) > ENTRIES_MAX:
            folders.clear()
    return found
