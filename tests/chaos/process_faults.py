"""Faults of processes, brokers, databases and disks."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import kombu

from scheduler.broker import make_app
from tests.chaos.arena import FINAL, Arena
from tests.helpers import services
from tests.helpers.stack import alive, children_of


@contextmanager
def locked(made: Arena, file: Path, how: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """A transaction of our own in a file of SQLite's, begun when nobody else is in one."""
    with closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as connection:
        made.patiently(lambda: connection.execute(f"BEGIN {how}"))
        yield connection
        connection.execute("COMMIT")


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
        able = made.able(made.workers)
        if not able:
            return False
        parent = chance.choice(able)
        family = made.family(parent)
        for number in numbers:
            made.signal(parent, number)
            time.sleep(0.3)
        if not made.during(lambda: not alive([parent]), 60):
            raise AssertionError("a worker that was told to stop goes on")
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
        with locked(made, made.home / "broker.sqlite", "EXCLUSIVE"):
            time.sleep(1.5)
        return True
    made.broker.kill()
    time.sleep(1.0)
    made.broker.start()
    return True


def broker_wiped(made: Arena, _chance: random.Random, _job: int) -> bool:
    """Every message is gone, and with a server also the queue."""
    if made.broker is None:
        with locked(made, made.home / "broker.sqlite") as connection:
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
    with locked(made, Path(made.settings.database.removeprefix("sqlite:///"))):
        time.sleep(1.5 + chance.random())
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
