"""Stores of the user's own, by URL: watched and explained, never started nor stopped. Embedded ones stand in for them."""

import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tenfold.drivers import vitals
from tenfold.drivers.byurl import EngineByUrl, resolve_url, url_address
from tenfold.drivers.postgres import PostgresByUrl, PostgresDriver
from tenfold.drivers.valkey import ValkeyByUrl, ValkeyDriver
from tenfold.effects import Order, Outcome, StartEngine, StopEngine
from tenfold.facts import EngineState
from tenfold.ports import Permanent

Own = PostgresByUrl | ValkeyByUrl
Connect = Callable[[str], Any]


def values(**known: str) -> Callable[[str], str | None]:
    """Where secrets and variables are looked up."""
    return known.get


async def look(own: Own) -> Any:
    """The first fact; connections are closed again."""
    (seen,) = await own.observe()
    await own.close()
    return seen


@pytest.mark.parametrize("kind", ["postgres", "valkey"])
async def test_own_store_is_watched_and_left_alone(place: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready at the first look, with its version; a stop only ceases to watch; gone and back it is seen; no fact has a password."""
    monkeypatch.setattr("tenfold.drivers.byurl._ASK_S", 0.05)
    engine = place.postgres() if kind == "postgres" else place.valkey()
    seen = await place.run(engine)
    (text,) = set(engine.urls("local").values())
    made = PostgresByUrl if kind == "postgres" else ValkeyByUrl
    own = made("${THEIR_URL}", "local", values(THEIR_URL=text))
    assert set(own.urls("local").values()) == {text}
    (first,) = await own.observe()
    assert (first.state, first.version, first.address, first.key) == (
        EngineState.READY,
        seen.version,
        seen.address,
        seen.key,
    )
    receipt = await own.apply(Order(StopEngine(kind, "local", first.generation), 1, "d1", time.time()))
    assert receipt.outcome is Outcome.DONE and "left running" in receipt.note
    assert await own.observe() == ()
    assert (await own.apply(Order(StartEngine(kind, "local"), 1, "d1", time.time()))).outcome is Outcome.DONE
    assert (await engine.observe())[0].pid == seen.pid
    await place.stop(engine)
    gone = await place.until(own, EngineState.UNHEALTHY)
    assert "nothing answers" in gone.note and gone.generation > first.generation
    await place.run(engine)
    back = await place.until(own, EngineState.READY)
    password = urlsplit(text).password
    assert password and password not in repr((first, receipt, gone, back))
    await own.close()


async def test_postgres_by_url_says_what_is_wrong(place: Any) -> None:
    """A wrong password, database, host or port each give one sentence that says what to do, and not the password."""
    engine: PostgresDriver = place.postgres()
    await place.run(engine)
    good = urlsplit(engine.urls("local")["DATABASE_URL"])
    wrong = {
        f"postgresql://{good.username}:s3cret@127.0.0.1:{good.port}/crewboard": "refuses the user name or the password: correct data.url",
        f"postgresql://{good.username}:{good.password}@127.0.0.1:{good.port}/nowhere": 'does not serve: database "nowhere" does not exist',
        "postgresql://u:s3cret@127.0.0.1:1/x": "nothing answers at 127.0.0.1:1: start the database there",
        "postgresql://u:s3cret@no-such-host.invalid/x": "host of no-such-host.invalid:5432 is not known",
        "mysql://u:s3cret@127.0.0.1/x": "not a URL that PostgreSQL understands",
        "postgresql://u:s3cret@127.0.0.1/x?schema=public": "not a URL that PostgreSQL understands",
        "postgresql://u:s3cret%zz@127.0.0.1/x": "not a URL that PostgreSQL understands",
        "postgresql://u:s3cret@127.0.0.1:notaport/x": "not a URL that PostgreSQL understands",
    }
    for text, sentence in wrong.items():
        seen = await look(PostgresByUrl(text, "local", values()))
        assert seen.state is EngineState.UNHEALTHY
        assert sentence in seen.note and "s3cret" not in repr(seen), text


async def test_valkey_by_url_says_what_is_wrong(place: Any) -> None:
    """A wrong password, a missing one, a closed port or no URL at all each give one sentence that says what to do."""
    engine: ValkeyDriver = place.valkey()
    seen = await place.run(engine)
    wrong = {
        f"redis://:s3cret@{seen.address}/0": "refuses the user name or the password: correct data.valkey_url",
        f"redis://{seen.address}/0": "refuses the user name or the password: correct data.valkey_url",
        "redis://:s3cret@127.0.0.1:1/0": "nothing answers at 127.0.0.1:1: start Valkey there",
        "http://:s3cret@127.0.0.1/0": "not a URL that Valkey understands",
        "redis://:s3cret@127.0.0.1:notaport/0": "not a URL that Valkey understands",
    }
    for text, sentence in wrong.items():
        seen = await look(ValkeyByUrl(text, "local", values()))
        assert seen.state is EngineState.UNHEALTHY
        assert sentence in seen.note and "s3cret" not in repr(seen), text


@pytest.mark.parametrize("made", [PostgresByUrl, ValkeyByUrl])
async def test_address_that_swallows_everything(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something accepts connections and never says a word: known after one patience, the loop's tick does not hang."""
    monkeypatch.setattr(vitals, "PING_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scheme = "postgresql" if made is PostgresByUrl else "redis"
        own: EngineByUrl = made(f"{scheme}://u:p@127.0.0.1:{silent.getsockname()[1]}/0", "local", values())
        begun = time.monotonic()
        (seen,) = await own.observe()
        assert time.monotonic() - begun < 10
        assert seen.state is EngineState.UNHEALTHY and "answer" in seen.note
        await own.close()


async def test_scheme_with_a_drivers_name(place: Any) -> None:
    """`postgresql+asyncpg://`, as SQLAlchemy writes it, is watched all the same and given to the app as it was written."""
    engine = place.postgres()
    await place.run(engine)
    text = engine.urls("local")["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    own = PostgresByUrl(text, "local", values())
    assert own.urls("local") == {"DATABASE_URL": text}
    assert (await look(own)).state is EngineState.READY


def test_names_in_urls() -> None:
    """Names are filled in wherever they stand; one that is not set is named, values never are."""
    lookup = values(USER="me", PASSWORD="s3cret", EMPTY="")
    assert resolve_url("postgresql://${USER}:${PASSWORD}@h/x", "data.url", lookup) == "postgresql://me:s3cret@h/x"
    assert resolve_url("postgresql://a:$b@h/x", "data.url", lookup) == "postgresql://a:$b@h/x"
    for name in ("MISSING", "EMPTY"):
        with pytest.raises(Permanent, match=rf"data\.url names \$\{{{name}\}}.*tenfold secrets set {name}") as raised:
            resolve_url("postgresql://${PASSWORD}@${" + name + "}", "data.url", lookup)
        assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("postgresql://u:p@db.example:6000/x", "db.example:6000"),
        ("postgresql://u:p@db.example/x", "db.example:5432"),
        ("postgresql:///x", "localhost:5432"),
        ("redis://:p%40x@[::1]:7000/0", "[::1]:7000"),
        ("redis://:p@[::1]/0", "[::1]:5432"),
        ("postgresql://u:pa/ss@word@h/x", "h:5432"),
        ("postgresql://u:p@h:notaport/x", "h:notaport"),
        ("", "localhost:5432"),
    ],
)
def test_address_of_a_url(text: str, address: str) -> None:
    """An address is where clients reach the store, without user name and password, whatever the URL looks like."""
    assert url_address(text, 5432) == address
