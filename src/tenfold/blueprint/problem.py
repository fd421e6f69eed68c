"""What is wrong with a blueprint, said so that a person can mend it. Every stage of reading speaks of it."""

import json
import re
from dataclasses import dataclass

_PLAIN = re.compile(r"[\w./\[\]-]{1,80}", re.ASCII)
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: in `file` at `line` (from 1), at the dotted `path` of keys ("" means the whole file),
    and a sentence on it."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where} {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class BlueprintError(Exception):
    """The blueprint can't be used. `problems` holds everything that is wrong with it, in the order of its lines."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def quoted(text: str) -> str:
    """`text` between quotes, on one line and cut short, fit for a message."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
    return json.dumps(cut, ensure_ascii=not cut.isprintable())


def below(path: str, key: str) -> str:
    """The path of `key` within `path`."""
    shown = key if _PLAIN.fullmatch(key) else quoted(key)
    return f"{path}.{shown}" if path else shown
