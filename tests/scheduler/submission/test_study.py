"""A whole study: checked at once, written at once, and no step of it run twice."""

from __future__ import annotations

from typing import Any

import pytest

from db.database import Database
from db.queue import lifecycle
from db.reads import job_list, studies
from db.reads import jobs as job_reads
from jobs.errors import ConflictError, InputError, NotFoundError
from jobs.settings import Settings
from scheduler.submission.study import (
    Study,
    check_study,
    control_study,
    restart_study,
    submit_study,
)
from tests.helpers.inputs import data_file, raw_submission, refused

STEPS = ["attribution", "taylor", "leave-one-out", "pruning", "attack"]


def raw_study(settings: Settings, **changes: Any) -> dict[str, Any]:
    spec = raw_submission(settings.home)["spec"]
    return {"name": "paper", "user": "ada", "spec": {**spec, "examples": 4, **changes}}


def submitted(database: Database, settings: Settings, **changes: Any) -> Study:
    checked = check_study(raw_study(settings, **changes), settings, database)
    return submit_study(checked, database)


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def succeed(database: Database, *jobs: int) -> None:
    for job in jobs:
        execute(database, f"UPDATE job SET state = 'succeeded', started_at = 4e9 WHERE id = {job}")


def states(database: Database, study: int) -> list[str]:
    return [str(state) for state in studies.get_study(database, study).states.values()]


def test_one_submission_writes_every_job(database: Database, settings: Settings) -> None:
    found = submitted(database, settings)
    assert list(found.jobs) == STEPS
    jobs = {step: job_reads.get_job(database, number) for step, number in found.jobs.items()}
    assert {job.name for job in jobs.values()} == {f"paper: {step}" for step in STEPS}
    assert [one["job"] for one in jobs["pruning"].spec["sources"]] == [1, 1, 2, 3]
    assert [parent for parent, _ in jobs["pruning"].parents] == [1, 2, 3]
    assert [parent for parent, _ in jobs["attack"].parents] == [1]
    assert (jobs["attribution"].examples, jobs["pruning"].examples) == (4, 2)
    row = studies.get_study(database, found.study)
    assert (row.name, row.user, row.state) == ("paper", "ada", "queued")


def test_a_step_that_is_refused_leaves_nothing(database: Database, settings: Settings) -> None:
    raw = raw_study(settings, target="mybe")
    problem = refused(lambda: check_study(raw, settings, database), "is not a label")
    assert problem.field == "target"
    assert job_list.list_jobs(database) == []


def test_every_problem_is_told_once(database: Database, settings: Settings) -> None:
    raw = raw_study(settings, max_length=1000)
    raw["spec"]["data"]["label_column"] = "lable"
    with pytest.raises(InputError) as caught:
        check_study(raw, settings, database)
    assert [p.field for p in caught.value.problems] == ["max_length", "data.label_column"]


def test_data_without_a_rest(database: Database, settings: Settings) -> None:
    raw = raw_study(settings, examples=6)
    problem = refused(lambda: check_study(raw, settings, database), "leaves no rows")
    assert (problem.field, problem.value) == ("examples", 6)


def test_the_estimate_is_of_the_jobs_that_are_not_there(
    database: Database, settings: Settings
) -> None:
    raw = raw_study(settings)
    checked = check_study(raw, settings, database)
    assert checked.reused == {}
    assert checked.estimate.examples == 4 * 3 + 2 * 2
    assert "not measured" not in checked.estimate.basis
    assert checked.estimate.seconds is None
    jobs = submit_study(checked, database).jobs
    succeed(database, jobs["attribution"])
    again = check_study(raw, settings, database)
    assert again.reused == jobs
    assert again.estimate.examples == 0


def test_a_failed_step_fails_what_needs_it_and_the_rest_goes_on(
    database: Database, settings: Settings
) -> None:
    found = submitted(database, settings)
    execute(database, "UPDATE job SET state = 'failed', error = 'no luck' WHERE id = 2")
    lifecycle.sweep_jobs(database)
    assert states(database, found.study) == ["queued", "failed", "queued", "failed", "queued"]
    pruning = job_reads.get_job(database, found.jobs["pruning"])
    assert pruning.error == "job 2, which this needs, failed: no luck"


def test_once_more_goes_to_the_same_queue(database: Database, settings: Settings) -> None:
    raw = {**raw_study(settings), "queue": "gpu"}
    first = submit_study(check_study(raw, settings, database), database)
    execute(database, "UPDATE job SET state = 'failed'")
    restart_study(first.study, settings, database)
    jobs = job_list.list_jobs(database)
    assert (len(jobs), {job.queue for job in jobs}) == (10, {"gpu"})


def test_once_more_runs_what_failed_and_nothing_else(
    database: Database, settings: Settings
) -> None:
    first = submitted(database, settings)
    with pytest.raises(ConflictError, match="has not ended"):
        restart_study(first.study, settings, database)
    succeed(database, 1, 3, 5)
    execute(database, "UPDATE job SET state = 'failed' WHERE id IN (2, 4)")
    again = restart_study(first.study, settings, database)
    assert again.study != first.study
    assert again.jobs == {**first.jobs, "taylor": 6, "pruning": 7}
    job = job_reads.get_job(database, 7)
    assert [one["job"] for one in job.spec["sources"]] == [1, 1, 6, 3]
    succeed(database, 6, 7)
    with pytest.raises(ConflictError, match="nothing to run again"):
        restart_study(again.study, settings, database)
    # The same study submitted anew comes to the same jobs.
    assert submitted(database, settings).jobs == again.jobs


def test_once_more_takes_what_succeeded_on_data_that_cannot_be_recognised(
    database: Database, settings: Settings
) -> None:
    first = submitted(database, settings)
    succeed(database, 1, 2, 3, 5)
    execute(database, "UPDATE job SET data_fingerprint = NULL")
    execute(database, "UPDATE job SET state = 'failed' WHERE id = 4")
    again = restart_study(first.study, settings, database)
    assert again.jobs == {**first.jobs, "pruning": 6}
    assert [parent for parent, _ in job_reads.get_job(database, 6).parents] == [1, 2, 3]


def test_cancelling_ends_every_job(database: Database, settings: Settings) -> None:
    found = submitted(database, settings)
    succeed(database, 1)
    control_study(database, found.study, "cancel")
    lifecycle.sweep_jobs(database)
    assert states(database, found.study) == ["succeeded"] + ["cancelled"] * 4
    assert studies.get_study(database, found.study).state == "cancelled"
    with pytest.raises(ConflictError, match="is cancelled: pause is not possible now"):
        control_study(database, found.study, "pause")


def test_pausing_holds_every_job_until_it_is_resumed(
    database: Database, settings: Settings
) -> None:
    found = submitted(database, settings)
    succeed(database, 1)
    for action, state, wish in (("pause", "paused", "pause"), ("resume", "running", "run")):
        control_study(database, found.study, action)
        assert studies.get_study(database, found.study).state == state
        jobs = [job_reads.get_job(database, number) for number in found.jobs.values()]
        assert [job.control for job in jobs] == ["run"] + [wish] * 4


def test_what_may_not_be_asked(database: Database, settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="no study 9"):
        control_study(database, 9, "pause")
    problem = refused(
        lambda: check_study({"nmae": "a", "jobs": {}}, settings, database), "unknown key"
    )
    assert (problem.field, problem.remedy) == ("nmae", "Did you mean 'name'?")
    problem = refused(lambda: control_study(database, 9, "delete"), "is unknown")
    assert problem.field == "action"
    raw = {**raw_study(settings), "jobs": {}}
    assert refused(lambda: check_study(raw, settings, database)).field == "jobs"


def test_other_data_to_evaluate_on(database: Database, settings: Settings) -> None:
    other = data_file(settings.home / "other.jsonl", rows=5)
    data = raw_submission(settings.home)["spec"]["data"]
    found = submitted(database, settings, evaluation={**data, "path": str(other)})
    assert job_reads.get_job(database, found.jobs["attack"]).examples == 5
    raw = raw_study(settings, evaluation={**data, "path": "gone.jsonl"})
    problem = refused(lambda: check_study(raw, settings, database), "no such file")
    assert problem.field == "evaluation.path"
