"""Where a command was called: which folder, which blueprint, which environment. And how a command fails: in one sentence."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click

from tenfold.blueprint import Beside, BlueprintError, load
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.loop import FileLease, JournalError, JournalMissing, JournalReader
from tenfold.model import Model

TAKES_OVER_WITHIN_S = 10.0
"""A control plane that stands by leads after about half of this."""
SCENARIOS_FILE = "scenarios.yaml"
"""Beside the blueprint, for scenarios that would make it long."""
NEVER_RUN = "nothing has run here yet: start this project with `tenfold up`"


class Fail(click.ClickException):
    """Something did not work; the message says what to do next. Exit code 1."""

    exit_code = 1


class WrongCall(click.ClickException):
    """The call or the blueprint is wrong; the message says what to change. Exit code 2."""

    exit_code = 2


class Problems(WrongCall):
    """Everything that is wrong with a blueprint, a line each."""

    def __init__(self, error: BlueprintError) -> None:
        count = len(error.problems)
        heading = "one problem" if count == 1 else f"{count} problems"
        super().__init__("\n".join([f"the blueprint has {heading}:", *(f"  {problem}" for problem in error.problems)]))


@dataclass(frozen=True, slots=True)
class Here:
    """The call's surroundings, from the options that every command has."""

    directory: Path
    file_name: str
    environment: str | None

    @property
    def blueprint(self) -> Path:
        return self.directory / self.file_name

    def read_blueprint(self) -> bytes:
        """The blueprint's bytes; raises `WrongCall` when it is not there."""
        try:
            if self.blueprint.stat().st_size > 16 * 1024 * 1024:
                raise WrongCall(f"{self.blueprint} is larger than 16 MB: that is no blueprint")
            return self.blueprint.read_bytes()
        except FileNotFoundError:
            where = self.directory.resolve()
            raise WrongCall(f"there is no {self.file_name} in {where}: `tenfold init` writes one") from None
        except OSError as error:
            raise WrongCall(f"{self.blueprint} can't be read: {error.strerror}") from None

    def _scenarios(self) -> Beside | None:
        """The file of scenarios beside the blueprint, where there is one."""
        path = self.directory / SCENARIOS_FILE
        try:
            return Beside(SCENARIOS_FILE, path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WrongCall(f"{path} can't be read: {error.strerror}") from None

    def model(self) -> Model:
        """The blueprint, read and checked; raises `Problems` with all that is wrong with it."""
        text = self.read_blueprint()
        try:
            model = load(
                text,
                name=self.file_name,
                environment=self.environment,
                default_name=self.directory.resolve().name,
                beside=self._scenarios(),
            )
        except BlueprintError as error:
            raise Problems(error) from None
        if model.edge.geoip is None:
            return model
        # As the project's folder has it: whoever opens it runs in a folder of its own.
        path = self.directory.resolve() / model.edge.geoip
        return replace(model, edge=replace(model.edge, geoip=str(path)))

    def project(self) -> Project:
        """The project of this folder, also when its blueprint is broken or gone."""
        return Project(self.directory.resolve(), self.directory.resolve().name)

    def control_plane(self) -> int | None:
        """The pid of the control plane that runs this project; None when none does. Raises `Fail` as `own` does."""
        return lease_of(own(self.project())).holder()

    def control_plane_soon(self) -> int | None:
        """As `control_plane`; when none runs but one stands by, wait until that one leads."""
        until = time.monotonic() + TAKES_OVER_WITHIN_S
        while (pid := self.control_plane()) is None and self.has_standby() and time.monotonic() < until:
            time.sleep(0.2)
        return pid

    def has_standby(self) -> bool:
        """True when a control plane of this project stands by, or did so before it led."""
        return any(key.id.startswith("control/") for key in Processes(self.project()).look())

    def reader(self) -> JournalReader:
        """The journal, to read; raises `Fail` when there is none yet."""
        try:
            return JournalReader(own(self.project()).journal)
        except JournalMissing:
            raise Fail(NEVER_RUN) from None
        except JournalError as error:
            raise Fail(str(error)) from None


def lease_of(project: Project, newest: Callable[[], int] = lambda: 0) -> FileLease:
    """The lease that the project's control planes contend for; a new epoch is above `newest()`."""
    return FileLease(project.run / "lease", newest)


def own(project: Project) -> Project:
    """The project itself; raises `Fail` when its state belongs to another user."""
    if project.state.exists() and not os.access(project.state, os.R_OK | os.W_OK | os.X_OK):
        uid = project.state.stat().st_uid
        raise Fail(
            f"{project.state} belongs to another user ({uid}): work here as that user, or in a copy of the folder"
        )
    return project


def make_state(project: Project) -> None:
    """Make the project's state folder, for its owner's eyes only; raises `Fail` when that is not possible."""
    own(project)
    try:
        for folder in (project.state, project.logs, project.run, project.tasks, project.releases):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = project.state / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise Fail(f"{project.state} can't be made: {error.strerror}; Tenfold keeps its state there") from None
