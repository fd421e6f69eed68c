"""`tenfold blueprint`: check the blueprint, print its schema for editors."""

import json

import click

from tenfold.blueprint import not_acted_on, schema
from tenfold.cli.here import Here


@click.group("blueprint")
def blueprint_command() -> None:
    """Check the blueprint; print its JSON Schema."""


@blueprint_command.command("check")
@click.pass_obj
def check_command(here: Here) -> None:
    """Read the blueprint, name every problem at once, and say what is not acted on yet."""
    model = here.model()
    services, regions = ", ".join(model.services), ", ".join(model.regions)
    click.echo(
        f"{here.file_name} is well: {model.name} ({model.environment.name}), services {services}, regions {regions}"
    )
    for sentence in not_acted_on(model):
        click.echo(f"  note: {sentence}")


@blueprint_command.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a blueprint, for editors (`# yaml-language-server: $schema=FILE`)."""
    click.echo(json.dumps(schema(), indent=2))
