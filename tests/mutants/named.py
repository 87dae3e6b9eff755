"""Mutants that once survived, and the tests that kill them now."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutants.mutations import ROOT, Mutant


@dataclass(frozen=True, kw_only=True)
class NamedMutant:
    """A change whose meaning is known."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    """The tests that must fail."""

    @property
    def mutant(self) -> Mutant:
        """The change in the file as it is now."""
        source = (ROOT / self.path).read_text(encoding="utf-8")
        if source.count(self.old) != 1:
            raise LookupError(f"{self.name}: {self.path} must have {self.old!r} once")
        start = source.index(self.old)
        return Mutant(path=self.path, start=start, end=start + len(self.old), replacement=self.new)


NAMED: tuple[NamedMutant, ...] = (
    NamedMutant(
        name="the newest shard alone decides a worker's pace",
        path="workers/worker.py",
        old="self.paces[held.shape] = (before + pace) / 2",
        new="self.paces[held.shape] = pace",
        tests=("tests/workers/test_pace.py",),
    ),
    NamedMutant(
        name="a user holds one lease more than the limit",
        path="db/queue/sql.py",
        old="COALESCE(own.n, 0) < :user_limit",
        new="COALESCE(own.n, 0) <= :user_limit",
        tests=("tests/db/queue/test_shares.py::test_limits_of_users_and_queues[sqlite]",),
    ),
    NamedMutant(
        name="a user has one unfinished job more than the limit",
        path="db/queue/limits.py",
        old="jobs >= limits.jobs",
        new="jobs > limits.jobs",
        tests=(
            "tests/scheduler/submission/test_limits.py::test_unfinished_jobs_of_a_user[sqlite]",
        ),
    ),
    NamedMutant(
        name="a user has one waiting example less than the limit",
        path="db/queue/limits.py",
        old="waiting + examples > limits.examples",
        new="waiting + examples >= limits.examples",
        tests=(
            "tests/scheduler/submission/test_limits.py"
            "::test_a_user_may_have_exactly_as_many_examples_waiting[sqlite]",
        ),
    ),
    NamedMutant(
        name="a worker is ignored as soon as it is shown as dead",
        path="db/ops/fleet.py",
        old="return dead_after(heartbeat_seconds) + 5.0",
        new="return dead_after(heartbeat_seconds)",
        tests=(
            "tests/scheduler/test_dispatch.py"
            "::test_a_worker_that_just_missed_its_heartbeats_is_still_woken[sqlite-24.9-2]",
        ),
    ),
    NamedMutant(
        name="a pace measured on any device counts",
        path="db/queue/sql.py",
        old=" AND a.device LIKE :device",
        new="",
        tests=(
            "tests/db/queue/test_shares.py::test_a_pace_counts_on_devices_of_its_kind_only[sqlite]",
        ),
    ),
    NamedMutant(
        name="SQLite keeps no tenth of its file free",
        path="db/ops/deletion.py",
        old="surplus = free - pages // 10",
        new="surplus = free",
        tests=("tests/db/ops/test_deletion.py::test_sqlite_gives_space_back",),
    ),
)
