"""The faults: at points of the code, to a running system, and whole scenes around a job."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import kombu

from db.database import Database
from scheduler.broker import make_app
from scheduler.submission.submit import check, submit
from tests.chaos.arena import FINAL, Arena
from tests.helpers import services
from tests.helpers.stack import alive, children_of

Laid = list[tuple[str, str]]
Job = tuple[int, str]
"""A job's number and its shape."""
POISONED = {"poison": {7: "poison"}, "deadly": {20: "deadly"}}
SHAPES: dict[str, dict[int, str]] = {"plain": {}, **POISONED}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault; exactly one of the three ways to do it is given."""

    name: str
    points: Callable[[random.Random], Laid] | None = None
    """What to lay at points of the code before the job is submitted."""
    act: Callable[[Arena, random.Random, int], bool] | None = None
    """(stack, chance, job): done while the job runs; whether it was."""
    scene: Callable[[Arena, random.Random], list[Job]] | None = None
    """Submits jobs of its own."""
    on: tuple[str, ...] = ("sqlite-embedded", "postgresql-redis", "postgresql-rabbitmq")
    slow: bool = False
    """Takes many seconds: not more often than others."""


def at(*points: str, do: str = "kill") -> Callable[[random.Random], Laid]:
    """One of the points. "commit.1-12" stands for that many."""

    def choose(chance: random.Random) -> Laid:
        name, _, steps = chance.choice(points).partition(".")
        if "-" in steps:
            low, high = map(int, steps.split("-"))
            steps = str(chance.randint(low, high))
        return [(f"{name}.{steps}" if steps else name, do)]

    return choose


def both(*parts: Callable[[random.Random], Laid]) -> Callable[[random.Random], Laid]:
    """Faults that need each other."""
    return lambda chance: [laid for part in parts for laid in part(chance)]


# While a job runs.


def kill_child(made: Arena, chance: random.Random, _job: int) -> bool:
    """The computing process of a worker."""
    children = made.computing()
    if children:
        made.signal(chance.choice(children), signal.SIGKILL)
    return bool(children)


def kill_worker(made: Arena, chance: random.Random, _job: int) -> bool:
    """A worker with all its processes."""
    parent = chance.choice(made.workers)
    for pid in (parent, *children_of(parent)):
        made.signal(pid, signal.SIGKILL)
    return True


def kill_all_workers(made: Arena, _chance: random.Random, _job: int) -> bool:
    """Every worker at once: nobody is left to hear a message."""
    for parent in list(made.workers):
        for pid in (parent, *children_of(parent)):
            made.signal(pid, signal.SIGKILL)
    return True


def kill_scheduler(made: Arena, chance: random.Random, _job: int) -> bool:
    made.signal(chance.choice(made.schedulers), signal.SIGKILL)
    return True


def shut_down(*numbers: int) -> Callable[[Arena, random.Random, int], bool]:
    """Ask a worker to end with one signal after the other."""

    def act(made: Arena, chance: random.Random, _job: int) -> bool:
        parent = chance.choice(made.workers)
        family = [parent, *children_of(parent)]
        for number in numbers:
            made.signal(parent, number)
            time.sleep(0.3)
        cold = signal.SIGQUIT in numbers
        if not made.during(lambda: not alive([parent]), 10 if cold else 60):
            if not cold:
                raise AssertionError("a worker that was told to stop goes on")
            # Celery cancels from within its signal handler, which can block; whoever asks for a
            # cold shutdown kills next.
            for pid in (parent, *children_of(parent)):
                made.signal(pid, signal.SIGKILL)
        if not made.during(lambda: not alive(family), 30):
            raise AssertionError("a worker has ended and left a child behind")
        return True

    return act


def roll(made: Arena, _chance: random.Random, _job: int) -> bool:
    """Replace every worker and scheduler by a new one, with views that a new version changed."""
    made.execute("UPDATE published SET views_hash = 'of an older version'")
    migration = made.fork("migrate")
    assert made.during(lambda: not alive([migration]), 60), "the migration goes on and on"
    for pids, command in ((made.schedulers, "scheduler"), (made.workers, "worker")):
        for old in list(pids):
            pids.append(made.fork(command))
            time.sleep(0.3)
            made.signal(old, signal.SIGTERM)
    return True


def broker_down(made: Arena, _chance: random.Random, _job: int) -> bool:
    """The broker dies and comes back; an embedded one is locked meanwhile."""
    if made.broker is None:
        with closing(sqlite3.connect(made.home / "broker.sqlite", timeout=5)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(1.5)
        return True
    made.broker.kill()
    time.sleep(1.0)
    made.broker.start()
    return True


def broker_wiped(made: Arena, _chance: random.Random, _job: int) -> bool:
    """Every message is gone, and with a server also the queue."""
    if made.broker is None:
        file = made.home / "broker.sqlite"
        with closing(sqlite3.connect(file, timeout=5)) as connection, connection:
            connection.execute("DELETE FROM kombu_message")
        return True
    with kombu.Connection(made.settings.broker) as connection:
        if isinstance(made.broker, services.Redis):
            connection.default_channel.client.flushall()
        else:
            connection.default_channel.queue_delete(made.settings.queue)
    return True


def broker_file_lost(made: Arena, _chance: random.Random, _job: int) -> bool:
    """The embedded broker's file is deleted under its users."""
    for file in made.home.glob("broker.sqlite*"):
        file.unlink(missing_ok=True)
    return True


def storm(made: Arena, chance: random.Random, _job: int) -> bool:
    """Wake-ups for nothing, many at once."""
    from scheduler.broker import wake

    app = make_app(made.settings)
    for _ in range(chance.randint(10, 30)):
        made.patiently(lambda: wake(app, made.settings.queue))
    return True


def mid_commit(disturb: Callable[[Arena], None]) -> Callable[[Arena, random.Random, int], bool]:
    """Do something while a worker is inside its commit, waiting there."""

    def act(made: Arena, chance: random.Random, job: int) -> bool:
        point = made.lay(f"commit.{chance.choice(['commit', *range(1, 9)])}", "sleep:1.0")
        over = made.during(lambda: made.taken(point) or made.state(job) in FINAL)
        if not over or not made.taken(point):
            return False
        disturb(made)
        return True

    return act


def restart_database(made: Arena) -> None:
    assert made.server
    made.server.restart()


def terminate_connections(made: Arena) -> None:
    with made.database.write() as tx:
        tx.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def lock_database(made: Arena, chance: random.Random, _job: int) -> bool:
    """SQLite: another program holds the write lock for longer than anybody waits."""
    file = made.settings.database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(1.5 + chance.random())
        connection.execute("ROLLBACK")
    return True


def fill_disk(made: Arena, chance: random.Random, _job: int) -> bool:
    """No room where the database lies; real where a small file system could be mounted."""
    if made.disk is None:
        return False
    with services.full(made.disk):
        time.sleep(1.0 + chance.random())
    if made.server is not None:
        revive(made)
    return True


def revive(made: Arena) -> None:
    """Start PostgreSQL where it has given up for want of room."""
    server = made.server
    assert server
    if server.process is not None and server.process.poll() is not None:
        server.kill(signal.SIGQUIT)
        server.start()


def pause_resume(made: Arena, chance: random.Random, job: int) -> bool:
    """Pause a running job, wait until nothing is leased, and let it go on."""
    if not made.ask(job, "pause"):
        return False
    leased = f"SELECT COUNT(*) FROM shard WHERE job_id = {job} AND state = 'leased'"
    assert made.during(lambda: made.rows(leased)[0][0] == 0, 30), "a paused job goes on"
    time.sleep(chance.random() / 2)
    made.ask(job, "resume")
    return True


# Scenes.


def broker_away_at_submit(made: Arena, _chance: random.Random) -> list[Job]:
    """A job is accepted without a broker, and runs when it is back."""
    if made.broker is None:
        with closing(sqlite3.connect(made.home / "broker.sqlite", timeout=5)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
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
        database = Database(made.settings.database)
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


SQLITE, SERVERS = ("sqlite-embedded",), ("postgresql-redis", "postgresql-rabbitmq")

FAULTS = [
    Fault(name="worker killed before its commit", points=at("commit.0", "commit.1")),
    Fault(name="worker killed between two statements of its commit", points=at("commit.2-12")),
    Fault(name="worker killed before COMMIT", points=at("commit.commit")),
    Fault(name="worker killed after COMMIT", points=at("commit.after")),
    Fault(name="worker killed in its claim", points=at("claim.1-2", "claim.commit")),
    Fault(name="worker killed after its claim", points=at("claim.after")),
    Fault(name="worker killed while it computes", points=at("example")),
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
    Fault(name="hung kernel", points=at("example", do="sleep:5")),
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
        points=at("finish.1-6", "finish.commit", "sweep.1-3", "sweep.commit"),
    ),
    Fault(name="scheduler killed, at any time", act=kill_scheduler),
    Fault(name="poison example that raises", scene=bad_example("poison"), slow=True),
    Fault(name="poison example that kills its worker", scene=bad_example("deadly"), slow=True),
    Fault(name="wrong clocks, by an hour", scene=wrong_clock, slow=True),
    Fault(name="cancelled in any state, racing a commit", scene=cancelled_in),
    Fault(name="paused in any state, racing a commit", scene=paused_in),
    Fault(name="paused and resumed while it runs", act=pause_resume),
    Fault(name="same submission four times at once", scene=twice_at_once),
    Fault(name="warm shutdown", act=shut_down(signal.SIGTERM)),
    Fault(name="soft shutdown", act=shut_down(signal.SIGTERM, signal.SIGTERM)),
    Fault(name="cold shutdown", act=shut_down(signal.SIGQUIT)),
    Fault(name="rolling deploy with changed views", act=roll),
]
"""Every fault of the suite."""
