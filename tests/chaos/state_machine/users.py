"""Actions of users."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from db.queue import lifecycle, new_jobs
from jobs.errors import ConflictError, NotFoundError
from tests.chaos.state_machine.base import Base
from tests.chaos.state_machine.model import EXAMPLES, FINAL, Job
from tests.helpers.jobs import job_values


class Users(Base):
    """They submit, pause, resume, cancel and delete."""

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
