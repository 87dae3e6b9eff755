"""Actions of schedulers."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from db.queue import lifecycle, planning
from db.queue.planning import Plan
from tests.chaos.state_machine.base import Base
from tests.chaos.state_machine.model import BLOCK, EXAMPLES, SIZE, Shard


class Schedulers(Base):
    """They plan, expire, sweep and finish."""

    @rule()
    def take_plans(self) -> None:
        """A scheduler takes jobs to plan; it may die before it writes a plan."""
        taken = {request.job_id for request in planning.take_plans(self.database)}
        assert taken == {
            number
            for number, job in self.jobs.items()
            if job.state in ("queued", "planning") and job.control != "cancel"
        }
        for number in taken:
            self.jobs[number].state = "planning"

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def write_plan(self, data: st.DataObject) -> None:
        """A plan arrives, perhaps for the second time or too late."""
        self.write_plan_of(data.draw(st.sampled_from(sorted(self.jobs))))

    def write_plan_of(self, number: int) -> None:
        job = self.jobs[number]
        bounds = [(lo, min(lo + SIZE, EXAMPLES)) for lo in range(0, EXAMPLES, SIZE)]
        written = planning.write_plan(
            self.database, number, Plan(bounds=bounds, fingerprint="fingerprint", block=BLOCK)
        )
        assert written == (job.state == "planning")
        if written:
            job.state = "paused" if job.control == "pause" else "running"
            job.shards = {lo: Shard(lo, hi) for lo, hi in bounds}

    @rule()
    def expire(self) -> None:
        expected = {
            (number, shard_no, shard.fence)
            for number, job in self.jobs.items()
            for shard_no, shard in job.shards.items()
            if shard.state == "leased" and shard.left < 0
        }
        found = [(c.job_id, c.shard_no, c.fence) for c in lifecycle.expire_leases(self.database)]
        assert sorted(found) == sorted(expected)
        for key in found:  # in that order: a job that fails fails what was ready before
            self.lose(key)

    @rule()
    def sweep(self) -> None:
        lifecycle.sweep_jobs(self.database)
        for job in self.jobs.values():
            if job.state == "cancelling":
                for shard in job.shards.values():
                    shard.state = "cancelled" if shard.state == "ready" else shard.state
                job.state = job.state if job.open_shards() else "cancelled"
            elif job.state in ("running", "paused") and not job.open_shards():
                job.state = "finalizing"

    @rule()
    def finish(self) -> None:
        done = set(lifecycle.finish_jobs(self.database))
        assert done == {n for n, job in self.jobs.items() if job.state == "finalizing"}
        for number in done:
            job = self.jobs[number]
            failed = any(shard.state == "failed" for shard in job.shards.values())
            failed |= len(job.bad_examples()) == EXAMPLES
            job.state = "failed" if failed else "succeeded"
