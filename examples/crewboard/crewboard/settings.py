"""What the environment tells us: every setting of the app, read in one place."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


class BadSetting(SystemExit):
    """A setting is missing or makes no sense; the process ends with one sentence that says which."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings. Each field names its environment variable."""

    database_url: str
    """DATABASE_URL, required: where PostgreSQL is."""
    valkey_url: str
    """VALKEY_URL: where Valkey is; the usual local port if not set."""
    session_key: str | None
    """SESSION_KEY: signs the session cookies; if not set, a key kept in the database is used (development)."""
    log_level: str
    """LOG_LEVEL: debug, info, warning, error or critical; info if not set."""
    instance: str
    """TENFOLD_INSTANCE: the name of this process among its siblings; host and process id if not set."""
    release: str
    """TENFOLD_RELEASE: the release that runs; `dev` if not set."""
    region: str
    """TENFOLD_REGION: where this process runs; `local` if not set."""


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment. Raises BadSetting."""

    def text(name: str, default: str) -> str:
        return environment.get(name, "").strip() or default

    database_url = text("DATABASE_URL", "")
    if not database_url:
        raise BadSetting("DATABASE_URL is not set; set it to something like postgresql://user@127.0.0.1:5432/crewboard")
    log_level = text("LOG_LEVEL", "info").lower()
    if log_level not in LOG_LEVELS:
        raise BadSetting(f"LOG_LEVEL is {log_level!r}; set it to one of {', '.join(LOG_LEVELS)}")
    valkey_url = text("VALKEY_URL", "redis://127.0.0.1:6379/0")
    return Settings(
        database_url=database_url,
        valkey_url="redis" + valkey_url.removeprefix("valkey") if valkey_url.startswith("valkey") else valkey_url,
        session_key=text("SESSION_KEY", "") or None,
        log_level=log_level,
        instance=text("TENFOLD_INSTANCE", f"{socket.gethostname()}-{os.getpid()}"),
        release=text("TENFOLD_RELEASE", "dev"),
        region=text("TENFOLD_REGION", "local"),
    )


def start_logging(settings: Settings) -> None:
    """Send the app's own log lines to standard error; uvicorn looks after its own."""
    logger = logging.getLogger("crewboard")
    logger.setLevel(settings.log_level.upper())
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
