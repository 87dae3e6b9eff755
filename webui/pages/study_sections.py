"""The pictures of a study's page, from the functions that draw those of its jobs' pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from db.reads import jobs as job_reads
from db.reads import results, studies
from db.reads.jobs import Job
from db.reads.studies import StudyRow
from db.results import rankings
from headwise.stats.ranking import correlation
from jobs.errors import refuse
from jobs.kinds import ranking_source
from jobs.states import JobState
from scheduler.findings import findings, ranked
from webui.context import choice, database
from webui.kinds import attack, attribution, pruning
from webui.pages import trees
from webui.pages.correlation import correlated


def jobs_of(study: StudyRow) -> dict[str, Job]:
    """The jobs of a study by step."""
    return {step: job_reads.get_job(database(), job) for step, job in study.steps.items()}


def sections(jobs: Mapping[str, Job]) -> dict[str, Any]:
    """The sections of a study's page about its jobs that have succeeded."""
    done = succeeded(jobs)
    opened = database()
    found: dict[str, Any] = {"findings": findings(opened, jobs), "done": done}
    if job := done.get("attribution"):
        sites = results.list_sites(opened, job.id)
        importance = results.get_importance(opened, job.id)
        found["head_total"] = len(importance.heads)
        found["head_chart"] = attribution.chart(job.id, sites, importance.heads)
        found |= _example(job, sites)
    if job := done.get("pruning"):
        found["pruning"] = pruning.section(job)
    if job := done.get("attack"):
        found["attack"] = attack.section(job)
    means = ranked(opened, jobs)
    found["rankings"] = list(means)
    found["agreements"] = {
        pair: None
        if math.isnan(rho := correlation(means[pair[0]], means[pair[1]]).spearman)
        else rho
        for pair in combinations(means, 2)
    }
    return found


def succeeded(jobs: Mapping[str, Job]) -> dict[str, Job]:
    """The first job of each kind that has succeeded."""
    found: dict[str, Job] = {}
    for job in jobs.values():
        if job.state is JobState.SUCCEEDED:
            found.setdefault(job.kind, job)
    return found


def _example(job: Job, sites: list[results.Site]) -> dict[str, Any]:
    """The example with the strongest token pair among those predicted right, and its tree."""
    number = studies.strongest_example(database(), job.id)
    if number is None:
        return {}
    example = results.get_example(database(), job.id, number)
    return {"example": example, "tree": trees.section(job.id, example, sites)}


def comparison(a: StudyRow, b: StudyRow) -> dict[str, Any]:
    """The values of the page of two studies; ?source= chooses the ranking to compare by head.

    Raises InputError where both are the same.
    """
    if a.id == b.id:
        raise refuse("b", b.id, "is the same study", "Choose another.")
    opened = database()
    both = {study.id: jobs_of(study) for study in (a, b)}
    places = [{source: job for job, source in ranked(opened, both[s.id])} for s in (a, b)]
    common = [source for source in places[0] if source in places[1]]
    source = choice("source", common, common[0]) if common else ""
    found: dict[str, Any] = {
        "a": a,
        "b": b,
        "findings": {study: findings(opened, jobs) for study, jobs in both.items()},
        "common": [(name, ranking_source(name).title) for name in common],
        "source": source,
        "correlations": [
            (name, ranking_source(name).title, rho)
            for name in common
            if (rho := _correlation(places[0][name], places[1][name], name)) is not None
        ],
    }
    done = [succeeded(jobs) for jobs in both.values()]
    if all("pruning" in jobs for jobs in done):
        one, two = (pruning.section(jobs["pruning"])["chart"] for jobs in done)
        found["curves"] = _together((a.id, one), (b.id, two))
    if all("attack" in jobs for jobs in done):
        found["strips"] = _strips(*(jobs["attack"] for jobs in done))
    if source and found["correlations"]:
        one, two = (job_reads.get_job(opened, place[source]) for place in places)
        other = rankings.Ranked(job_id=two.id, name=b.name, kind=two.kind, source=source)
        found |= correlated(one, source, other)
    return found


def _correlation(one: int, other: int, source: str) -> float | None:
    """Spearman's correlation of two jobs' rankings; None where the models differ in shape."""
    a, b = (rankings.get_means(database(), job, source) for job in (one, other))
    return correlation(a, b).spearman if a.shape == b.shape else None


def _together(*charts: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    """The curves of several studies in one picture, each with the number of its study."""
    lines: list[dict[str, Any]] = []
    for study, chart in charts:
        shift = 1 + max(
            (line["source"] for line in lines if line["direction"] != "any"), default=-1
        )
        lines += [
            {**line, "name": f"#{study} {line['name']}", "source": line["source"] + shift}
            for line in chart["lines"]
        ]
    return {**charts[0][1], "lines": lines}


def _strips(*jobs: Job) -> dict[tuple[str, str], list[attack.Strip | None]]:
    """The success of triggers in each of the jobs, by gold label and kind of trigger."""
    found: dict[tuple[str, str], list[attack.Strip | None]] = {}
    for place, job in enumerate(jobs):
        for group in attack.section(job)["classes"]:
            for strip in group["strips"]:
                key = (job.labels[group["gold"]], strip.kind.display_name)
                found.setdefault(key, [None] * len(jobs))[place] = strip
    return found
