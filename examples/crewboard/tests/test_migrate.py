"""Migrations: once each, safe in company, and honest when they can't."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg


def test_two_at_once_apply_each_once(world: Any) -> None:
    """Two releases migrate an empty database at the same moment: one does it, the other finds nothing to do."""
    url = world.postgres.new_database("two_at_once")
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: world.run("web", "release", DATABASE_URL=url), range(2)))
    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    said = sorted(run.stdout.split(" (")[0] for run in runs)
    assert said == ["migrate: applied 0001_tables, 0002_demo", "migrate: nothing to do"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM companies").fetchall() == [(12,)]


def test_changed_migration_is_refused(world: Any) -> None:
    """Somebody edited a migration after it was applied: refused in one sentence, and nothing is changed."""
    url = world.postgres.new_database("changed")
    assert world.run("web", "release", DATABASE_URL=url).returncode == 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE schema_migrations SET digest = 'other' WHERE name = '0001_tables'")
    run = world.run("web", "release", DATABASE_URL=url)
    assert run.returncode == 1
    assert run.stderr == "migrate: 0001_tables.sql was changed after it was applied; put the change into a new file\n"


def test_failed_migration_leaves_nothing(world: Any) -> None:
    """A migration fails half-way: the database is as it was before."""
    url = world.postgres.new_database("half_way")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE jobs (in_the_way int)")
    run = world.run("web", "release", DATABASE_URL=url)
    assert run.returncode == 1
    assert run.stderr.startswith("migrate: 0001_tables failed and nothing was changed:")
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == [("jobs",)]


def test_no_database_is_one_sentence(world: Any) -> None:
    """There is no database at that address: one sentence, exit status 1."""
    run = world.run("web", "release", DATABASE_URL="postgresql://crewboard@127.0.0.1:1/crewboard")
    assert run.returncode == 1
    assert run.stderr.startswith("migrate: the database can't be reached (")
    assert run.stderr.count("\n") == 1


def test_nightly_leaves_a_row_for_each_run(world: Any) -> None:
    """The night comes twice: two rows, two lines, one summary per company and day."""
    before = world.query("SELECT count(*) FROM nightly_runs")[0][0]
    for _ in range(2):
        run = world.run("reports", TENFOLD_INSTANCE="reports-1")
        assert run.returncode == 0, run.stderr
        assert run.stdout.startswith("nightly: run ")
        assert run.stdout.count("\n") == 1
    after = world.query("SELECT count(*) FROM nightly_runs WHERE finished_at >= started_at AND instance = 'reports-1'")
    assert after == [(before + 2,)]
    assert world.query("SELECT count(*), count(DISTINCT company_id) FROM daily_summaries") == [(12, 12)]
