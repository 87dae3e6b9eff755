"""The state machine against a model of it in plain Python, in random orders, on both databases.

The database's clock cannot be set, so time passes by moving every moment that is stored. Leases
and waits are so long that the real time of a test means nothing.
"""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from db.database import Database
from db.queue import recovery, sql
from tests.chaos.state_machine.machine import Machine
from tests.chaos.state_machine.model import backoff

EXAMPLES_TRIED = int(os.environ.get("TEST_MODEL_EXAMPLES", "40"))
"""Random orders per database; more where there is time."""


def check_model(database: Database, examples: int, *, shrink: bool = True) -> None:
    """Random orders of steps; the shortest that fails is shown."""
    machine = type("Machine", (Machine,), {"database": database})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoffs that do not pass while the test runs."""
    monkeypatch.setattr(recovery, "backoff_seconds", backoff)


def test_the_database_does_what_the_model_does(database: Database) -> None:
    check_model(database, EXAMPLES_TRIED)


@pytest.mark.parametrize(
    ("statement", "guard", "instead"),
    [
        ("HOLD", "AND fence = :fence", "AND :fence > 0"),
        ("POLL", "AND s.fence = :fence", "AND :fence > 0"),
        ("EXPIRED", "s.lease_until < {clock}", "s.lease_until < {clock} + 900"),
        ("STAGE", " AND l.outcome = 'lost'", ""),
    ],
)
def test_a_missing_guard_is_found(
    statement: str,
    guard: str,
    instead: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test above cannot pass by looking at nothing."""
    whole = getattr(sql, statement)
    assert guard in whole
    users = [m for name, m in sys.modules.items() if name.startswith("db.")]
    for module in users:
        if getattr(module, statement, None) is whole:
            monkeypatch.setattr(module, statement, whole.replace(guard, instead))
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('mutant') / 'headwise.sqlite'}")
    database.migrate()
    with pytest.raises((AssertionError, ExceptionGroup)):
        check_model(database, 400, shrink=False)
    database.close()
