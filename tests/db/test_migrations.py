"""Databases of earlier versions keep what they hold."""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command

from db.database import Database
from db.queue import claims, lifecycle
from db.results import commit, partitions
from db.upgrades import alembic_config
from db.views import VIEWS
from tests.helpers.jobs import ALICE, HEADS, SITES, completed, planned_job


def rows(database: Database, statement: str) -> list[Any]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


def downgrade(database: Database, revision: str) -> None:
    with database.write() as tx:
        for view in VIEWS:
            tx.run(f"DROP VIEW {view.name}")
        config = alembic_config()
        config.attributes["connection"] = tx.connection
        command.downgrade(config, revision)


def test_jobs_of_version_2_have_rankings_afterwards_and_go_on(database: Database) -> None:
    done = planned_job(database)
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    ranked = "SELECT source, layer, head, rank, mean FROM importances ORDER BY 1, 2, 3"
    new = rows(database, ranked)
    errors = "SELECT layer, head, standard_error FROM importances WHERE source = 'attattr'"
    exact = {(layer, head): error for layer, head, error in rows(database, errors)}
    running = planned_job(database)
    downgrade(database, "0002")
    assert not database.schema_is_current()
    database.migrate()
    old = rows(database, ranked)
    assert len(old) == 4 * SITES * HEADS
    for before, after in zip(new, old, strict=True):
        assert before[:4] == after[:4]
        assert abs(before[4] - after[4]) < 1e-12
    for layer, head, error in rows(database, errors):
        assert abs(error - exact[layer, head]) < 1e-9
    assert rows(database, "SELECT DISTINCT rank_low FROM importances") == [(None,)]
    while held := claims.claim(database, ALICE, 60):
        assert held.job_id == running
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database) == [running]
    hashes = rows(database, "SELECT result_hash FROM jobs ORDER BY job_id")
    assert hashes[done - 1] == hashes[running - 1]


def test_large_jobs_survive_a_downgrade(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "LARGE_JOB_ROWS", 1)
    for _ in range(2):
        planned_job(database)
        while held := claims.claim(database, ALICE, 60):
            assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    everything = [f"SELECT * FROM {view} ORDER BY 1, 2, 3, 4, 5" for view in
                  ("head_scores", "token_edges", "completeness", "examples")]  # fmt: skip
    before = [rows(database, statement) for statement in everything]
    assert all(before)
    downgrade(database, "0005")
    if database.dialect == "postgresql":
        kind = "SELECT relkind FROM pg_class WHERE relname = 'head_score'"
        assert rows(database, kind) == [("r",)]
    database.migrate()
    assert [rows(database, statement) for statement in everything] == before


def test_names_become_one_however_they_were_written_and_local_may_come_in(
    database: Database,
) -> None:
    assert rows(database, "SELECT COUNT(*) FROM account") == [(0,)]  # a new database
    jobs = [planned_job(database) for _ in range(3)]
    downgrade(database, "0026")
    written = dict(zip(jobs, ("Ada", "a\u200bDA", "bob"), strict=True))
    with database.write() as tx:
        for job, name in written.items():
            tx.run(
                "UPDATE job SET user_name = :name, idempotency_key = 'key' WHERE id = :id",
                name=name,
                id=job,
            )
        tx.run("INSERT INTO study (name, user_name, created_at) VALUES ('s', 'ADA', 0)")
        for name in ("ada", "Ada"):
            tx.run(
                "INSERT INTO usage (user_name, source, seconds, updated_at) VALUES (:n, 1, 1, 1)",
                n=name,
            )
    database.migrate()
    found = rows(database, "SELECT user_name, idempotency_key FROM job ORDER BY id")
    assert [name for name, _ in found] == ["ada", "ada", "bob"]
    assert sorted(key or "" for _, key in found) == ["", "key", "key"]
    assert rows(database, "SELECT user_name FROM study") == [("ada",)]
    assert rows(database, "SELECT user_name FROM usage") == [("ada",)]
    assert rows(database, "SELECT name, role, password FROM account") == [("local", "admin", None)]
