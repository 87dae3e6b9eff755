"""Specifications that name other jobs, studies of several, and results that are there already."""

from __future__ import annotations

import time
from typing import Any, Literal

import pytest
from safetensors.torch import load_file, save_file

from db.database import Database
from db.reads import job_list, studies
from db.reads import jobs as job_reads
from jobs.errors import InputError
from jobs.settings import Settings
from jobs.specs.base import JobNumber, JobSpec, Reference
from scheduler.submission import study as study_module
from scheduler.submission.references import check_references
from scheduler.submission.study import check_study, submit_study
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import model_folder, raw_submission, refused


class Needing(JobSpec):
    """A kind that wants a ranking of another job."""

    kind: Literal["needing"] = "needing"
    job: JobNumber
    source: str = "attattr"

    def references(self) -> tuple[Reference, ...]:
        kinds = ("attribution", "importance")
        return (Reference(field="sources.0.job", job=self.job, kinds=kinds, source=self.source),)


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def submitted(database: Database, settings: Settings, **spec: Any) -> int:
    return submit(check(raw_submission(settings.home, **spec), settings, database), database)


def problems(database: Database, settings: Settings, **fields: Any) -> list[str]:
    raw = raw_submission(settings.home)["spec"]
    spec = Needing.model_validate({**raw, **fields})
    return [str(problem) for problem in check_references(spec, settings, database, {})]


def test_a_reference_that_fits(database: Database, settings: Settings) -> None:
    job = submitted(database, settings)
    assert problems(database, settings, job=job) == []
    assert problems(database, settings, job=job, source="attention") == []


def test_an_unknown_job(database: Database, settings: Settings) -> None:
    assert problems(database, settings, job=7) == [
        "sources.0.job: there is no such job (given: 7). "
        "Give the number of a job of kind attribution or importance."
    ]


def test_a_job_of_the_wrong_kind(database: Database, settings: Settings) -> None:
    job = submitted(database, settings)
    execute(database, "UPDATE job SET kind = 'attack'")
    (problem,) = problems(database, settings, job=job)
    assert "is a job of kind attack (given: 1)" in problem


def test_a_source_that_the_job_does_not_offer(database: Database, settings: Settings) -> None:
    job = submitted(database, settings)
    (problem,) = problems(database, settings, job=job, source="atattr")
    assert problem.startswith("sources.0.source: is not what job 1 offers (given: 'atattr')")
    assert "Did you mean 'attattr'?" in problem
    raw = raw_submission(
        settings.home, kind="pruning", sources=[{"job": job, "source": "magic"}], preset=None
    )
    problem = refused(lambda: check(raw, settings, database), "is not what job 1 offers", "magic")
    assert problem.field == "sources.0.source"


@pytest.mark.parametrize("state", ["failed", "cancelling", "cancelled"])
def test_a_job_that_did_not_succeed(database: Database, settings: Settings, state: str) -> None:
    job = submitted(database, settings)
    execute(database, f"UPDATE job SET state = '{state}'")
    (problem,) = problems(database, settings, job=job)
    assert f"the job is {state}" in problem


def test_a_job_on_another_model(database: Database, settings: Settings) -> None:
    job = submitted(database, settings)
    other = {"name": str(model_folder(settings.home / "other"))}
    (problem,) = problems(database, settings, job=job, model=other)
    assert "is a job on another model" in problem
    # The same folder, spelled differently.
    same = {"name": str(settings.home / "other" / ".." / "model")}
    assert problems(database, settings, job=job, model=same) == []


# Results that are there already.


def test_the_same_results_are_taken_instead_unless_asked_for_again(
    database: Database, settings: Settings
) -> None:
    job = submitted(database, settings)
    raw = raw_submission(settings.home)
    soon = time.time() + 60
    execute(database, f"UPDATE job SET state = 'succeeded', started_at = {soon}")
    found = check({**raw, "user": "somebody else"}, settings, database)
    assert (found.same_as, found.existing_job) == (job, None)
    assert submit(found, database) == job
    again = check({**raw, "again": True}, settings, database)
    assert again.same_as is None
    assert submit(again, database) != job


def test_results_of_a_model_that_has_changed_since_are_not_the_same(
    database: Database, settings: Settings
) -> None:
    submitted(database, settings)
    execute(database, f"UPDATE job SET state = 'succeeded', started_at = {time.time() - 60}")
    weights = settings.home / "model" / "model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt", "trained": "longer"})
    assert check(raw_submission(settings.home), settings, database).same_as is None


def test_a_failed_job_has_no_results_to_take(database: Database, settings: Settings) -> None:
    submitted(database, settings)
    execute(database, f"UPDATE job SET state = 'failed', started_at = {time.time() + 60}")
    assert check(raw_submission(settings.home), settings, database).same_as is None


# Studies.


def two(settings: Settings, **changes: Any) -> dict[str, Any]:
    first, second = raw_submission(settings.home), raw_submission(settings.home)
    second["spec"] |= {"kind": "importance", "method": "taylor", **changes}
    return {"name": "paper", "user": "ada", "jobs": {"attribution": first, "taylor": second}}


def test_a_study_is_written_at_once(database: Database, settings: Settings) -> None:
    found = submit_study(check_study(two(settings), settings, database), database)
    assert list(found.jobs) == ["attribution", "taylor"]
    assert studies.get_study(database, found.study).steps == found.jobs
    job = job_reads.get_job(database, found.jobs["taylor"])
    assert (job.kind, job.user) == ("importance", "ada")


def test_every_problem_of_a_study_names_its_job(database: Database, settings: Settings) -> None:
    raw = two(settings, method="tailor")
    raw["jobs"]["attribution"]["spec"]["rtol"] = 7
    with pytest.raises(InputError) as caught:
        check_study(raw, settings, database)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["jobs.attribution.rtol", "jobs.taylor.method"]
    assert job_list.list_jobs(database) == []


@pytest.mark.parametrize("raw", [[], {}, {"jobs": {}}, {"jobs": {"a": 1}}, {"jobs": [1]}])
def test_a_study_that_is_none(database: Database, settings: Settings, raw: Any) -> None:
    refused(lambda: check_study(raw, settings, database), "must")


def test_keys_stand_for_jobs_that_come_before(settings: Settings) -> None:
    resolved = study_module._resolved(
        {"sources": [{"job": "$one", "source": "attattr"}], "other": "$two"}, {"one": 12}
    )
    assert resolved == {"sources": [{"job": 12, "source": "attattr"}], "other": "$two"}
    raw = {**raw_submission(settings.home)["spec"], "job": "$two"}
    with pytest.raises(ValueError, match="names no job before this one"):
        Needing.model_validate(raw)


def test_a_finished_step_is_taken_into_the_next_study(
    database: Database, settings: Settings
) -> None:
    first = submit_study(check_study(two(settings), settings, database), database)
    done = first.jobs["attribution"]
    execute(database, f"UPDATE job SET state = 'succeeded', started_at = {time.time() + 60}")
    changed = two(settings, method="leave-one-out")
    second = submit_study(check_study(changed, settings, database), database)
    assert second.jobs["attribution"] == done
    assert second.jobs["taylor"] not in first.jobs.values()
    assert [s.steps["attribution"] for s in studies.list_studies(database)] == [done, done]
