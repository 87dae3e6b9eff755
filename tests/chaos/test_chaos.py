"""The short part of the chaos suite: some faults on every stack. `make chaos` does all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.arena import STACKS, Arena, Verdict, arena, missing_for, seeded, undisturbed
from tests.chaos.faults import FAULTS
from tests.chaos.forge import Forge
from tests.chaos.runner import Report, note, play
from tests.helpers.environment import missing

SHORT = {
    "sqlite-embedded": [
        "worker killed before COMMIT",
        "worker killed while it loads the model",
        "SIGSTOP past the lease, then SIGCONT",
        "scheduler killed between publish and mark",
        "embedded broker's file deleted",
        "cancelled in any state, racing a commit",
    ],
    "postgresql-redis": [
        "worker killed after COMMIT",
        "computing child killed, at any time",
        "message corrupt",
        "database connections terminated mid-commit",
        "wrong clocks, by an hour",
    ],
    "postgresql-rabbitmq": [
        "worker killed after its claim",
        "broker wiped mid-run",
        "database restarted mid-commit",
        "warm shutdown",
    ],
}


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    forge = Forge(tmp_path_factory.mktemp("forge"))
    yield forge
    forge.close()


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
    for name in SHORT[made.name]:
        fault = next(fault for fault in FAULTS if fault.name == name)
        play(made, chance, [fault], report)
    assert report.broken == []
    assert {name: tally.injected for name, tally in report.faults.items()} == dict.fromkeys(
        SHORT[made.name], 1
    )


def test_what_must_hold_can_fail(forge: Forge, tmp_path: Path) -> None:
    """So that the test above cannot pass by looking at nothing."""
    with arena(STACKS[0], tmp_path / "stack", forge) as made:
        undisturbed(made, {"plain": {}})
        job = made.begin()
        made.finish(job)
        assert made.verdict(job) == Verdict(state="succeeded", equal=True)
        made.execute(f"UPDATE shard SET fence = fence + 1 WHERE job_id = {job} AND lo = 0")
        made.execute(f"DELETE FROM head_score WHERE job_id = {job} AND example_no = 9")
        made.execute(f"UPDATE job SET result_hash = 'other' WHERE id = {job}")
        found = made.verdict(job)
        assert found.equal is False
        assert [what.partition(":")[0] for what in found.broken] == [
            "fences are not attempts",
            "a result of a fence that did not win",
            "head scores that do not belong to one good example each",
        ]
        made.execute(f"DELETE FROM example_result WHERE job_id = {job} AND example_no = 9")
        assert made.verdict(job).lost == 1
        report = Report(stack=made.name)
        note(report, {"a fault": 1}, [found])
        assert len(report.broken) == 4


def test_every_fault_is_on_a_stack_and_has_one_way_to_be_done() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    for fault in FAULTS:
        assert sum(way is not None for way in (fault.points, fault.act, fault.scene)) == 1
        assert set(fault.on) <= set(STACKS)
