"""The faults: at points of the code, to a running system, and whole scenes around a job."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.arena import Arena
from tests.chaos.job_faults import (
    POISONED,
    Job,
    bad_example,
    broker_away_at_submit,
    cancelled_in,
    late_in,
    pause_resume,
    paused_in,
    twice_at_once,
    wrong_clock,
)
from tests.chaos.points import Laid, at, both
from tests.chaos.process_faults import (
    broker_down,
    broker_file_lost,
    broker_wiped,
    fill_disk,
    kill_all_workers,
    kill_child,
    kill_scheduler,
    kill_worker,
    lock_database,
    mid_commit,
    restart_database,
    roll,
    shut_down,
    storm,
    terminate_connections,
)
from tests.chaos.processes import FOR_GOOD, STALL
from tests.chaos.standstill_faults import (
    broker_frozen_throughout,
    cut_off,
    freeze_broker,
    freeze_database,
    stop_scheduler,
    stop_worker,
)

SHAPES: dict[str, dict[int, str]] = {"plain": {}, **POISONED}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault; exactly one of the three ways to do it is given."""

    name: str
    points: Callable[[random.Random], Laid] | None = None
    """Faults to lay at points of the code before the job is submitted."""
    act: Callable[[Arena, random.Random, int], bool] | None = None
    """(stack, chance, job): done while the job runs; whether it was."""
    scene: Callable[[Arena, random.Random], list[Job]] | None = None
    """Submits jobs of its own."""
    on: tuple[str, ...] = ("sqlite-embedded", "postgresql-redis", "postgresql-rabbitmq")
    slow: bool = False
    """Takes many seconds: not more often than others."""
    needs: Callable[[Arena], str] = lambda _: ""
    """The thing that a stack lacks for it; empty where it can be done."""


def network(made: Arena) -> str:
    """The thing that a stack lacks for a network of its own."""
    return made.network if isinstance(made.network, str) else ""


SQLITE, SERVERS = ("sqlite-embedded",), ("postgresql-redis", "postgresql-rabbitmq")

FAULTS = [
    Fault(name="worker killed before its commit", points=at("commit.0", "commit.1")),
    Fault(name="worker killed between two statements of its commit", points=at("commit.2-12")),
    Fault(name="worker killed before COMMIT", points=at("commit.commit")),
    Fault(name="worker killed after COMMIT", points=at("commit.after")),
    Fault(name="worker killed in its claim", points=at("claim.1-2", "claim.commit")),
    Fault(name="worker killed after its claim", points=at("claim.after")),
    Fault(name="worker killed while it computes", points=at("example")),
    Fault(
        name="worker killed while it loads the model",
        points=both(at("example"), at("load")),  # the one that follows has no model yet
    ),
    Fault(name="worker killed in a heartbeat", points=at("heartbeat.1", "heartbeat.commit")),
    Fault(
        name="worker killed while it records an error",
        points=both(at("example", do="raise"), at("error.0", "error.1-3", "error.commit")),
    ),
    Fault(name="parent process of a worker killed", points=at("example", do="kill-parent")),
    Fault(name="computing child killed, at any time", act=kill_child),
    Fault(name="worker with its children killed", act=kill_worker),
    Fault(name="all workers killed at once", act=kill_all_workers),
    Fault(name="out of memory, host (RLIMIT_AS)", points=at("example", do="memory")),
    Fault(name="out of memory, CUDA (raised in its place)", points=at("example", do="cuda")),
    Fault(name="example raises once", points=at("example", do="raise")),
    Fault(
        name="SIGSTOP past the lease, then SIGCONT",
        points=at("example", "commit.0", "commit.1-12", "commit.commit", do="stop"),
    ),
    Fault(
        name="worker stopped for good outside of transactions",
        points=at("example", "claim.after", "commit.0", "commit.after", do=FOR_GOOD),
        on=SERVERS,
    ),
    Fault(
        name="worker stopped for good in a transaction",
        points=at(
            "claim.1-2", "claim.commit", "heartbeat.1", "commit.1-12", "commit.commit", do=FOR_GOOD
        ),
        on=SERVERS,
    ),
    Fault(
        name="worker stopped, then killed",
        points=at(
            "example",
            "commit.0",
            "claim.1-2",
            "claim.commit",
            "heartbeat.1",
            "commit.1-12",
            "commit.commit",
            do="stop-then-kill",
        ),
        on=SQLITE,
    ),
    Fault(name="worker stopped for good, at any time", act=stop_worker, on=SERVERS),
    Fault(
        name="scheduler stopped for good in a transaction",
        points=at(
            "plan.1-3",
            "plan.commit",
            "sweep.1-3",
            "sweep.commit",
            "mark.1",
            "finish.1-38",
            "finish.commit",
            do=FOR_GOOD,
        ),
        on=SERVERS,
    ),
    Fault(
        name="scheduler stopped for good while it expires a lease",
        points=both(at("example"), at("expire.1-3", "expire.commit", do=FOR_GOOD)),
        on=SERVERS,
    ),
    Fault(
        name="scheduler stopped, then killed",
        points=at(
            "plan.1-3",
            "plan.commit",
            "sweep.1-3",
            "sweep.commit",
            "mark.1",
            "finish.1-38",
            "finish.commit",
            do="stop-then-kill",
        ),
        on=SQLITE,
    ),
    Fault(name="scheduler stopped for good, at any time", act=stop_scheduler, on=SERVERS),
    Fault(
        name="worker cut off without a word", scene=cut_off, on=SERVERS, needs=network, slow=True
    ),
    Fault(name="database server frozen", act=freeze_database(1.0, 5.0), on=SERVERS),
    Fault(
        name="database server frozen for longer than anybody waits",
        act=freeze_database(40.0),
        on=SERVERS,
        slow=True,
    ),
    Fault(name="broker frozen mid-run", act=freeze_broker(1.0, 5.0), on=SERVERS),
    Fault(
        name="broker frozen from submission to end",
        scene=broker_frozen_throughout,
        on=SERVERS,
        slow=True,
    ),
    Fault(name="hung kernel", points=at("example", do=f"sleep:{STALL + 6}")),
    Fault(name="message lost", points=at("wake", do="skip")),
    Fault(name="message doubled", points=at("wake", do="double")),
    Fault(name="message late", points=at("wake", do="later")),
    Fault(name="message corrupt", points=at("wake", do="corrupt")),
    Fault(name="many messages for nothing", act=storm),
    Fault(name="broker down at submit and dispatch", scene=broker_away_at_submit, slow=True),
    Fault(name="broker down mid-run", act=broker_down, slow=True),
    Fault(name="broker wiped mid-run", act=broker_wiped),
    Fault(name="embedded broker's file deleted", act=broker_file_lost, on=SQLITE),
    Fault(name="database restarted mid-commit", act=mid_commit(restart_database), on=SERVERS),
    Fault(
        name="database connections terminated mid-commit",
        act=mid_commit(terminate_connections),
        on=SERVERS,
    ),
    Fault(name="database is locked", act=lock_database, on=SQLITE),
    Fault(name="disk full (a small file system)", act=fill_disk),
    Fault(name="scheduler killed between publish and mark", points=at("mark.0", "mark.1")),
    Fault(name="scheduler killed while it plans", points=at("plan.0", "plan.1-3", "plan.commit")),
    Fault(
        name="scheduler killed while it expires a lease",
        points=both(at("example"), at("expire.1-3", "expire.commit")),
    ),
    Fault(
        name="scheduler killed while it finishes a job",
        points=at("finish.1-38", "finish.commit", "sweep.1-3", "sweep.commit"),
    ),
    Fault(name="scheduler killed, at any time", act=kill_scheduler),
    Fault(name="bad example that raises", scene=bad_example("poison"), slow=True),
    Fault(name="bad example that kills its worker", scene=bad_example("deadly"), slow=True),
    Fault(name="wrong clocks, by an hour", scene=wrong_clock, slow=True),
    Fault(name="cancelled in any state, racing a commit", scene=cancelled_in),
    Fault(name="paused in any state, racing a commit", scene=paused_in),
    Fault(name="late in any state, racing a commit", scene=late_in),
    Fault(name="paused and resumed while it runs", act=pause_resume),
    Fault(name="same submission four times at once", scene=twice_at_once),
    Fault(name="warm shutdown", act=shut_down(signal.SIGTERM)),
    Fault(name="soft shutdown", act=shut_down(signal.SIGTERM, signal.SIGTERM)),
    Fault(name="cold shutdown", act=shut_down(signal.SIGQUIT)),
    Fault(name="rolling deploy with changed views", act=roll),
]
"""Every fault of the suite."""
