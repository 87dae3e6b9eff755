"""The pictures of a study's page, from the functions that draw those of its jobs' pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

from flask import url_for

from db.reads import jobs as job_reads
from db.reads.jobs import Job
from db.reads.results import list_sites
from db.reads.studies import StudyRow
from db.reads.telling import telling_examples
from headwise.stats.ranking import correlation
from jobs.states import JobState
from scheduler.comparison.sides import side_of_study
from scheduler.comparison.study_figures import figures_of_study
from scheduler.figures.examples import shown_in
from scheduler.figures.telling import RULE, describe
from scheduler.findings import findings, ranked
from webui.context import database
from webui.figures.examples import show_tree, show_words
from webui.figures.shown import show_of
from webui.kinds import attack, attribution, pruning


def jobs_of(study: StudyRow) -> dict[str, Job]:
    """The jobs of a study by step."""
    return {step: job_reads.get_job(database(), job) for step, job in study.steps.items()}


def sections(study: int, jobs: Mapping[str, Job]) -> dict[str, Any]:
    """The sections of a study's page about its jobs that have succeeded."""
    done = succeeded(jobs)
    opened = database()
    found: dict[str, Any] = {"findings": findings(opened, jobs), "done": done}
    if job := done.get("attribution"):
        found["heads_figure"] = attribution.heads_figure(job)
        found |= {"examples": list(_examples(job)), "rule": RULE}
    if job := done.get("pruning"):
        found["pruning"] = pruning.section(job)
    if job := done.get("attack"):
        found["attack"] = attack.section(job)
    means = ranked(opened, jobs)
    found["rankings"] = list(means)
    if len(means) > 1:
        address = partial(url_for, "figure_api.get_study_figure", study=study)
        figures = figures_of_study(side_of_study(opened, study))
        found["ranks_figure"] = show_of(figures, "ranks", address)
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


def _examples(job: Job) -> Iterator[dict[str, Any]]:
    """The telling examples of a job, each with its words and its tree."""
    sites = list_sites(database(), job.id)
    for one in telling_examples(database(), job.id):
        shown = shown_in(database(), job, sites, one.example)
        words = show_words(shown, f"words-{one.example}")
        tree = show_tree(shown, f"tree-{one.example}")
        # Without choices: they would change those of all examples.
        yield {
            "number": one.example,
            "about": describe(one, job.labels),
            "figures": [replace(figure, choices=()) for figure in (words, tree) if figure],
        }
