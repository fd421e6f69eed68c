"""Where a project lies on this machine: its folder, its state folder, and the id by which its processes are tagged."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Project:
    """`root` holds the blueprint and the app; `name` is the blueprint's. All that a run leaves is under `state` (`root/.tenfold`)."""

    root: Path
    name: str

    @property
    def state(self) -> Path:
        return self.root / ".tenfold"

    @property
    def id(self) -> str:
        """Stable for this folder, different for any other: the tag of this project's processes (`TENFOLD_PROJECT`)."""
        return hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:12]

    @property
    def journal(self) -> Path:
        return self.state / "journal.db"

    @property
    def releases(self) -> Path:
        """`r7/` holds a release's files."""
        return self.state / "releases"

    @property
    def logs(self) -> Path:
        """`web-12.log`, `gateway-local.log`, `tasks/r7-build-web.log`, `access-local.jsonl`, `control.log`."""
        return self.state / "logs"

    @property
    def run(self) -> Path:
        """Sockets and locks, worth nothing once everything has stopped."""
        return self.state / "run"

    @property
    def tasks(self) -> Path:
        """`<task>.started` and `<task>.exit`: what makes a task run once."""
        return self.state / "tasks"

    @property
    def data(self) -> Path:
        """The embedded stores' data (`postgres-local`, `valkey-local`), unless another user must read it (see drivers.postgres)."""
        return self.state / "data"

    def secrets(self, environment: str) -> Path:
        """The file (mode 600) that holds the values of secrets of `environment`."""
        return self.state / f"secrets.{environment}"
