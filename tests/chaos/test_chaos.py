"""The short part of the chaos suite: some faults on every stack. `make chaos` does all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.chaos.arena import PATIENCE, Arena
from tests.chaos.expected import EXPECTED
from tests.chaos.faults import FAULTS
from tests.chaos.forge import Forge
from tests.chaos.runner import Report, note, play
from tests.chaos.stacks import STACKS, arena, missing_for, seeded, undisturbed
from tests.chaos.verdict import Verdict, judge
from tests.helpers.environment import missing

SHORT = {
    "sqlite-embedded": [
        "worker killed before COMMIT",
        "worker killed while it loads the model",
        "SIGSTOP past the lease, then SIGCONT",
        "worker stopped, then killed",
        "scheduler killed between publish and mark",
        "embedded broker's file deleted",
        "cancelled in any state, racing a commit",
    ],
    "postgresql-redis": [
        "worker killed after COMMIT",
        "computing child killed, at any time",
        "message corrupt",
        "database connections terminated mid-commit",
        "worker stopped for good in a transaction",
        "broker frozen mid-run",
        "wrong clocks, by an hour",
    ],
    "postgresql-rabbitmq": [
        "worker killed after its claim",
        "broker wiped mid-run",
        "database restarted mid-commit",
        "worker cut off without a word",
        "database server frozen",
        "cold shutdown",
        "warm shutdown",
    ],
}


@pytest.fixture(
    params=[STACKS[0], *(pytest.param(name, marks=pytest.mark.services) for name in STACKS[1:])]
)
def made(request: pytest.FixtureRequest, forge: Forge, tmp_path: Path) -> Iterator[Arena]:
    if lacks := missing_for(request.param):
        missing(lacks)
    with arena(request.param, tmp_path / request.param, forge) as made:
        yield made


@pytest.mark.timeout(900)
def test_faults_lose_nothing_and_double_nothing(made: Arena) -> None:
    undisturbed(made, {"plain": {}})
    report, chance = Report(stack=made.name), seeded(made.name, 1)
    faults = [fault for fault in FAULTS if fault.name in SHORT[made.name]]
    lacks = {fault.name: lack for fault in faults if (lack := fault.needs(made))}
    for fault in faults:
        if fault.name not in lacks:
            play(made, chance, [fault], report)
    assert report.broken == []
    assert {name: tally.injected for name, tally in report.faults.items()} == dict.fromkeys(
        set(SHORT[made.name]).difference(lacks), 1
    )
    if lacks:
        pytest.skip(f"this machine lacks {', '.join(lacks.values())}")


def test_what_must_hold_can_fail(forge: Forge, tmp_path: Path) -> None:
    """So that the test above cannot pass by looking at nothing."""
    with arena(STACKS[0], tmp_path / "stack", forge) as made:
        undisturbed(made, {"plain": {}})
        job = made.begin()
        made.finish(job)
        assert judge(made, job) == Verdict(state="succeeded", equal=True)
        made.execute(f"UPDATE shard SET fence = fence + 1 WHERE job_id = {job} AND lo = 0")
        made.execute(f"DELETE FROM head_score WHERE job_id = {job} AND example_no = 9")
        made.execute(f"UPDATE job SET result_hash = 'other' WHERE id = {job}")
        found = judge(made, job)
        assert found.equal is False
        assert [what.partition(":")[0] for what in found.broken] == [
            "fences are not attempts",
            "a result of a fence that did not win",
            "head scores that do not belong to one good example each",
        ]
        made.execute(f"DELETE FROM example_result WHERE job_id = {job} AND example_no = 9")
        assert judge(made, job).lost == 1
        report = Report(stack=made.name)
        note(report, {"a fault": 1}, [found])
        assert len(report.broken) == 4


def stop_between_writes(made: Arena, pids: Sequence[int]) -> None:
    """Stop processes while none of them holds SQLite's only write lock."""
    for _ in range(50):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        connection = sqlite3.connect(made.home / "headwise.sqlite", timeout=2)
        with contextlib.closing(connection), contextlib.suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("one of them always holds the lock")


def test_a_process_that_does_not_go_on_breaks_a_round(forge: Forge, tmp_path: Path) -> None:
    """A worker that stands still is found, and one that ended, and what a log says."""
    with arena(STACKS[0], tmp_path / "stack", forge) as made:
        made.watch.limit = 2.0  # healthy processes may be slower than that: nothing is said of them
        assert made.during(lambda: len(made.rows("SELECT 1 FROM worker")) == 2, PATIENCE)
        victim, *_ = made.schedulers
        workers = list(made.workers)
        stopped = [pid for parent in workers for pid in made.family(parent)]
        stop_between_writes(made, [victim, *stopped])
        made.begin()
        nothing_taken = "has taken nothing, though shards were ready, for 2 s"
        awaited = {f"worker {pid} {nothing_taken}" for pid in workers}
        awaited.add(f"scheduler {victim} has finished no round for 2 s")
        found = set[str]()

        def told() -> bool:
            found.update(made.watch.complaints())
            return awaited <= found

        assert made.during(told, PATIENCE), found
        os.kill(victim, signal.SIGKILL)
        assert made.during(lambda: victim not in made.schedulers, PATIENCE)
        assert f"scheduler {victim} ended by itself" in " ".join(made.watch.complaints())
        with (made.home / "worker.log").open("a") as log:
            log.write("Traceback (most recent call last):\n  File\nValueError: what\n")
            log.write('{"level": "critical", "event": "Unrecoverable error: x"}\n')
            log.write('{"level": "warning", "event": "nothing"}\n')
        assert made.logs.read()[-2:] == [
            "Traceback (most recent call last):\n  File\nValueError: what",
            "Unrecoverable error: x",
        ]
        assert made.logs.read() == []


def test_every_expected_line_is_of_a_fault() -> None:
    assert set(EXPECTED) <= {fault.name for fault in FAULTS}


def test_every_fault_is_on_a_stack_and_has_one_way_to_be_done() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    for fault in FAULTS:
        assert sum(way is not None for way in (fault.points, fault.act, fault.scene)) == 1
        assert set(fault.on) <= set(STACKS)
