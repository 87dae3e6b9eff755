"""Submit jobs: check everything first, then write once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from db.accounts.audit import note_made
from db.database import Database
from db.ops import fleet, notifications
from db.ops.fleet import NO_WORKERS
from db.queue import new_jobs
from db.queue.examples import ExampleRow
from db.queue.limits import Limits, enforce
from db.queue.new_jobs import NO_LIMITS, NewJob
from db.reads import jobs as job_reads
from db.reads import past_jobs
from db.reads.jobs import Job
from headwise.models.labels import Labels, Outputs, UnknownLabelError, listed, read_labels
from jobs.errors import InputError, NotFoundError, Problem, refuse
from jobs.formatting import counted
from jobs.inputs.data.examples import Rows, data_file, open_rows
from jobs.inputs.data.rows import Summary
from jobs.inputs.data.summary import summarize
from jobs.inputs.data.understood import Understood
from jobs.inputs.hub import dataset_address
from jobs.inputs.models.configuration import ModelFacts, label_order, model_facts
from jobs.inputs.models.texts import try_texts
from jobs.kinds import DEFAULT, SPECS
from jobs.people import highest_priority, priority_problems
from jobs.processes.traces import span_of_past
from jobs.scheduling.estimates import experience
from jobs.scheduling.plan import Estimate, estimate
from jobs.settings import Settings
from jobs.specs.base import JobSpec, ModelSpec, read_strictly
from jobs.specs.submission import Submission, canonical_json, parse_submission, spec_hash
from jobs.states import Control, JobState
from jobs.titles import data_name, model_name
from scheduler.submission.overlap import count_overlap
from scheduler.submission.quick_jobs import is_one_text
from scheduler.submission.references import Parent, check_references


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A submission that passed its checks, with everything needed to submit it."""

    submission: Submission
    settings: Settings
    facts: ModelFacts
    data: Summary | None
    """None for hub data, which the scheduler loads."""
    estimate: Estimate
    understood: Understood | None = None
    """The reading of `data`."""
    overlap: int = 0
    """Examples that are left out, because the heads were ranked with them."""
    recipients: tuple[int, ...] = ()
    """Recipients of notifications that are told when it ends."""
    limits: Limits = NO_LIMITS
    existing_job: int | None = None
    """An unfinished job that is the same work, or has the same idempotency key."""
    same_as: int | None = None
    """A succeeded job with the same results, used instead unless `again` is set."""
    unserved: str | None = None
    """A sentence that no worker serves its queue."""

    @property
    def data_notes(self) -> tuple[str, ...]:
        """Treatment of the data that one may not expect, in words."""
        return self.understood.notes if self.understood else self.facts.notes

    @property
    def notes(self) -> tuple[str, ...]:
        """The same, the examples that are left out, and that no worker serves its queue."""
        found = list(self.data_notes)
        if self.overlap and self.data:
            found.append(
                f"{self.overlap:,} of {counted(self.data.examples, 'example')} were used to rank "
                "the heads and are left out"
            )
        return (*found, self.unserved) if self.unserved else tuple(found)


def check(
    raw: object,
    settings: Settings,
    database: Database,
    pending: Mapping[int, Parent] | None = None,
) -> Checked:
    """Check a submission against the model, the data and the settings; nothing is written.

    `pending` are jobs that will be written before it, by the numbers that it calls them. Raises
    InputError with every problem that was found.
    """
    submission = _read(with_model(raw, database), settings)
    spec = submission.spec
    problems = _own_problems(submission)
    facts: ModelFacts | None = None
    data: Summary | None = None
    understood: Understood | None = None
    try:
        facts = model_facts(spec.model, settings)
        submission = pinned(submission, facts)
        spec = submission.spec
        problems += _misfits(spec, facts)
        other, submission = _other_models(submission, facts, settings)
        problems += other
    except InputError as error:
        problems += error.problems
    try:
        recipients = notifications.by_name(database, submission.notify, submission.user)
    except InputError as error:
        problems += error.problems
    problems += check_references(submission.spec, settings, database, pending or {})
    try:
        if not spec.data.dataset:
            data, understood = _read_data(submission, facts, settings)
    except InputError as error:
        problems += error.problems
    if problems or facts is None:
        raise InputError(problems)
    overlap = _overlap(spec, data, spec.left_out_jobs(pending or ()), settings, database)
    fresh = data and replace(data, examples=data.examples - overlap)
    grace = fleet.patience(settings.heartbeat_seconds)
    workers = fleet.count_workers(database, grace)
    alive = workers.get(submission.queue, NO_WORKERS).alive
    found = Checked(
        submission=submission,
        settings=settings,
        facts=facts,
        data=data,
        understood=understood,
        estimate=_estimate(submission, facts, fresh, alive, database, settings),
        overlap=overlap,
        unserved=fleet.unserved(submission.queue, workers),
        recipients=tuple(recipients),
        limits=Limits(
            jobs=settings.max_jobs_per_user, examples=settings.max_queued_examples_per_user
        ),
    )
    return _with_same_work(found, database)


def _overlap(
    spec: JobSpec, data: Summary | None, jobs: Sequence[int], settings: Settings, database: Database
) -> int:
    """Count the examples that are left out as those of `jobs`. Raises InputError if none is left.

    Those of hub data are counted once they are loaded.
    """
    if data is None or not jobs:
        return 0
    found = count_overlap(spec.data, data, jobs, settings, database)
    if found == data.examples:
        raise InputError(spec.nothing_left(found))
    return found


def _with_same_work(found: Checked, database: Database) -> Checked:
    """The check with the jobs of the same work. Raises LimitError where a new one is too many."""
    job = new_job(found)
    with database.read() as tx:
        existing = new_jobs.find_job(tx, job.values)
        same = None
        if existing is None and job.reuse_since is not None:
            same = new_jobs.find_results(tx, job.values, job.reuse_since)
        if existing is None and same is None:
            enforce(tx, job.limits, found.submission.user, job.values["examples"])
    return replace(found, existing_job=existing, same_as=same)


def _read(raw: object, settings: Settings) -> Submission:
    """The submission. Raises InputError, also with the problems of its model and its file."""
    try:
        return read_submission(raw, settings)
    except InputError as error:
        spec = raw.get("spec") if isinstance(raw, Mapping) else None
        raise InputError([*error.problems, *early_problems(spec, settings)]) from None


def early_problems(spec: object, settings: Settings) -> list[Problem]:
    """The problems with the model and the file of a specification that cannot be read yet."""
    if not isinstance(spec, Mapping):
        return []
    found: list[Problem] = []
    try:
        model = read_strictly(ModelSpec, spec.get("model"))
        model_facts(model, settings)
    except ValidationError:  # told by who read the specification
        pass
    except InputError as error:
        found += error.problems
    data = spec.get("data")
    try:
        if isinstance(data, Mapping) and (path := data.get("path")):
            data_file(str(path), settings)
    except InputError as error:
        found += error.problems
    return found


def _read_data(
    submission: Submission, facts: ModelFacts | None, settings: Settings
) -> tuple[Summary, Understood | None]:
    """Look at the data, and match it with the model if that is usable. Raises InputError."""
    spec = submission.spec
    summary = summarize(spec.data, settings, submission.rows)
    understood = None
    if facts:
        # The label column of a model that gives numbers is a problem of its own.
        if facts.outputs is not Outputs.NUMBERS or spec.data.label_column is None:
            labels = gold_labels(summary, facts.labels, spec)
            understood = Understood.of(summary, labels, facts.labels, spec.data)
        notes = try_texts(
            *(spec, facts, settings, summary),
            lambda: open_rows(spec.data, settings, submission.rows),
        )
        if understood:
            understood = replace(understood, notes=(*facts.notes, *notes))
    check_size(summary.examples, settings)
    return summary, understood


def read_submission(raw: object, settings: Settings) -> Submission:
    """A submission with the queue of the settings where it names none. Raises InputError."""
    return parse_submission({"queue": settings.queue, **raw} if isinstance(raw, Mapping) else raw)


def copied(job: Job) -> dict[str, Any]:
    """The raw submission of a copy of a job, with a priority that the submitter may give."""
    priority = min(job.priority, highest_priority())
    return {"spec": job.spec, "name": job.name, "priority": priority, "queue": job.queue}


def submit(checked: Checked, database: Database) -> int:
    """Write the job, and return its number.

    Where a job is the same work and not finished, or has the same results, that one's number.
    """
    began = time.monotonic()
    with rows_of(checked) as rows:
        job = new_job(checked, rows)
        job_id = new_jobs.write_jobs(database, lambda tx: new_jobs.write_job(tx, job))
    note_made(f"job {job_id}")
    span_of_past("submit", job_id, time.monotonic() - began)
    return job_id


def rows_of(checked: Checked) -> AbstractContextManager[Rows | None]:
    """The rows of its data, to be closed; None for hub data. Raises the errors of `open_rows`."""
    if checked.data is None:
        return nullcontext()
    submission = checked.submission
    return open_rows(submission.spec.data, checked.settings, submission.rows)


def new_job(checked: Checked, rows: Rows | None = None) -> NewJob:
    """The job's row, and its examples from `rows`.

    Raises InputError if they are not those that were checked.
    """
    submission, facts, data = checked.submission, checked.facts, checked.data
    spec, deadline = submission.spec, submission.deadline
    if rows and data and rows.summary.fingerprint != data.fingerprint:
        changed = "was changed during the submission"
        raise refuse("data.path", spec.data.path, changed, "Submit again.")
    fingerprint = data.fingerprint if data else None
    stored = spec.model_dump(mode="json")
    work = f"{submission.user} {spec_hash(spec)} {fingerprint or ''}"
    values: dict[str, Any] = {
        "kind": spec.kind,
        "name": submission.name,
        "spec": canonical_json(spec),
        "spec_hash": spec_hash(spec),
        "user_name": submission.user,
        "priority": submission.priority,
        "queue": submission.queue,
        "state": JobState.QUEUED.value,
        "control": Control.RUN.value,
        "data_fingerprint": fingerprint,
        "labels": json.dumps(facts.labels, ensure_ascii=False),
        "outputs": facts.outputs.value,
        "understood": checked.understood.to_json() if checked.understood else None,
        "layers": facts.layers,
        "heads": facts.heads,
        "examples": data.examples if data else 0,
        "cost": spec.cost(facts.layers, facts.heads),
        "characters": data.characters if data else None,
        "model": spec.loads,
        "model_name": model_name(stored),
        "data_name": data_name(stored),
        "quick": is_one_text(submission),
        "dedupe_key": hashlib.sha256(work.encode()).hexdigest(),
        "idempotency_key": submission.idempotency_key,
        "deadline_at": deadline.timestamp() if isinstance(deadline, datetime) else None,
        "keep_days": submission.keep_days,
        "keep_details_days": submission.keep_details_days,
    }
    return NewJob(
        values=values,
        examples=Examples(rows, gold_labels(rows.summary, facts.labels, spec)) if rows else None,
        parents=[reference.job for reference in spec.references()],
        limits=checked.limits,
        recipients=checked.recipients,
        deadline_seconds=deadline if isinstance(deadline, float) else None,
        reuse_since=None if submission.again else facts.changed_at,
    )


def check_size(examples: int, settings: Settings) -> None:
    """Refuse a job of more examples than the settings allow. Raises InputError."""
    most = settings.max_examples_per_job
    if most and examples > most:
        message = f"the job would have {examples:,} examples, and {most:,} are allowed"
        remedy = "Take fewer rows, or raise HEADWISE_MAX_EXAMPLES_PER_JOB."
        raise refuse("data.limit", None, message, remedy)


def gold_labels(data: Summary, labels: tuple[str, ...], spec: JobSpec) -> Labels:
    """Understand the different labels. Raises InputError naming the first row that does not fit."""
    try:
        found = read_labels(data.labels, labels)
    except UnknownLabelError as error:
        raise refuse(
            "data.label_column",
            error.value,
            f"{data.places[error.row]} has a label that the model does not know",
            f"The model's labels: {listed(labels)}. Rename the labels, or leave data.label_column "
            "empty.",
        ) from None
    if not data.all_labels:
        message = f"has more than {len(data.labels):,} different labels"
        raise refuse(
            "data.label_column", spec.data.label_column, message, "Name the column of the labels."
        )
    if spec.needs_gold and None in found.indices:
        row = data.places[found.indices.index(None)]
        raise InputError(spec.unlabelled(f"{row} has no gold label"))
    return found


class Examples:
    """The examples of a job as they are stored, each made when it is asked for.

    gold: the different labels of the data
    """

    def __init__(self, data: Rows, gold: Labels) -> None:
        self._rows = data.rows
        self._gold = dict(zip(map(repr, data.summary.labels), gold.indices, strict=True))

    def __iter__(self) -> Iterator[ExampleRow]:
        for row in self._rows:
            first, second = (*row.texts, None)[:2]
            gold = self._gold[repr(row.label)]
            yield ExampleRow(row.number, first, second, row.text_hash, gold)


def _own_problems(submission: Submission) -> list[Problem]:
    """Problems of a submission that need neither its model nor its data."""
    problems: list[Problem] = []
    if submission.spec.data.dataset:
        try:
            dataset_address(submission.spec.data.dataset)
        except InputError as error:
            problems += error.problems
    if submission.rows is not None and not submission.spec.data.inline:
        message = "are given, but the data comes from elsewhere"
        remedy = "Set data.inline in place of data.path or data.dataset, or leave them out."
        problems.append(Problem(field="rows", value=None, message=message, remedy=remedy))
    deadline = submission.deadline
    if isinstance(deadline, datetime) and deadline <= datetime.now(UTC):
        shown, remedy = deadline.isoformat(), "Give a later one, or none."
        message = "has passed already"
        problems.append(Problem(field="deadline", value=shown, message=message, remedy=remedy))
    if not is_one_text(submission):
        problems += priority_problems(submission.priority)
    return problems


def _misfits(spec: JobSpec, facts: ModelFacts) -> list[Problem]:
    problems = spec.misfits(facts.labels, facts.outputs)
    if spec.max_length and facts.max_length and spec.max_length > facts.max_length:
        problems.append(
            Problem(
                field="max_length",
                value=spec.max_length,
                message=f"is more than the model's {facts.max_length} positions",
                remedy="Give less, or leave it empty.",
            )
        )
    return problems


def _other_models(
    submission: Submission, facts: ModelFacts, settings: Settings
) -> tuple[list[Problem], Submission]:
    """Check the other models that a specification names, and pin their hub revisions."""
    spec = submission.spec
    problems, revisions = [], []
    for field, model in spec.other_models.items():
        try:
            found = model_facts(model, settings)
        except InputError as error:
            problems += [
                replace(p, field=p.field.replace("model", field, 1)) for p in error.problems
            ]
            continue
        own = spec.model_copy(update={"model": model})
        problems += [replace(p, field=f"{field}.name") for p in _misfits(own, found)]
        revisions.append(model.model_copy(update={"revision": found.revision}))
        if label_order(facts.labels, found.labels) is None:
            shown = ", ".join(found.labels)
            problems.append(
                Problem(
                    field=f"{field}.name",
                    value=model.name,
                    message=f"has other labels than the job's model: {shown}",
                    remedy=f"Choose one with {', '.join(facts.labels)}.",
                )
            )
    if problems or not revisions:
        return problems, submission
    return [], submission.model_copy(update={"spec": spec.with_other_models(revisions)})


def with_model(raw: object, database: Database) -> object:
    """A raw submission that names no model with that of the job in its kind's `model_from`.

    Raises InputError where there is no such job.
    """
    spec = raw.get("spec") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or not isinstance(spec, Mapping) or spec.get("model"):
        return raw
    kind = str(spec.get("kind", DEFAULT))
    field = SPECS[kind].model_from if kind in SPECS else None
    if field is None:
        return raw
    origin = str(spec.get(field, ""))
    if not origin.isdecimal() or len(origin) > 9:
        return raw
    try:
        model = job_reads.get_job(database, int(origin)).spec["model"]
    except NotFoundError as error:
        remedy = "Give the number of a job whose model is to be used."
        raise refuse(field, origin, "there is no such job", remedy) from error
    return {**raw, "spec": {**spec, "model": model}}


def pinned(submission: Submission, facts: ModelFacts) -> Submission:
    """Pin a hub revision to the commit it means now, and fit the specification to the model.

    Every shard must run the same model.
    """
    spec = submission.spec.fitted(facts.outputs)
    if facts.revision is not None:
        model = spec.model.model_copy(update={"revision": facts.revision})
        spec = spec.model_copy(update={"model": model})
    return submission.model_copy(update={"spec": spec})


def _estimate(
    submission: Submission,
    facts: ModelFacts,
    rows: Summary | None,
    alive: int,
    database: Database,
    settings: Settings,
) -> Estimate:
    spec = submission.spec
    data = spec.data
    limits = filter(None, (data.limit, data.sample))
    examples = rows.examples if rows else min(limits, default=0)
    if not examples:
        return Estimate(examples=0, shards=0, seconds=None, basis="known once the data is loaded")
    past = past_jobs.list_past(database, spec.kind, facts.layers, facts.heads, spec.costly)
    asked = past_jobs.chosen(spec.model_dump(mode="json"), spec.costly)
    found = estimate(
        examples,
        experience(past, rows.characters if rows else None, asked),
        cost=spec.cost(facts.layers, facts.heads),
        unit_seconds=spec.unit_seconds,
        shard_seconds=settings.shard_seconds,
        workers=alive,
    )
    each = spec.result_bytes(facts.layers, facts.heads) + (rows.characters if rows else 0.0)
    return replace(found, bytes=round(examples * each))
