"""The database and its model, changed alike step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.chaos.state_machine.model import FINAL, JUMPS
from tests.chaos.state_machine.schedulers import Schedulers
from tests.chaos.state_machine.users import Users
from tests.chaos.state_machine.workers import Workers
from tests.helpers.jobs import HEADS, SITES

Query = Callable[[str], list[tuple[Any, ...]]]


class Machine(Users, Schedulers, Workers):
    """Users, schedulers, workers and zombies, one step at a time."""

    @initialize()
    def begin(self) -> None:
        """Most steps mean something only once there are shards."""
        self.submit(0)
        self.take_plans()
        self.write_plan_of(next(iter(self.jobs)))

    @rule(seconds=st.sampled_from([300.0, 1200.0]))
    def silence(self, seconds: float) -> None:
        """Every worker is silent, for less or for more than its lease."""
        self.time_passes(seconds)
        self.expire()

    @rule(seconds=st.sampled_from(JUMPS))
    def time_passes(self, seconds: float) -> None:
        """The database's clock goes on, or jumps back."""
        moved = (
            "UPDATE shard SET lease_until = lease_until - {0}, available_at = available_at - {0}"
        )
        with self.database.write() as tx:
            tx.run(moved.format(seconds))
        for job in self.jobs.values():
            for shard in job.shards.values():
                shard.left -= seconds
                shard.wait -= seconds

    # What must hold after every step.

    @invariant()
    def everything_holds(self) -> None:
        with self.database.read() as tx:

            def mine(statement: str) -> list[tuple[Any, ...]]:
                """Rows whose first column is the number of a job that is there."""
                found = tx.run(statement)
                return [tuple(row) for row in found if row[0] in self.jobs]

            self.states_are_the_models(mine)
            self.every_attempt_has_its_fence_and_end(mine)
            self.results_are_those_of_winners_once(mine)
            self.final_jobs_have_final_shards_and_one_result(mine)

    def states_are_the_models(self, mine: Query) -> None:
        stored = {row[0]: row[1:] for row in mine("SELECT id, state, control FROM job")}
        assert stored == {number: (job.state, job.control) for number, job in self.jobs.items()}
        query = "SELECT job_id, shard_no, lo, hi, state, fence, errors, losses FROM shard"
        assert {row[:2]: row[2:] for row in mine(query)} == {
            (number, shard_no): (s.lo, s.hi, s.state, s.fence, s.errors, s.losses)
            for number, job in self.jobs.items()
            for shard_no, s in job.shards.items()
        }

    def every_attempt_has_its_fence_and_end(self, mine: Query) -> None:
        query = "SELECT job_id, shard_no, fence, outcome, stage FROM attempt"
        found = {row[:3]: row[3] for row in mine(query)}
        stages = {row[:3]: row[4] for row in mine(query) if row[4] is not None}
        assert stages == {key: stage for key, stage in self.stages.items() if key[0] in self.jobs}
        assert found == {key: end for key, end in self.attempts.items() if key[0] in self.jobs}
        for number, job in self.jobs.items():
            assert sum(s.fence for s in job.shards.values()) == sum(k[0] == number for k in found)

    def results_are_those_of_winners_once(self, mine: Query) -> None:
        winners = [
            (number, example, shard.fence)
            for number, job in self.jobs.items()
            for shard in job.shards.values()
            if shard.state == "done"
            for example in range(shard.lo, shard.hi)
        ]
        stored = mine("SELECT job_id, example_no, fence FROM example_result")
        assert sorted(stored) == sorted(winners)
        counts = mine("SELECT job_id, COUNT(*) FROM head_score GROUP BY job_id")
        bad = sum(len(job.bad_examples()) for job in self.jobs.values())
        assert sum(row[1] for row in counts) == (len(winners) - bad) * SITES * HEADS

    def final_jobs_have_final_shards_and_one_result(self, mine: Query) -> None:
        for job in self.jobs.values():
            assert job.state not in FINAL or not job.open_shards()
        for number, found in mine("SELECT id, result_hash FROM job WHERE state = 'succeeded'"):
            bad = self.jobs[number].bad_examples()
            assert self.hashes.setdefault(bad, found) == found
