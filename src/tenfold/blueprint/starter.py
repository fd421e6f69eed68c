"""The blueprint that `tenfold init` writes: commented, and right as it stands. Stage: a folder or a command -> text."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tenfold.blueprint.derive import names_port
from tenfold.blueprint.load import app_name
from tenfold.blueprint.recognise import Files, Program, Recipe, is_read, recognise
from tenfold.model import Scaling

__all__ = ["NotRecognised", "Starter", "is_read", "starter"]

_SHELL_SAFE = re.compile(r"(?:[\w@%+=:,./-]|\{(?:port|host)\}|\$(?:PORT|HOST)\b|\$\{(?:PORT|HOST)\})+", re.ASCII)
_PLAIN_YAML = re.compile(r"[A-Za-z./](?:[\w ./=@%+,;()$&|<>\"'{}\[\]*~^!?-]|:(?=\S))*", re.ASCII)
_WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


class NotRecognised(ValueError):
    """The folder does not tell how its app is started; the text says what to type."""


@dataclass(frozen=True, slots=True)
class Starter:
    """A blueprint's `text`, and the `reason` for it, which completes "made from ..."."""

    text: str
    reason: str


def starter(command: Sequence[str], name: str, files: Files) -> Starter:
    """The blueprint of the app called `name` that `command` starts; without a command, of what its `files` tell.

    `command` is as typed after `--`: several arguments, or one that is a whole shell command. Raises `NotRecognised`.
    """
    recipe = _explicit(command) if command else recognise(files)
    if recipe is None:
        raise NotRecognised(
            "nothing in this folder tells how the app is started; type it after --, with {port} where its port goes: "
            "tenfold init -- python3 -m http.server {port}"
        )
    return Starter("\n".join(_written(app_name(name), recipe)) + "\n", recipe.reason)


def _explicit(command: Sequence[str]) -> Recipe:
    text = command[0] if len(command) == 1 else " ".join(map(_shell_word, command))
    if not text.strip():
        raise NotRecognised("the command is empty; type one: tenfold init -- python3 -m http.server {port}")
    hints = () if names_port(text) else ("The command names no {port} or $PORT: it must listen on $PORT by itself.",)
    return Recipe((Program("web", text.strip()),), "the command that was given", hints)


def _shell_word(argument: str) -> str:
    return argument if _SHELL_SAFE.fullmatch(argument) else shlex.quote(argument)


def _written(name: str, recipe: Recipe) -> Iterator[str]:
    yield f"# The blueprint of {name}: `tenfold up` runs it, `tenfold deploy` ships a change, `tenfold status` shows it."
    yield f"# Made from {_comment(recipe.reason)}."
    yield from (f"# {_comment(hint)}" for hint in recipe.hints)
    yield "# Quantities are text with units (5s, 512MiB, 80%). Whatever is left out has a good default."
    yield ""
    yield f"name: {_yaml(name)}"
    yield ""
    yield "services:"
    for program in recipe.programs:
        yield from (f"  {line}" if line else "" for line in _service(program))
    yield ""
    yield "# env: {LOG_LEVEL: info}          # variables of every service"
    yield "# secrets: [SESSION_KEY]         # names only; values by `tenfold secrets set SESSION_KEY`"
    yield "# data: {}                       # runs PostgreSQL and Valkey; services get DATABASE_URL and VALKEY_URL"
    yield "# keep: [uploads/]               # paths of this folder that all releases share"


def _service(program: Program) -> Iterator[str]:
    default = Scaling()
    yield f"{program.name}:"
    if program.build:
        yield "  # Runs once per release, in the release's own folder, before it starts."
        yield f"  build: {_yaml(program.build)}"
    if program.release:
        yield "  # Runs once per release, before it takes traffic."
        yield f"  release: {_yaml(program.release)}"
    if names_port(program.command):
        yield "  # {port} and {host} (or $PORT and $HOST) tell each instance where to listen."
    yield f"  command: {_yaml(program.command)}"
    if program.path:
        yield f"  paths: [{program.path}]   # what the edge sends to this service"
    if names_port(program.command) or program.name == "web":
        yield "  # health: {path: /health, every: 5s}    # without a path, accepting a connection is enough"
    yield "  scaling:"
    yield f"    instances: {{min: {default.instances_min}, max: {default.instances_max}}}"
    if program.is_threaded:
        yield "    triggers:    # per instance; this server answers few requests at once"
        yield "      concurrency: {up_above: 12, down_below: 5}"
        yield "      cpu: {up_above: 80%, down_below: 40%}"


def _comment(text: str) -> str:
    """`text` on one line that YAML takes for a comment, whatever it holds."""
    return "".join(character if character.isprintable() else " " for character in text)


def _yaml(text: str) -> str:
    """`text` as a YAML scalar: plain where that is surely what it means, in double quotes otherwise."""
    if _PLAIN_YAML.fullmatch(text) and not text.endswith((" ", ":")) and text.lower() not in _WORDS_OF_YAML:
        return text
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in json.dumps(text, ensure_ascii=False))
