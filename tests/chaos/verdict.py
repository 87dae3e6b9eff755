"""The end of a disturbed job, held against the invariants."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.chaos.arena import EXAMPLES, Arena
from tests.chaos.invariants import BROKEN


@dataclass
class Verdict:
    """The outcome of a disturbed job."""

    state: str
    lost: int = 0
    doubled: int = 0
    equal: bool | None = None
    broken: list[str] = field(default_factory=list)
    """Invariants that do not hold."""


UNLOADABLE = """
SELECT shard_no FROM attempt WHERE job_id = {job} AND stage = 'loading' AND outcome = 'lost'
GROUP BY shard_no HAVING COUNT(*) > 1
"""
"""Shards that lost two workers while they loaded the model."""


def judge(made: Arena, job: int, shape: str = "plain") -> Verdict:
    """Check a final job against the invariants and an undisturbed one of its shape."""
    query = f"SELECT state, result_hash, COALESCE(error, '') FROM job WHERE id = {job}"
    state, found_hash, error = made.rows(query)[0]
    found = Verdict(state=state)
    for what, query in BROKEN.items():
        if rows := made.rows(query.format(job=job)):
            found.broken.append(f"{what}: {rows[:5]}")
    if state == "failed" and made.rows(UNLOADABLE.format(job=job)):
        return found  # as it must: two workers died while they loaded its model
    mine = f"WHERE job_id = {job}"
    done, stored = made.rows(
        f"SELECT COALESCE(SUM(CASE WHEN state = 'done' THEN hi - lo ELSE 0 END), 0), "
        f"(SELECT COUNT(*) FROM example_result {mine}) FROM shard {mine}"
    )[0]
    found.doubled += max(0, stored - done)
    if state != "cancelled" and "deadline" not in error:
        found.equal = found_hash == made.hashes.get(shape, found_hash)
        lost = made.rows(f"SELECT COUNT(*) FROM shard {mine} AND state = 'cancelled'")[0][0]
        missing = EXAMPLES - stored if shape == "plain" else 0
        found.lost = int(lost) + max(0, missing)
        if shape == "plain" and state != "succeeded":
            found.broken.append(f"a job without a bad example has {state}")
    if state != "cancelled":
        counted = {row[0] for row in made.rows(f"SELECT DISTINCT n FROM importance {mine}")}
        good = made.rows(f"SELECT COUNT(*) FROM example_result {mine} AND error IS NULL")[0][0]
        found.doubled += sum(max(0, n - good) for n in counted)
        if counted - {good}:
            found.broken.append(f"importance counts {counted} of {good} examples")
    return found
