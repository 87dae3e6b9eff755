"""Actions of workers, alive and zombies: a claim is never forgotten."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, multiple, rule

from db.queue import claims, lifecycle
from db.queue.ask import ANYTHING, Ask, WorkerIdentity
from db.queue.claims import Claim
from db.queue.recovery import MAX_ERRORS
from db.results import commit
from jobs.outcome import Completed, Errored, HandedBack, Stage
from jobs.scheduling.plan import block_end, blocks, halves
from tests.chaos.state_machine.base import Base
from tests.chaos.state_machine.model import BLOCK, LEASE, ONE_BLOCK, Shard, backoff
from tests.helpers.jobs import ALICE, BOB, result_of


class Workers(Base):
    """They claim, renew, commit, fail and hand back."""

    claims = Bundle("claims")

    @rule(
        target=claims,
        who=st.sampled_from([ALICE, BOB]),
        ask=st.sampled_from([ANYTHING, ONE_BLOCK]),
        loads=st.booleans(),
    )
    def claim(self, who: WorkerIdentity, ask: Ask, loads: bool) -> Any:
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
