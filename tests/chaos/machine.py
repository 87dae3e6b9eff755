"""The database and its model, changed alike step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from db.database import Database
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.claims import ANYTHING, Ask, Claim
from db.queue.planning import Plan
from db.queue.recovery import MAX_ERRORS, MAX_LOADING_LOSSES, MAX_LOSSES
from db.results import commit
from jobs.errors import ConflictError, NotFoundError
from jobs.outcome import Completed, Errored, HandedBack, Stage
from jobs.plan import block_end, blocks, halves
from tests.chaos.model import (
    BLOCK,
    EXAMPLES,
    FINAL,
    JUMPS,
    LEASE,
    ONE_BLOCK,
    SIZE,
    Job,
    Shard,
    backoff,
)
from tests.helpers.jobs import ALICE, BOB, HEADS, SITES, job_values, result_of

Query = Callable[[str], list[tuple[Any, ...]]]


class Machine(RuleBasedStateMachine):
    """Users, schedulers, workers and zombies, one step at a time."""

    database: Database
    claims = Bundle("claims")

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

    # Users.

    @initialize()
    def begin(self) -> None:
        """Most steps mean something only once there are shards."""
        self.submit(0)
        self.take_plans()
        self.write_plan_of(next(iter(self.jobs)))

    @precondition(lambda self: len(self.jobs) < 2)
    @rule(priority=st.integers(0, 1))
    def submit(self, priority: int) -> None:
        values = job_values(examples=EXAMPLES, priority=priority)
        rows = [(n, f"text {n}", f"second {n}", f"hash {n}", n % 2) for n in range(EXAMPLES)]
        self.jobs[new_jobs.create_job(self.database, values, rows)] = Job()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), action=st.sampled_from(["pause", "resume", "resume", "cancel", "delete"]))
    def control(self, data: st.DataObject, action: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[number]
        try:
            lifecycle.set_control(self.database, number, action)
            allowed = True
        except (ConflictError, NotFoundError):
            allowed = False
        early = job.state in ("queued", "planning", "running", "paused") and job.control != "cancel"
        if action == "delete":
            assert allowed == (job.state in FINAL)
            if allowed:
                del self.jobs[number]
        elif action == "cancel":
            assert allowed == (job.state not in FINAL)
            if allowed:
                job.state, job.control = "cancelling", "cancel"
        else:
            assert allowed == early
            if allowed and action == "pause":
                job.control = "pause"
                job.state = "paused" if job.state == "running" else job.state
            elif allowed:
                job.control = "run"
                job.state = "running" if job.state == "paused" else job.state

    # Schedulers.

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

    # Workers, alive and zombies: a claim is never forgotten.

    @rule(
        target=claims,
        who=st.sampled_from([ALICE, BOB]),
        ask=st.sampled_from([ANYTHING, ONE_BLOCK]),
        loads=st.booleans(),
    )
    def claim(self, who: claims.WorkerIdentity, ask: Ask, loads: bool) -> Any:
        held = claims.claim(self.database, who, LEASE, ask)
        waiting = [
            (number, shard_no)
            for number, job in self.jobs.items()
            for shard_no, shard in job.shards.items()
            if job.state == "running" and job.control == "run"
            if shard.state == "ready" and shard.wait <= 0
        ]
        assert (held is None) == (not waiting)
        if held is not None:
            assert (held.job_id, held.shard_no) in waiting
            job = self.jobs[held.job_id]
            shard = job.shards[held.shard_no]
            end = block_end(shard.lo, shard.hi, BLOCK)
            if ask is ONE_BLOCK and end < shard.hi:
                job.add(shard.cut(end, losses=shard.losses))
            shard.state, shard.fence, shard.left = "leased", shard.fence + 1, LEASE
            assert (held.lo, held.hi, held.fence) == (shard.lo, shard.hi, shard.fence)
            self.attempts[held.job_id, held.shard_no, held.fence] = None
            if loads:
                self.come_to(held, Stage.LOADING)
        return multiple() if held is None else held

    def holds(self, held: Claim) -> Shard | None:
        """The shard, if the claim is still good for it."""
        job = self.jobs.get(held.job_id)
        shard = job.shards.get(held.shard_no) if job else None
        good = shard and shard.state == "leased" and shard.fence == held.fence
        return shard if good else None

    def ended(self, held: Claim, outcome: str) -> None:
        self.attempts[held.job_id, held.shard_no, held.fence] = outcome

    @rule(held=claims)
    def heartbeat(self, held: Claim) -> None:
        answer = claims.renew(self.database, held, 1, LEASE)
        shard = self.holds(held)
        assert answer == (self.jobs[held.job_id].control if shard else None)
        if shard:
            shard.left = LEASE

    @rule(held=claims)
    def loaded(self, held: Claim) -> None:
        """The worker has loaded the model; a zombie's word does not count."""
        self.come_to(held, Stage.COMPUTING)

    def come_to(self, held: Claim, stage: Stage) -> None:
        claims.enter(self.database, held, stage)
        if self.holds(held):
            self.stages[held.job_id, held.shard_no, held.fence] = stage

    @rule(held=claims)
    def hang(self, held: Claim) -> None:
        """The worker's watchdog finds that it does not go on, and ends it."""
        shard = self.holds(held)
        assert lifecycle.take_back(self.database, held, "no progress") == (shard is not None)
        if shard:
            self.lose((held.job_id, held.shard_no, held.fence))

    @rule(held=claims, whole_job=st.booleans())
    def cannot_work(self, held: Claim, whole_job: bool) -> None:
        """An error that every try would raise, such as a model that cannot be used."""
        claims.record_error(
            self.database, held, "it cannot work", permanent=True, whole_job=whole_job
        )
        if shard := self.holds(held):
            self.ended(held, "error")
            self.fail(self.jobs[held.job_id], shard, whole_job=whole_job)

    @rule(held=claims, how=st.sampled_from(["whole", "whole", "told to stop", "raised"]))
    def commit(self, held: Claim, how: str) -> None:
        """All blocks are computed, or the first one before the attempt had to end."""
        ending = {
            "told to stop": HandedBack(reason="told to stop"),
            "raised": Errored(message="it raised", in_block=True),
        }.get(how)
        parts = [result_of(lo, hi) for lo, hi in blocks(held.lo, held.hi, BLOCK)]
        done = Completed(parts=tuple(parts[:1] if ending else parts), seconds=0.5)
        stored = commit.commit_shard(self.database, held, done, "model", ending=ending)
        shard = self.holds(held)
        assert stored == (shard is not None)
        if not shard:
            return
        job, end = self.jobs[held.job_id], block_end(shard.lo, shard.hi, BLOCK)
        if ending and end < shard.hi:
            rest = shard.cut(end)
            job.add(rest)
            if how == "raised":
                bad = block_end(rest.lo, rest.hi, BLOCK)
                if bad < rest.hi:
                    job.add(rest.cut(bad))
                rest.errors, rest.wait = 1, backoff(1)
        shard.state = "done"
        self.ended(held, "done")

    @rule(held=claims, in_block=st.booleans())
    def raised(self, held: Claim, in_block: bool) -> None:
        """The first block raised, by the fault of an example or not."""
        claims.record_error(self.database, held, "it raised", in_block=in_block)
        if not (shard := self.holds(held)):
            return
        job, errors = self.jobs[held.job_id], shard.errors + 1
        wait, last = backoff(errors), errors >= MAX_ERRORS
        self.ended(held, "error")
        if in_block:
            end = block_end(shard.lo, shard.hi, BLOCK)
            if end < shard.hi:
                job.add(shard.cut(end))
            if last and shard.hi - shard.lo == 1:
                shard.state, shard.bad = "done", True
                return
            if last:
                errors, wait = MAX_ERRORS - 1, 0.0
                half = halves(shard.lo, shard.hi, BLOCK)
                job.add(shard.cut(half, errors=errors, losses=shard.losses))
        shard.errors, shard.wait = errors, wait
        shard.state = "failed" if errors >= MAX_ERRORS else "ready"

    @rule(held=claims)
    def give_away(self, held: Claim) -> None:
        """A slow worker gives all but its first block to others."""
        end = block_end(held.lo, held.hi, BLOCK)
        given = claims.give_away(self.database, held, end)
        shard = self.holds(held)
        assert given == (shard is not None and end < shard.hi)
        if shard and given:
            self.jobs[held.job_id].add(shard.cut(end))

    @rule(held=claims)
    def hand_back(self, held: Claim) -> None:
        claims.hand_back(self.database, held, "told to stop")
        if shard := self.holds(held):
            cancelling = self.jobs[held.job_id].state == "cancelling"
            shard.state = "cancelled" if cancelling else "ready"
            self.ended(held, "handed-back")

    # Time.

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
