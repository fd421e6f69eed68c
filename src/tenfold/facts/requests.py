"""What people ask for, as facts. Commands and the console append them to the journal;
the loop shows them to deciders, which answer by effect. `by` says who asked where it was not whoever owns the folder
(`console, from 127.0.0.1`)."""

from dataclasses import dataclass

from tenfold.model import Release


@dataclass(frozen=True, slots=True)
class UpRequest:
    """Run the app. `release` is what to serve if nothing has been shipped yet or its source differs from what served
    last."""

    id: str
    made_at: float
    release: Release


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """Ship `release` in place of the one that serves."""

    id: str
    made_at: float
    release: Release


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """Go back to release `to`, or to the one that served before (None)."""

    id: str
    made_at: float
    to: str | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class DownRequest:
    """Drain and stop everything of this project, engines last; data stays."""

    id: str
    made_at: float
    by: str = ""


@dataclass(frozen=True, slots=True)
class DrainRequest:
    """Take `subject` out of service gently: an instance (`web-3`) finishes its requests and is replaced; a region (`region/west`) gets
    no more traffic until it is asked back with `is_undo`."""

    id: str
    made_at: float
    subject: str
    is_undo: bool = False
    by: str = ""


PersonRequest = UpRequest | DeployRequest | RollbackRequest | DownRequest | DrainRequest
