"""Tells people of an alert: an HTTP POST of JSON, or a command with the JSON on its standard input. Stage: effects -> world.

Secrets that a webhook names are put in when it is sent, and are in no error, note or log. Who gets the same key twice (in the header
`idempotency-key` and in the JSON) got one notification: it is sent again when it is not known to have arrived.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tenfold.drivers.byurl import resolve_url
from tenfold.drivers.fence import Fence
from tenfold.drivers.logs import cut
from tenfold.drivers.project import Project
from tenfold.effects import Effect, Notify, Order, Outcome, Receipt
from tenfold.ports import DriverError, Permanent, Retryable, Unknown
from tenfold.wire import environment

ANSWER_S = 10.0
"""How long a webhook may take to answer."""
COMMAND_S = 30.0
"""How long a command may run; then all of it is killed."""
GRACE_S = 2
KEYS_KEPT = 256
AGAIN = (408, 425, 429)
"""Answers that mean: later. So does every 5xx; what else is no 2xx means: never."""

_NAMED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")

Lookup = Callable[[str], str | None]
"""The value of a secret or of an environment variable; None when it is not set."""


class Notifier:
    """Actuator for `Notify`. What commands print goes to `logs/alerts.log`."""

    def __init__(self, project: Project, name: str, environment_name: str, fence: Fence, lookup: Lookup) -> None:
        """`name` is the app's, as the blueprint has it."""
        self._project, self._name, self._environment = project, name, environment_name
        self._fence, self._lookup = fence, lookup
        self._session: aiohttp.ClientSession | None = None
        self._running: set[asyncio.subprocess.Process] = set()
        self._done: dict[str, None] = {}

    def accepts(self, effect: Effect) -> bool:
        """True for notifications."""
        return isinstance(effect, Notify)

    async def apply(self, order: Order) -> Receipt:
        """Send it to all that its rung names; see `ports.Actuator.apply`."""
        effect = order.effect
        assert isinstance(effect, Notify)
        self._fence.check(order.epoch)
        body = json.dumps(self.message(effect)).encode()
        ways = []
        if effect.webhook is not None:
            ways.append((f"{order.key} webhook", self._post(effect, effect.webhook, body)))
        if effect.command is not None:
            ways.append((f"{order.key} command", self._run(effect, effect.command, body)))
        errors: list[DriverError] = []
        for key, sending in ways:
            # One that got it need not get it again because the other did not.
            if key in self._done:
                sending.close()
                continue
            try:
                await sending
            except DriverError as error:
                errors.append(error)
            else:
                self._remember(key)
        if errors:
            raise next((e for e in errors if not isinstance(e, Permanent)), errors[0])
        return Receipt(order.key, Outcome.DONE, time.time())

    def message(self, effect: Notify) -> dict[str, Any]:
        """What is sent. Times are seconds since the epoch."""
        state = effect.state.replace("_", " ")
        return {
            "text": f"{self._name} ({self._environment}): {effect.severity}, {state}: {effect.text}",
            "project": self._name,
            "environment": self._environment,
            "alert": effect.alert,
            "severity": effect.severity,
            "state": effect.state,
            "since": effect.since,
            "why": effect.text,
            "answered_by": list(effect.answered_by),
            "rung": effect.rung + 1,
            "key": effect.key,
        }

    async def close(self) -> None:
        """Let go of connections, and end commands under way."""
        for process in tuple(self._running):
            _kill(process)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _remember(self, key: str) -> None:
        self._done[key] = None
        while len(self._done) > KEYS_KEPT:
            del self._done[next(iter(self._done))]

    async def _post(self, effect: Notify, webhook: str, body: bytes) -> None:
        name = f"the webhook of rung {effect.rung + 1}"
        url = resolve_url(webhook, f"alerts.escalation[{effect.rung}].webhook", self._lookup)
        if not url.startswith(("http://", "https://")):
            raise Permanent(f"{name} is no URL: write https://host/path into it, or into the secret that it names.")
        headers = {"content-type": "application/json", "idempotency-key": effect.key, "user-agent": "tenfold"}
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S), trust_env=True)
        try:
            # Nothing of a URL goes to where a redirect may point: it may hold a secret.
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except aiohttp.InvalidURL:
            raise Permanent(
                f"{name} is no URL: write https://host/path into it, or into the secret it names."
            ) from None
        except TimeoutError:
            raise Unknown(f"{name} gave no answer within {ANSWER_S:.0f} s.") from None
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or type(error.os_error).__name__
            raise Retryable(f"{name} can't be reached ({why}).") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unknown(f"{name} broke off before its answer ({type(error).__name__}).") from None
        if 300 <= status < 400:
            raise Permanent(
                f"{name} answered {status}, it has moved: write its new address into the blueprint or the secret."
            )
        if status >= 500 or status in AGAIN:
            raise Retryable(f"{name} answered {status}.")
        if status >= 400:
            raise Permanent(f"{name} answered {status}: look at its address and what it asks for.")

    async def _run(self, effect: Notify, command: str, body: bytes) -> None:
        name = f"the command of rung {effect.rung + 1}"
        # `timeout` ends it also when this control plane is gone before that.
        timeout = shutil.which("timeout")
        guard = (timeout, "-k", str(GRACE_S), str(int(COMMAND_S) + GRACE_S)) if timeout else ()
        try:
            process = await self._spawn((*guard, "/bin/sh", "-c", command), self._surroundings(command))
        except OSError as error:
            raise Retryable(f"{name} can't be started: {error.strerror}.") from error
        self._running.add(process)
        try:
            await asyncio.wait_for(process.communicate(body), COMMAND_S)
        except TimeoutError:
            raise Retryable(f"{name} had not ended after {COMMAND_S:.0f} s and was killed.") from None
        finally:
            if process.returncode is None:
                _kill(process)
            self._running.discard(process)
        if process.returncode:
            raise Retryable(f"{name} ended with {process.returncode}: see `tenfold logs alerts`.")

    async def _spawn(self, argv: tuple[str, ...], env: Mapping[str, str]) -> asyncio.subprocess.Process:
        log = self._log()
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *argv,
                cwd=self._project.root,
                env=env,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _log(self) -> Path:
        self._project.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = self._project.logs / "alerts.log"
        cut(log)
        return log

    def _surroundings(self, command: str) -> dict[str, str]:
        """The environment, and the secrets that the command names: the shell puts them in, so that no list of processes shows them."""
        found = {name: value for name, value in os.environ.items() if not name.startswith(environment.PREFIX)}
        named = ((name, self._lookup(name)) for name in _NAMED.findall(command))
        return found | {name: value for name, value in named if value is not None}


def _kill(process: asyncio.subprocess.Process) -> None:
    """End it and all that it started; what has ended is left alone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
