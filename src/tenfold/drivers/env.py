"""What a program of a release finds around it: its environment, its command, its folder. Stage: effects -> world."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenfold.drivers.freeport import HOST
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.model import Release, Service
from tenfold.ports import Permanent
from tenfold.wire import environment

_PLACEHOLDER = re.compile(r"(?<!\$)\{(port|host)\}")
"""`{port}` and `{host}`, but not the shell's own `${port}`."""

_PROGRAM_FOLDERS = (".venv/bin", "venv/bin", "node_modules/.bin")
"""Where a release's own programs lie; they are found before the machine's."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment and the folder that a program of a release runs in."""

    env: Mapping[str, str]
    cwd: Path


def environment_for(
    project: Project,
    release: Release,
    service: str,
    region: str,
    secrets: Secrets,
    store_urls: Mapping[str, str],
    extra: Mapping[str, str] | None = None,
) -> Surroundings:
    """What a program of `service` in `release` runs in; a later source overrides an earlier one of the same name:

    the invoker's environment, the stores' URLs, the release's `env`, the service's `env`, secrets, `extra`, `TENFOLD_*`.
    Raises `Permanent` when the release's files are gone, the service is none of its own, or a secret is not set.
    """
    cwd = project.releases / release.id
    if not cwd.is_dir():
        raise Permanent(f"the files of release {release.id} are gone; run: tenfold deploy")
    found = service_of(release, service)
    # Another project's or instance's tags would make this process be taken for one of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith(environment.PREFIX)}
    # What a program prints is worth most while it still runs.
    env.setdefault("PYTHONUNBUFFERED", "1")
    env.update(store_urls)
    env.update(release.env)
    env.update(found.env)
    env.update(secrets.values(release.secrets))
    env.update(extra or {})
    env |= {environment.SERVICE: service, environment.REGION: region, environment.RELEASE: release.id}
    _find_programs(env, cwd)
    env["PWD"] = str(cwd)
    return Surroundings(env, cwd)


def service_of(release: Release, service: str) -> Service:
    """The service as it was in `release`; raises `Permanent` when it had none of that name."""
    found = release.services.get(service)
    if found is None:
        raise Permanent(f"release {release.id} has no service {service}; it has {', '.join(release.services)}")
    return found


def with_address(command: str, port: int | None) -> str:
    """`command` with `{port}` and `{host}` filled in; unchanged without a port."""
    if port is None:
        return command
    return _PLACEHOLDER.sub(lambda found: str(port) if found[1] == "port" else HOST, command)


def _find_programs(env: dict[str, str], cwd: Path) -> None:
    """Put the release's own programs first, as if its virtual environment were active."""
    folders = [cwd / name for name in _PROGRAM_FOLDERS if (cwd / name).is_dir()]
    env["PATH"] = os.pathsep.join([*map(str, folders), env.get("PATH", os.defpath)])
    environments = [folder.parent for folder in folders if (folder.parent / "pyvenv.cfg").exists()]
    if environments:
        env["VIRTUAL_ENV"] = str(environments[0])
        env.pop("PYTHONHOME", None)
