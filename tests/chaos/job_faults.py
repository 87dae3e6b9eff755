"""Faults of submissions and of what users do to a job."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable

from scheduler.submission.submit import check, submit
from tests.chaos.arena import FINAL, Arena, impatient
from tests.chaos.process_faults import kill_all_workers, kill_scheduler, locked

Job = tuple[int, str]
"""A job's number and its shape."""


POISONED = {"poison": {7: "poison"}, "deadly": {20: "deadly"}}


def pause_resume(made: Arena, chance: random.Random, job: int) -> bool:
    """Pause a running job, wait until nothing is leased, and let it go on."""
    if not made.ask(job, "pause"):
        return False
    leased = f"SELECT COUNT(*) FROM shard WHERE job_id = {job} AND state = 'leased'"
    assert made.during(lambda: made.rows(leased)[0][0] == 0, 30), "a paused job goes on"
    time.sleep(chance.random() / 2)
    made.ask(job, "resume")
    return True


def broker_away_at_submit(made: Arena, _chance: random.Random) -> list[Job]:
    """A job is accepted without a broker, and runs when it is back."""
    if made.broker is None:
        with locked(made, made.home / "broker.sqlite", "EXCLUSIVE"):
            job = made.begin()
            time.sleep(1.5)
        return [(job, "plain")]
    made.broker.kill()
    job = made.begin()
    planned = made.during(lambda: made.state(job) == "running", 20)
    made.broker.start()
    assert planned, "a job is not planned without the broker"
    return [(job, "plain")]


def twice_at_once(made: Arena, _chance: random.Random) -> list[Job]:
    """The same submission from four places at the same moment is one job."""
    numbers: list[int] = []
    together = threading.Barrier(4)

    def one() -> None:
        database = impatient(made.settings.database)
        ready = check(made.raw(), made.settings, database)
        together.wait()
        numbers.append(made.patiently(lambda: submit(ready, database)))
        database.close()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 4
    # One that came after the first had already finished would be another job, rightly.
    jobs = sorted(set(numbers))
    if len(jobs) > 1:
        raise AssertionError(f"the same work is in jobs {jobs}")
    return [(jobs[0], "plain")]


def bad_example(shape: str) -> Callable[[Arena, random.Random], list[Job]]:
    """An example that no worker can compute."""

    def scene(made: Arena, _chance: random.Random) -> list[Job]:
        return [(made.begin(POISONED[shape]), shape)]

    return scene


STATES = ("queued", "planning", "running", "leased", "last commit", "finalizing", "paused")


def in_state(made: Arena, chance: random.Random, where: str) -> int:
    """A job that is, as nearly as can be had, in that state."""
    held = {
        "queued": [],
        "planning": [("plan.0", "sleep:0.8")],
        "finalizing": [("finish.0", "sleep:0.6")],
        "last commit": [("commit.commit", "sleep:0.5"), ("commit.after", "sleep:0.1")],
    }.get(where, [])
    for point, action in held:
        made.lay(point, action)
    job = made.begin()
    if held:
        made.during(lambda: made.taken(held[0][0]), 20)
        time.sleep(chance.random() * 0.5)
    elif where == "leased":
        made.moving(job)
    elif where == "running":
        made.during(lambda: made.state(job) != "queued")
    elif where == "paused":
        made.moving(job)
        made.ask(job, "pause")
        time.sleep(chance.random() * 0.3)
    return job


def cancelled_in(made: Arena, chance: random.Random) -> list[Job]:
    """A job is cancelled in some state; the same work then runs as another job."""
    job = in_state(made, chance, chance.choice(STATES))
    made.ask(job, "cancel")
    made.ask(job, "cancel")  # twice means nothing
    state = made.finish(job)
    again = made.begin()
    assert again != job or state not in FINAL
    return [(job, "plain"), (again, "plain")]


def paused_in(made: Arena, chance: random.Random) -> list[Job]:
    """A job is paused in some state, and goes on."""
    job = in_state(made, chance, chance.choice(STATES))
    if made.ask(job, "pause"):
        time.sleep(chance.random())
        made.ask(job, "resume")
    return [(job, "plain")]


def late_in(made: Arena, chance: random.Random) -> list[Job]:
    """A job's deadline passes in some state: it ends with what it has."""
    job = in_state(made, chance, chance.choice(STATES))
    made.execute(f"UPDATE job SET deadline_at = 1 WHERE id = {job}")
    return [(job, "plain")]


def wrong_clock(made: Arena, chance: random.Random) -> list[Job]:
    """The clocks of all workers and schedulers started now are wrong by an hour, either way."""
    made.skew = chance.choice([3600.0, -3600.0])
    try:
        kill_all_workers(made, chance, 0)
        kill_scheduler(made, chance, 0)
        made.tend()
        job = made.begin()
        made.finish(job)
    finally:
        made.skew = 0.0
        kill_all_workers(made, chance, 0)
        for pid in made.schedulers:
            made.signal(pid, signal.SIGKILL)
    return [(job, "plain")]
