"""The files whose small changes are tried, and the tests that should notice, the quickest first.

Tests of statements run on SQLite only: PostgreSQL's differ in their clock and locks alone.
"""

from __future__ import annotations

_SQLITE = ("-m", "not services")
_QUEUE = (*_SQLITE, "tests/db/queue")
_SCHEDULER = tuple(f"tests/scheduler/test_{name}.py" for name in ("loop", "planning", "dispatch"))
_MODEL = "tests/chaos/test_model.py::test_the_database_does_what_the_model_does"

TARGETS: dict[str, tuple[str, ...]] = {
    "db/queue/sql.py": (*_QUEUE, *_SCHEDULER, _MODEL),
    "db/queue/splitting.py": (*_QUEUE, _MODEL),
    "db/queue/limits.py": (*_SQLITE, "tests/scheduler/submission/test_limits.py"),
    "jobs/kinds/head_importance.py": ("tests/jobs/kinds/test_head_importance.py",),
    "jobs/scheduling/plan.py": ("tests/jobs/scheduling/test_plan.py",),
    "headwise/attribution/quadrature.py": ("tests/headwise/attribution/test_quadrature.py",),
}
