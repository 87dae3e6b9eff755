"""Parts that the rules of the state machine share: database, model, and what a loss does."""

from __future__ import annotations

from hypothesis.stateful import RuleBasedStateMachine

from db.database import Database
from db.queue import lifecycle
from db.queue.recovery import MAX_LOADING_LOSSES, MAX_LOSSES
from jobs.outcome import Stage
from jobs.scheduling.plan import block_end, halves
from tests.chaos.state_machine.model import BLOCK, Job, Shard


class Base(RuleBasedStateMachine):
    """A database and its model."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, Job] = {}
        self.attempts: dict[tuple[int, int, int], str | None] = {}
        self.stages: dict[tuple[int, int, int], Stage] = {}
        self.hashes: dict[frozenset[int], str] = {}
        """The result of a job, by its bad examples: nothing else may matter."""

    def teardown(self) -> None:
        with self.database.write() as tx:
            for job in self.jobs:
                tx.run(f"UPDATE job SET state = 'cancelled' WHERE id = {job}")
        for job in list(self.jobs):
            lifecycle.set_control(self.database, job, "delete")

    def lose(self, key: tuple[int, int, int]) -> None:
        """A worker was lost: from the second time on the shard is halved, down to the example."""
        job = self.jobs[key[0]]
        shard, earlier = job.shards[key[1]], self.lost_while_loading(key)
        self.attempts[key] = "lost"
        if self.stages.get(key) is Stage.LOADING:
            self.lose_while_loading(job, shard, earlier)
            return
        losses, last = shard.losses + 1, shard.losses + 1 >= MAX_LOSSES
        if last and shard.hi - shard.lo == 1:
            shard.state, shard.bad = "done", True
            return
        if last or (losses > 1 and block_end(shard.lo, shard.hi, BLOCK) < shard.hi):
            losses = min(losses, MAX_LOSSES - 1)
            job.add(
                shard.cut(halves(shard.lo, shard.hi, BLOCK), errors=shard.errors, losses=losses)
            )
        shard.losses, shard.state, shard.wait = losses, "ready", 0.0

    def lost_while_loading(self, key: tuple[int, int, int]) -> int:
        """Earlier attempts at the shard whose workers were lost while they loaded the model."""
        return sum(
            end == "lost" and one[:2] == key[:2] and self.stages.get(one) is Stage.LOADING
            for one, end in self.attempts.items()
        )

    def lose_while_loading(self, job: Job, shard: Shard, earlier: int) -> None:
        """No example is the cause: the shard is not halved, and soon it fails with its job."""
        if earlier + 1 < MAX_LOADING_LOSSES:
            shard.losses, shard.state, shard.wait = shard.losses + 1, "ready", 0.0
        else:
            self.fail(job, shard, whole_job=True)

    def fail(self, job: Job, shard: Shard, *, whole_job: bool) -> None:
        shard.errors, shard.state = shard.errors + 1, "failed"
        if whole_job and all(one.state != "done" for one in job.shards.values()):
            for one in job.shards.values():
                one.state = "failed" if one.state == "ready" else one.state
