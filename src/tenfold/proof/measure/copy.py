"""A copy of a project that may be loaded and thrown away: its files, its data, its secrets, and a blueprint cut down to what is measured.

Stage: the user's folder -> a trial's. Source and data are copied, so that nothing the copy writes reaches the original; what installing
made (a virtual environment) is linked.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from tenfold.blueprint.tree import Entries, Items, Node, Scalar, compose, overlay
from tenfold.drivers import source
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.model import Model
from tenfold.proof.trial import Trial, TrialError

_SQLITE = b"SQLite format 3\0"
_STORE_URL = re.compile(r"^\W*(postgres(ql)?|mysql|mariadb|mongodb|rediss?|valkeys?|amqps?|sqlserver)(\+\w+)?://", re.I)
_SETTING = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=\s*(.*)$", re.M)
_STORES = ("DATABASE_URL", "VALKEY_URL", "REDIS_URL")
"""What Tenfold sets itself for an embedded store."""
_LEFT_OUT = ("regions", "residency", "targets", "alerts", "budget", "scenarios", "tiers", "domains", "rollout")
"""Parts of a blueprint that a copy does without: it is one region, makes no noise and answers to any name."""
_PLACED = ("region", "replicas", "synchronous", "rpo", "rto")
"""What `data` says of copies in other regions."""


def stores_of_ones_own(model: Model, project: Project, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where a copy of this project would be led to a database that is not its own: `data.url`, `env.MONGO_URL`, `.env: DATABASE_URL`.

    A driver's error for secrets that can't be read goes through."""
    found = [f"data.{name}" for name in ("url", "valkey_url") if model.data and getattr(model.data, name) is not None]
    set_by_us = _STORES if model.data is not None else ()
    given: dict[str, str] = {f"env.{name}": value for name, value in model.env.items()}
    for service in model.services.values():
        given |= {f"services.{service.name}.env.{name}": value for name, value in service.env.items()}
    if not set_by_us:
        given |= {f"${name}": environ[name] for name in _STORES if name in environ}
    secrets = Secrets(project.secrets(model.environment.name), environ)
    kept = secrets.names()
    given |= {
        f"secret {name}": secrets.values((name,))[name] for name in model.secrets if name in kept or name in environ
    }
    for path in sorted(project.root.glob(".env*")):
        if path.is_file() and not path.name.endswith((".example", ".sample", ".template", ".dist")):
            for name, value in _SETTING.findall(path.read_text(errors="replace")):
                if name not in set_by_us:
                    given[f"{path.name}: {name}"] = value
    return (*found, *(where for where, value in given.items() if _STORE_URL.match(value)))


def copy_project(trial: Trial, project: Project, model: Model) -> None:
    """Copy the project's files, data and secrets into the trial's folder. Raises `TrialError` when they can't be copied."""
    built = any(service.build for service in model.services.values())
    planned = source.plan(project.root, model.keep, built)
    data = source.data_of(planned)
    size_bytes = sum(_size_bytes(project.root / name) for name in data)
    if size_bytes > source.SIZE_BYTES_MAX:
        raise TrialError(
            f"the app's data in this folder are {size_bytes / 1024**3:.1f} GiB, and each measurement works on a copy of them: "
            f"measure in a copy of the folder with less (at most {source.SIZE_BYTES_MAX / 1024**3:.0f} GiB)"
        )
    try:
        trial.root.mkdir(mode=0o700)
        for name in (*planned.folders, *(str(Path(name).parent) for name in (*planned.files, *planned.shared))):
            (trial.root / name).mkdir(parents=True, exist_ok=True)
        for name in planned.files:
            shutil.copy2(project.root / name, trial.root / name, follow_symlinks=False)
        for name in planned.shared:
            if name in data:
                _copy_data(project.root / name, trial.root / name)
            else:
                (trial.root / name).symlink_to(project.root / name)
        kept = project.secrets(model.environment.name)
        if kept.exists():
            trial.project.state.mkdir(mode=0o700, exist_ok=True)
            # The mode goes with it, and where it was wrong Tenfold says so.
            shutil.copy2(kept, trial.project.secrets(model.environment.name))
    except OSError as error:
        raise TrialError(
            f"the project can't be copied to {trial.root.parent}: {error.strerror} ({error.filename}); TMPDIR names another place"
        ) from error


def cut_down(text: bytes, file: str, model: Model, service: str, instances: int, port: int) -> dict[str, Any]:
    """The blueprint of a copy: one region at `port`, exactly so many instances of `service` and as few as possible of the others, no jobs,
    nobody who is told of alerts."""
    root, _ = compose(text, file)
    environment = model.environment.name
    named = root.entries.get("environments")
    if isinstance(named, Entries) and environment in named.entries:
        whole = overlay(root, named.entries[environment])
        assert isinstance(whole, Entries), "a mapping over a mapping is a mapping"
        root = whole
    blueprint = {key: _plain(node) for key, node in root.entries.items() if key not in _LEFT_OUT}
    blueprint["name"] = model.name
    blueprint["edge"] = {"port": port}
    blueprint["environments"] = {environment: {}} if isinstance(named, Entries) and environment in named.entries else {}
    if isinstance(blueprint.get("data"), dict):
        blueprint["data"] = {key: value for key, value in blueprint["data"].items() if key not in _PLACED}
    services = blueprint["services"]
    for name, each in model.services.items():
        if each.tier is not None:
            continue  # Nobody is in a tier there: the service's own pool has all requests.
        if not each.runs_always:
            del services[name]
            continue
        count = instances if name == service else max(1, each.scaling.instances_min)
        scaling: dict[str, Any] = {"instances": {"min": count, "max": count}}
        asked = services[name].get("scaling")
        if isinstance(asked, dict) and "triggers" in asked:
            # Nothing scales here, but the default ones need not fit what an instance takes.
            scaling["triggers"] = asked["triggers"]
        services[name]["scaling"] = scaling
    return blueprint


def write_blueprint(trial: Trial, file: str, blueprint: Mapping[str, Any]) -> None:
    """Put `blueprint` where the trial's `tenfold.yaml` lies; `file` is what the original is called, and is gone from the copy."""
    (trial.root / file).unlink(missing_ok=True)
    (trial.root / "tenfold.yaml").write_text(yaml.safe_dump(dict(blueprint), sort_keys=False, width=1000))


def _plain(node: Node) -> Any:
    """A node as PyYAML takes it: all text stays text, so that `1.10` and `on` come out as they went in."""
    match node:
        case Scalar(text=text):
            return text
        case Items(items=items):
            return [_plain(item) for item in items]
        case Entries(entries=entries):
            return {key: _plain(entry) for key, entry in entries.items()}


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (each for each in path.rglob("*") if each.is_file())


def _size_bytes(path: Path) -> int:
    return sum(each.stat().st_size for each in _files(path))


def _copy_data(path: Path, to: Path) -> None:
    """Data as they are now; a database of SQLite whole, whatever is writing to it meanwhile."""
    if path.is_dir():
        shutil.copytree(path, to, dirs_exist_ok=True)
    elif path.is_file():
        with path.open("rb") as file:
            is_sqlite = file.read(len(_SQLITE)) == _SQLITE
        if is_sqlite:
            with (
                closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as read,
                closing(sqlite3.connect(to)) as kept,
            ):
                read.backup(kept)
        else:
            shutil.copy2(path, to)
