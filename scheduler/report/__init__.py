"""Reports: a study as one attaches it to a paper, as one HTML file or the PDF made of it.

`study_report` writes the HTML, and is the only place that does. What it says of the jobs of a kind
is in the module of the kind's name; a kind without one has the tables of its rankings.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

from db.database import Database
from db.reads import jobs as job_reads
from db.reads import studies
from db.reads.jobs import Job
from db.reads.studies import StudyRow
from headwise.figures import Figure
from headwise.stats.ranking import correlation
from jobs import formatting
from jobs.errors import NotFoundError
from jobs.formatting import MISSING
from jobs.kinds import NAMES, SPECS, ranking_source
from jobs.states import FINAL_JOB_STATES, JobState
from scheduler.comparison.sides import Side, side_of_study
from scheduler.comparison.study_figures import figures_of_study
from scheduler.figures.telling import RULE
from scheduler.findings import findings, ranked
from scheduler.report import importance
from scheduler.report.base import Part, Table
from scheduler.report.examples import ReportExample, examples_of

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The content security policy of the file: it brings everything that it shows."""
MOST_LABELS = 8
"""Classes that a figure by class is drawn for."""
BIBTEX = """\
@inproceedings{hao2021selfattention,
  title = {Self-Attention Attribution: Interpreting Information Interactions Inside Transformer},
  author = {Hao, Yaru and Dong, Li and Wei, Furu and Xu, Ke},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  volume = {35},
  number = {14},
  pages = {12963--12971},
  year = {2021},
  doi = {10.1609/aaai.v35i14.17533}
}"""
"""The paper whose method is computed."""

PARTS: dict[str, Part] = {
    name: import_module(f"{__name__}.{name}").PART
    for name in NAMES
    if find_spec(f"{__name__}.{name}")
}
"""The words and tables about jobs, by their kind."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure of a report."""

    picture: str
    """A data: address of its SVG."""
    description: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """A job of a study in its report."""

    name: str
    job: Job
    method: Sequence[str]
    findings: Sequence[str]
    versions: Sequence[str]
    """Devices and versions that computed it."""

    @property
    def spec(self) -> str:
        """Its specification as JSON."""
        return json.dumps(self.job.spec, ensure_ascii=False, indent=2)


def study_report(database: Database, number: int, draw: Callable[[Figure], bytes]) -> str:
    """A study as one HTML file that needs no script and asks for nothing else.

    Steps that have not succeeded are named as missing.

    draw: a figure as SVG

    Raises NotFoundError.
    """
    study = studies.get_study(database, number)
    side = side_of_study(database, number)
    jobs = side.steps
    found = findings(database, jobs)
    rendered: str = _template().render(
        study=study,
        title=study.name or f"Study {number}",
        policy=POLICY,
        models=side.models,
        data=side.data,
        questions=_questions(jobs),
        missing=_missing(study, jobs),
        steps=_steps(database, jobs, found),
        agreement=found.get("agreement", ()),
        figures=[_picture(figure, draw) for figure in _figures(database, side)],
        examples=list(_examples(database, jobs, draw)),
        rule=RULE,
        tables=list(_tables(database, jobs)),
        bibtex=BIBTEX,
        version=version("headwise"),
    )
    return rendered


def _steps(
    database: Database, jobs: Mapping[str, Job], found: Mapping[str, Sequence[str]]
) -> list[Step]:
    versions = job_reads.list_versions(database, [job.id for job in jobs.values()])
    return [
        Step(
            name=name,
            job=job,
            method=PARTS[job.kind].method(job) if job.kind in PARTS else (),
            findings=found.get(name, ()),
            versions=[
                ": ".join(filter(None, (device, formatting.versions(stored))))
                for device, stored in versions.get(job.id, ())
            ],
        )
        for name, job in jobs.items()
    ]


def _questions(jobs: Mapping[str, Job]) -> list[str]:
    kinds = dict.fromkeys(job.kind for job in jobs.values())
    return [PARTS[kind].question for kind in kinds if kind in PARTS]


def _missing(study: StudyRow, jobs: Mapping[str, Job]) -> list[str]:
    """A sentence for each step without results."""
    return [
        f"{step} (job {study.steps[step]}): {_reason(state, jobs.get(step))}"
        for step, state in study.states.items()
        if state is not JobState.SUCCEEDED
    ]


def _reason(state: JobState, job: Job | None) -> str:
    if job is None:
        return "is being deleted."
    if state in FINAL_JOB_STATES:
        return f"{state.value}{f', {job.error}' if job.error else ''}."
    done = f"{job.computed:,} of {formatting.counted(job.examples, 'example')} computed"
    return f"has not ended, {done}."


def _figures(database: Database, side: Side) -> Iterator[Figure]:
    """The figures that have results; those by class for each class."""
    figures = figures_of_study(side)
    for kind in figures.kinds:
        labels = kind.choices(database, side).get("label", {})
        for given in [{"label": label} for label in labels][:MOST_LABELS] or [{}]:
            try:
                yield figures.draw(database, kind.name, given).figure
            except NotFoundError:
                continue


def _examples(
    database: Database, jobs: Mapping[str, Job], draw: Callable[[Figure], bytes]
) -> Iterator[tuple[ReportExample, list[Drawn]]]:
    """The telling examples of the attribution jobs with their pictures."""
    for job in jobs.values():
        if job.kind == "attribution" and job.state is JobState.SUCCEEDED:
            for one in examples_of(database, job):
                yield one, [_picture(figure, draw, one.reason) for figure in one.figures]


def _picture(figure: Figure, draw: Callable[[Figure], bytes], more: str = "") -> Drawn:
    # In an element of its own: identifiers of several SVGs on a page would be the same.
    encoded = base64.b64encode(draw(figure)).decode()
    return Drawn(
        picture=f"data:image/svg+xml;base64,{encoded}",
        description=figure.description,
        caption=f"{figure.caption} {more}".strip(),
    )


def _tables(database: Database, jobs: Mapping[str, Job]) -> Iterator[Table]:
    for job in jobs.values():
        if job.state is JobState.SUCCEEDED:
            yield from _tables_of(database, job)
    means = ranked(database, jobs)
    if len(means) > 1:
        yield _agreement(means)


def _tables_of(database: Database, job: Job) -> Sequence[Table]:
    if job.kind in PARTS:
        return PARTS[job.kind].tables(database, job)
    return importance.tables(database, job) if SPECS[job.kind].ranking_sources else ()


def _agreement(means: Mapping[tuple[int, str], Any]) -> Table:
    """Spearman's correlation of every two rankings."""
    found = {
        frozenset(pair): correlation(means[pair[0]], means[pair[1]]).spearman
        for pair in combinations(means, 2)
    }
    titles = [ranking_source(source).title for _, source in means]

    def cell(one: tuple[int, str], other: tuple[int, str]) -> str:
        rho = found.get(frozenset((one, other)), math.nan)
        return MISSING if math.isnan(rho) else f"{rho:z.2f}"

    return Table(
        title="Agreement of rankings",
        note="Spearman's rank correlation over all heads.",
        columns=("Ranking", *titles),
        rows=[
            (title, *(cell(one, other) for other in means))
            for title, one in zip(titles, means, strict=True)
        ],
    )


def _unbroken(cell: str) -> str:
    """A number with its interval, which lines break before alone."""
    for one in (" %", " to "):
        cell = cell.replace(one, one.replace(" ", "\u00a0"))
    return cell


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # images of one role have it

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "utc": formatting.utc,
        "count": formatting.count,
        "unbroken": _unbroken,
    }
    return environment.get_template("report.html")
