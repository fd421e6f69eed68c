"""What people ask for, as facts. Commands append them to the journal;
the loop shows them to deciders, which answer by effect."""

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


@dataclass(frozen=True, slots=True)
class DownRequest:
    """Drain and stop everything of this project, engines last; data stays."""

    id: str
    made_at: float


PersonRequest = UpRequest | DeployRequest | RollbackRequest | DownRequest
