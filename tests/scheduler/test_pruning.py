"""Pruning jobs on both databases: plan, shards, results and the choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from db.database import Database
from db.kinds import pruning
from db.queue import claims, lifecycle
from db.queue.ask import Ask
from db.reads import jobs as job_reads
from db.results import commit
from jobs.errors import InputError
from jobs.outcome import Completed, HandedBack
from jobs.settings import Settings
from scheduler.submission.submit import check
from tests.helpers.inputs import refused
from tests.helpers.jobs import ALICE
from tests.helpers.pruning_jobs import ROWS, computed, plan, raw, run, submitted


def test_a_job_leaves_out_what_its_heads_were_ranked_with(
    database: Database, settings: Settings
) -> None:
    job = submitted(database, settings, steps=2, random=1)
    plan(database, settings)
    assert job_reads.get_job(database, job).examples == ROWS - 4
    found = pruning.get_choice(database, job)
    assert found is not None
    assert (found.given, found.overlap, found.chosen_mask) == (ROWS, 4, None)
    run(database)
    job_row = job_reads.get_job(database, job)
    assert job_row.state.value == "succeeded"
    points, provisional = pruning.get_points(database, job)
    assert not provisional
    assert [(p.source, p.direction, p.removed) for p in points] == [
        *(("attattr", "least", n) for n in (0, 3, 6)),
        *(("attattr", "most", n) for n in (0, 3, 6)),
        *(("random", "any", n) for n in (0, 3, 6)),
    ]
    whole, none = points[0].result, points[2].result
    assert whole is not None
    assert none is not None
    assert (whole.n, whole.accuracy, whole.macro_f1) == (ROWS - 4, 1.0, 1.0)
    assert none.accuracy is not None
    assert none.loss is not None
    assert none.accuracy < 0.5
    assert none.loss_low < none.loss < none.loss_high  # type: ignore[operator]
    with database.read() as tx:
        assert tx.run("SELECT COUNT(*) FROM mask_sum").scalar() == 0


def test_overlap_is_allowed_where_it_is_asked_for(database: Database, settings: Settings) -> None:
    job = submitted(database, settings, allow_overlap=True)
    plan(database, settings)
    assert job_reads.get_job(database, job).examples == ROWS
    found = pruning.get_choice(database, job)
    assert found is not None
    assert found.overlap == 4


def test_a_job_of_nothing_but_known_examples_is_refused(
    database: Database, settings: Settings
) -> None:
    with pytest.raises(InputError, match="all 4 examples were used to rank the heads"):
        submitted(database, settings, data={"limit": 4})


def test_a_job_that_is_found_to_have_none_but_known_examples_fails_with_the_reason(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for hub data, whose examples nobody knows before they are loaded.
    monkeypatch.setattr("scheduler.submission.submit.count_overlap", lambda *_: 0)
    job = submitted(database, settings, data={"limit": 4})
    plan(database, settings)
    failed = job_reads.get_job(database, job)
    assert failed.state.value == "failed"
    assert "all 4 examples were used to rank the heads" in str(failed.error)


def test_the_choice_is_made_on_one_half_and_verified_on_the_other(
    database: Database, settings: Settings
) -> None:
    job = submitted(database, settings, steps=2, random=0, within=25)
    plan(database, settings)
    run(database)
    found = pruning.get_choice(database, job)
    assert found is not None
    numbers = np.arange(4, ROWS)  # what is left is numbered from 0 again
    assert len(numbers) == 20
    number = np.arange(20)
    wrong = [[(number * 7 % ROWS < 4 * k - 4)[number % 2 == half].mean() for k in range(7)]
             for half in (0, 1)]  # fmt: skip
    best = max(k for k in range(7) if wrong[0][k] <= 0.25)
    assert 0 < best < 6
    assert found.removed == best
    assert (found.search_n, found.held_out_n) == (10, 10)
    assert found.search_accuracy == pytest.approx(1 - wrong[0][best])
    assert found.held_out_accuracy == pytest.approx(1 - wrong[1][best])
    assert found.held_out_whole == 1
    assert found.verified == (wrong[1][best] <= 0.25)
    assert found.held_out_low is not None
    assert found.held_out_low < found.held_out_accuracy
    assert found.chosen_mask is not None
    assert len(pruning.get_removed(database, job, found.chosen_mask)) == best


def test_results_are_provisional_while_shards_are_missing_and_a_job_goes_as_a_whole(
    database: Database, settings: Settings
) -> None:
    job = submitted(database, settings)
    plan(database, settings)
    held = claims.claim(database, ALICE, 60, Ask(seconds=1.0))
    assert held is not None
    assert held.hi < ROWS - 4
    assert pruning.get_points(database, job)[0][0].result is None
    shard = commit.read_shard(database, held)
    done = Completed(parts=(computed(held.lo, held.hi, shard.planned),), seconds=0.1)
    assert commit.commit_shard(database, held, done, "model")
    points, provisional = pruning.get_points(database, job)
    assert provisional
    assert points[0].result is not None
    assert points[0].result.n == held.hi
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    lifecycle.set_control(database, job, "delete")
    with database.read() as tx:
        for table in ("mask", "curve_point", "mask_sum", "pruning"):
            count = tx.run(f"SELECT COUNT(*) FROM {table}").scalar()
            assert count == 0, table


def test_sources_that_do_not_fit_are_refused(database: Database, settings: Settings) -> None:
    submitted(database, settings)

    def refuse_with(**spec: Any) -> str:
        call = lambda: check(raw(settings, 1, **spec), settings, database)  # noqa: E731
        return refused(call).field

    assert refuse_with(sources=[{"job": 99}]) == "sources.0.job"
    assert refuse_with(sources=[{"job": 1, "source": "taylor"}]) == "sources.0.source"
    with pytest.raises(InputError):
        check(raw(settings, 2), settings, database)


def test_results_do_not_depend_on_how_a_job_was_cut(database: Database, settings: Settings) -> None:
    found = []
    for sizes in ([24], [1, 7, 2, 14], [3, 3, 18]):
        job = submitted(database, settings)
        plan(database, settings)
        with database.write() as tx:
            tx.run(f"UPDATE job SET block = 1 WHERE id = {job}")
        for count in sizes:
            held = claims.claim(database, ALICE, 60)
            if held is None:
                break
            planned = commit.read_shard(database, held).planned
            hi = min(held.hi, held.lo + count)
            parts = tuple(computed(n, n + 1, planned) for n in range(held.lo, hi))
            made, stop = Completed(parts=parts, seconds=0.1), HandedBack(reason="pause")
            assert commit.commit_shard(database, held, made, "model", stop)
        lifecycle.sweep_jobs(database)
        assert lifecycle.finish_jobs(database) == [job]
        done = job_reads.get_job(database, job)
        found.append((done.state, done.result_hash))
    assert found[0][0] == "succeeded"
    assert found[0] == found[1] == found[2]
