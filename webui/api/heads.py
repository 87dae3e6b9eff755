"""Single heads in the JSON API, and what compares heads and examples."""

from __future__ import annotations

import math
from http import HTTPStatus

from flask import Blueprint

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Site
from db.results import matrices, rankings
from db.results.rankings import Ranked
from headwise.trees import RULES, build
from jobs.errors import NotFoundError, refuse
from scheduler.figures.examples import shown_of, stored_cells
from scheduler.serializers import matrix_json, stored_matrix_json
from scheduler.submission.matrices import HeadOnExample, compute, look_up, on_example
from webui.api.figures import EXAMPLE
from webui.api.models.heads import (
    AlikeAnswer,
    AlikeExample,
    AllCompletenessAnswer,
    ConfusionAnswer,
    ConfusionCell,
    CorrelationAnswer,
    CorrelationPoint,
    CorrelationQuery,
    HeadQuery,
    HeadTokensAnswer,
    MatrixAnswer,
    MatrixPage,
    OneHeadAnswer,
    SiteCompletenessAnswer,
    StoredMatrixAnswer,
    StrongExample,
    TreeAnswer,
    TreeQuery,
    WordPair,
)
from webui.api.models.results import HeadAnswer
from webui.api.results import TAG, placed
from webui.context import database, settings
from webui.contract import cursors
from webui.contract.models import PageQuery
from webui.contract.operations import operation
from webui.pages.results.correlation import correlated

JOB = "/jobs/<int(max=2147483647):job_id>"
PLACE = "<int(max=32767):layer>/<int(max=32767):head>"

blueprint = Blueprint("head_api", __name__, url_prefix="/api/v1")


@blueprint.get(f"{JOB}/heads/{PLACE}")
@operation(TAG, OneHeadAnswer)
def get_head(job_id: int, layer: int, head: int, query: HeadQuery) -> OneHeadAnswer:
    """Get a head: its scores, the examples where it is strongest, its frequent pairs of words."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    site = find_site(job, layer, head, query.attention_type)
    importance = results.get_importance(opened, job_id)
    own = [h for h in importance.heads if (h.site, h.head) == (site.site, head)]
    place = {"site": site.site, "head": head, "examples": job.examples}
    strongest, searched = results.strongest_examples(opened, job_id, **place)
    kept = ("score", "total", "query", "key", "predicted", "gold", "text_a", "text_b")
    return OneHeadAnswer(
        head=next((HeadAnswer(**row) for row in placed(job_id, map(vars, own))), None),
        heads=len(importance.heads),
        provisional=importance.provisional,
        scores=results.head_scores(opened, job_id, **place),
        strongest=[
            StrongExample(example=row["example_no"], **{name: row[name] for name in kept})
            for row in strongest
        ],
        searched=searched,
        pairs=[WordPair(**row) for row in results.frequent_pairs(opened, job_id, **place)],
    )


@blueprint.get(f"{JOB}/completeness")
@operation(TAG, AllCompletenessAnswer)
def get_completeness(job_id: int) -> AllCompletenessAnswer:
    """Get how exactly attributions sum to what they explain, by site."""
    job = job_reads.get_job(database(), job_id)
    found = results.get_completeness(database(), job_id, job.examples)
    rows = placed(job_id, map(vars, found))
    return AllCompletenessAnswer(completeness=[SiteCompletenessAnswer(**row) for row in rows])


@blueprint.get(f"{JOB}/confusion")
@operation(TAG, ConfusionAnswer)
def get_confusion(job_id: int) -> ConfusionAnswer:
    """Count labelled examples by gold and predicted label."""
    job = job_reads.get_job(database(), job_id)
    found, counted_all = results.get_confusion(database(), job_id, job.examples)
    cells = [
        ConfusionCell(gold=gold, predicted=predicted, n=n)
        for (gold, predicted), n in sorted(found.items())
    ]
    return ConfusionAnswer(confusion=cells, counted_all=counted_all)


@blueprint.get(f"{JOB}/correlation")
@operation(TAG, CorrelationAnswer)
def get_correlation(job_id: int, query: CorrelationQuery) -> CorrelationAnswer:
    """Compare two rankings of heads, of one job or of two."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    other_job = job if query.job is None else job_reads.get_job(opened, query.job)
    source = query.source or _first_source(job)
    other = Ranked(job_id=other_job.id, name=other_job.name, kind=other_job.kind, source=query.by)
    values = correlated(job, source, other)
    return CorrelationAnswer(
        source=source,
        other_job=other_job.id,
        other_source=query.by,
        n=values["n"],
        **values["found"],
        points=[
            CorrelationPoint(**{name: row[name] for name in CorrelationPoint.model_fields})
            for row in values["figure"].rows
        ],
    )


@blueprint.get(f"{EXAMPLE}/alike")
@operation(TAG, AlikeAnswer)
def list_alike(job_id: int, example_no: int) -> AlikeAnswer:
    """List the examples whose head scores are most like those of this one."""
    job = job_reads.get_job(database(), job_id)
    results.get_example(database(), job_id, example_no)
    found = results.alike_examples(database(), job_id, example_no, job.examples)
    alike = [AlikeExample(example=number, similarity=value) for number, value in found]
    return AlikeAnswer(alike=alike)


@blueprint.get(f"{EXAMPLE}/heads/{PLACE}")
@operation(TAG, HeadTokensAnswer)
def get_head_tokens(
    job_id: int, example_no: int, layer: int, head: int, query: HeadQuery
) -> HeadTokensAnswer:
    """Get what a head reads of each token of an example."""
    job = job_reads.get_job(database(), job_id)
    results.get_example(database(), job_id, example_no)
    site = find_site(job, layer, head, query.attention_type)
    place = {"example": example_no, "site": site.site, "head": head}
    values = results.example_head_tokens(database(), job_id, **place)
    if values is None:
        return HeadTokensAnswer(attribution=None)
    return HeadTokensAnswer(attribution=[None if math.isnan(one) else one for one in values])


@blueprint.get(f"{JOB}/matrices")
@operation(TAG, MatrixPage)
def list_matrices(job_id: int, query: PageQuery) -> MatrixPage:
    """List the heads and examples whose whole matrices are stored."""
    job_reads.get_job(database(), job_id)
    after = cursors.triple(query.cursor)
    found = matrices.list_stored(database(), job_id, limit=query.limit + 1, after=after)
    shown, following = cursors.cut(
        found, query.limit, lambda one: (one.example, one.site, one.head)
    )
    return MatrixPage(
        matrices=[StoredMatrixAnswer(**stored_matrix_json(one)) for one in shown],
        next=following,
    )


@blueprint.get(f"{EXAMPLE}/heads/{PLACE}/matrix")
@operation(TAG, MatrixAnswer)
def get_matrix(
    job_id: int, example_no: int, layer: int, head: int, query: HeadQuery
) -> MatrixAnswer:
    """Get a head's whole attention and attribution on an example, if they are stored.

    `compute_matrix` computes them.
    """
    return _matrix(_on_example(job_id, example_no, layer, head, query))


@blueprint.post(f"{EXAMPLE}/heads/{PLACE}/matrix")
@operation(
    TAG,
    MatrixAnswer,
    statuses=(HTTPStatus.OK, HTTPStatus.CREATED),
    errors=(HTTPStatus.CONFLICT,),
    creates=True,
)
def compute_matrix(
    job_id: int, example_no: int, layer: int, head: int, query: HeadQuery
) -> tuple[MatrixAnswer, int]:
    """Compute a head's whole attention and attribution on an example, ahead of all waiting work.

    201 with the number of the job that computes them; 200 where they are stored, or on their way.
    """
    where = _on_example(job_id, example_no, layer, head, query)
    _, new = compute(where, settings(), database())
    return _matrix(where), 201 if new else 200


def _on_example(
    job_id: int, example_no: int, layer: int, head: int, query: HeadQuery
) -> HeadOnExample:
    return on_example(database(), job_id, example_no, (layer, head, query.attention_type))


def _matrix(where: HeadOnExample) -> MatrixAnswer:
    return MatrixAnswer(**matrix_json(where, look_up(where, database())))


@blueprint.get(f"{EXAMPLE}/tree.json")
@operation(TAG, TreeAnswer, errors=(HTTPStatus.NOT_FOUND,))
def get_tree(job_id: int, example_no: int, query: TreeQuery) -> TreeAnswer:
    """Build the attribution tree of an example; 404 where the job stored none."""
    shown = shown_of(database(), job_id, example_no)
    stored = stored_cells(shown)
    tree = build(
        stored,
        shown.sites,
        shown.example.named_tokens(stored.length),
        root=_root(query.root, stored.length),
        tau=query.tau,
        tau_last=query.tau_last,
    )
    return TreeAnswer(**vars(tree))


def find_site(job: Job, layer: int, head: int, attention_type: str | None) -> Site:
    """The site of a head. Raises NotFoundError."""
    sites = results.list_sites(database(), job.id)
    return results.find_site(sites, job.id, layer, head, attention_type)


def _root(given: str, length: int) -> str | int:
    if given in RULES:
        return given
    if given.isdecimal() and int(given) < length:
        return int(given)
    known = f"{', '.join(RULES)} or a position below {length}"
    raise refuse("root", given, "is neither a rule nor a token", f"Use {known}.")


def _first_source(job: Job) -> str:
    known = rankings.list_rankings(database(), job.id, job.layers or 0, job.heads or 0)
    found = next((one.source for one in known if one.job_id == job.id), None)
    if found is None:
        raise NotFoundError(f"Job {job.id} has no ranking of heads.")
    return found
