"""The one definition of states and transitions is whole and consistent."""

from __future__ import annotations

import pytest

from jobs.states import (
    FINAL_JOB_STATES,
    JOB_TRANSITIONS,
    SHARD_TRANSITIONS,
    SHOWN_JOB_STATES,
    JobState,
    ShardState,
)


def reachable(table: dict[str, frozenset[str]], start: str) -> set[str]:
    found, todo = set(), [start]
    while todo:
        state = todo.pop()
        if state not in found:
            found.add(state)
            todo += table[state]
    return found


TABLES = [
    pytest.param(JobState, JOB_TRANSITIONS, FINAL_JOB_STATES, JobState.QUEUED, id="job"),
    pytest.param(
        ShardState,
        SHARD_TRANSITIONS,
        {ShardState.DONE, ShardState.FAILED, ShardState.CANCELLED},
        ShardState.READY,
        id="shard",
    ),
]


@pytest.mark.parametrize(("states", "table", "final", "start"), TABLES)
def test_every_state_has_its_transitions_and_can_be_reached_and_left(
    states: type[JobState], table: dict[str, frozenset[str]], final: frozenset[str], start: str
) -> None:
    assert set(table) == set(states)
    ends = {state for state, after in table.items() if after <= {"deleting"}}
    assert ends - {"deleting"} == final
    assert reachable(table, start) == set(states)
    assert all(reachable(table, state) & final for state in set(states) - {"deleting"})
    assert all(state not in after for state, after in table.items())


def test_any_unfinished_job_can_be_cancelled() -> None:
    for state in set(SHOWN_JOB_STATES) - FINAL_JOB_STATES - {JobState.CANCELLING}:
        assert JobState.CANCELLING in JOB_TRANSITIONS[state]
