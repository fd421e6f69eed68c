"""Keeps the values of secrets: a file that only its owner may read, or the environment. Stage: effects -> world.

Values go into the environment of the processes that name them and nowhere else: not into arguments, the journal, notes or
tails of logs (`Mask`). The files of logs hold what the program itself printed.
"""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from tenfold.ports import Permanent
from tenfold.wire import environment

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNNAMED = ("", "development")
"""Environments that a command means without being told."""
_MASKED_LENGTH_MIN = 4
"""A shorter value would also be found inside ordinary words, and what is left would tell it anyway."""


class Mask:
    """Replaces secret values in text by `***`: each value, its URL-quoted form, and each line of a value of several lines."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms: set[str] = set()
        for value in values:
            for part in (value, *value.splitlines()):
                forms |= {part, part.strip(), quote(part, safe=""), quote(part)}
        # Longest first, so that a value that holds another one is replaced whole.
        hidden = sorted(
            (form for form in forms if len(form) >= _MASKED_LENGTH_MIN), key=lambda form: (-len(form), form)
        )
        self._pattern = re.compile("|".join(map(re.escape, hidden))) if hidden else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub("***", text)


def password_of(url: str) -> str | None:
    """The password in a URL, as it is written there; None when it has none."""
    with contextlib.suppress(ValueError):
        return urlsplit(url).password
    return None


class Secrets:
    """The secrets of one environment: those in the file `path`, overridden by variables of the same name in `environ`."""

    def __init__(self, path: Path, environ: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._environ = os.environ if environ is None else environ

    def names(self) -> tuple[str, ...]:
        """The names in the file, sorted. Raises `Permanent` when it can't or must not be read."""
        return tuple(sorted(self._read()))

    def set(self, name: str, value: str) -> None:
        """Keep `value` under `name`. Raises `Permanent` for a name or value that no environment could hold."""
        if not _NAME.fullmatch(name):
            raise Permanent(f"{name!r} can't be a secret's name: use letters, digits and _, a letter first")
        if "\0" in value:
            raise Permanent(
                f"the value of {name} holds a zero byte, which no environment variable can; encode it (base64)"
            )
        if name.startswith(environment.PREFIX):
            raise Permanent(
                f"{name} can't be a secret's name: names that begin with {environment.PREFIX} belong to Tenfold"
            )
        with self._changing() as values:
            values[name] = value

    def unset(self, name: str) -> bool:
        """Forget `name`; False when it was not there."""
        with self._changing() as values:
            return values.pop(name, None) is not None

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """The value of each name. Raises `Permanent` naming all that are not set."""
        stored = self._read()
        found = {name: self._environ.get(name, stored.get(name)) for name in names}
        missing = [name for name, value in found.items() if value is None]
        if missing:
            listed = ", ".join(missing)
            raise Permanent(
                f"{'secrets' if len(missing) > 1 else 'secret'} {listed} not set; run: {self.command_to_set(missing[0])}"
            )
        return {name: value for name, value in found.items() if value is not None}

    def command_to_set(self, name: str) -> str:
        """The command that sets `name` in this environment and not in the default one."""
        where = self._path.name.partition(".")[2]
        return f"tenfold {'' if where in _UNNAMED else f'-e {where} '}secrets set {name}"

    def mask(self, names: Iterable[str] = (), urls: Iterable[str] = ()) -> Mask:
        """What hides every stored secret, the values of `names` in the environment, and the passwords in `urls`."""
        stored = self._read()
        passwords = (password_of(url) for url in urls)
        overridden = (self._environ.get(name) for name in {*names, *stored})
        return Mask([*stored.values(), *(value for value in (*passwords, *overridden) if value)])

    def _read(self) -> dict[str, str]:
        try:
            with self._path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Permanent(f"can't read the secrets in {self._path}: {error.strerror}") from error
        if mode & 0o077:
            raise Permanent(f"others may read the secrets in {self._path}; run: chmod 600 {self._path}")
        try:
            values = json.loads(text)
        except ValueError as error:
            raise Permanent(f"{self._path} is damaged; delete it and set its secrets again") from error
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            raise Permanent(f"{self._path} is damaged; delete it and set its secrets again")
        return values

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, str]]:
        """The stored values, written back whole when the block ends well; two commands at once wait for one another."""
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self._path.parent):
                values = self._read()
                yield values
                handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with os.fdopen(handle, "w") as file:
                    json.dump(values, file, indent=1, sort_keys=True)
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(self._path)
        except OSError as error:
            raise Permanent(f"can't write secrets to {self._path}: {error.strerror}") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone in `folder` while the block runs."""
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
