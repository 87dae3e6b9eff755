"""The pages of one head and of one example, and a job's tables as CSV."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import ExampleFilter, Site
from db.results import export as exports
from db.results.words import from_columns
from db.views.parts import View
from headwise.naming import head_name
from headwise.sentences import Piece, piece_at, read_pieces
from jobs.errors import NotFoundError
from scheduler.figures.examples import shown_of
from webui.context import attachment, choice, database
from webui.figures.examples import show_arcs, show_head_words, show_tree, show_words
from webui.figures.shown import show
from webui.heads import url_values
from webui.pages.results import matrices
from webui.pages.results.explained import chosen_head, grid_of, pair_of, text_names

blueprint = Blueprint("results", __name__)


@blueprint.get(
    "/jobs/<int(max=2147483647):job_id>/heads/<int(max=32767):layer>/<int(max=32767):head>"
)
def head(job_id: int, layer: int, head: int) -> str:
    """One head: its scores, the examples where it is strongest, its frequent token pairs."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    sites = results.list_sites(opened, job_id)
    types = {site.attention_type for site in sites}
    earlier = choice("kind", types)  # in addresses of version 0.1
    site = results.find_site(sites, job_id, layer, head, choice("attention_type", types, earlier))
    importance = results.get_importance(opened, job_id)
    own = next((h for h in importance.heads if (h.site, h.head) == (site.site, head)), None)
    place = {"site": site.site, "head": head, "examples": job.examples}
    strongest, searched = results.strongest_examples(opened, job_id, **place)
    return render_template(
        "head.html",
        job=job,
        site=site,
        head=head,
        name=head_name(layer, head, site.attention_type),
        own=own,
        heads_total=len(importance.heads),
        provisional=importance.provisional,
        scores_figure=show(
            job,
            "scores",
            {"layer": str(layer), "head": str(head), "attention_type": site.attention_type},
        ),
        strongest=[_strong(row) for row in strongest],
        searched=searched,
        matrix=matrices.section(job, site, head, strongest),
        pairs=results.frequent_pairs(opened, job_id, **place),
        previous=_neighbour(sites, site, head, -1),
        next=_neighbour(sites, site, head, +1),
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/examples/<int(max=2147483647):example_no>")
def example(job_id: int, example_no: int) -> str:
    """One example: its words coloured, its pairs, its heads."""
    opened = database()
    shown = shown_of(opened, job_id, example_no)
    job, found, sites = shown.job, shown.example, shown.sites
    scores = results.example_scores(opened, job_id, example_no)
    pieces = read_pieces(found.tokens or (), found.texts, found.words)
    names = text_names(job)
    edges = [
        pair_of(edge, sites, shown.words, pieces, names)
        for edge in results.example_edges(opened, job_id, example_no)
    ]
    chosen = chosen_head(sites, scores, edges, pieces, shown.words, names)
    return render_template(
        "example.html",
        job=job,
        example=found,
        sites=sites,
        edges=edges,
        grid=grid_of(sites, scores, pieces),
        completeness=[
            (sites[row["site"]], row)
            for row in results.example_sites(opened, job_id, example_no)
            if row["site"] < len(sites)
        ],
        chosen=chosen,
        selection={name: request.args[name] for name in ("at", "site") if name in request.args},
        words=show_words(shown),
        arcs=show_arcs(shown),
        head_words=chosen and show_head_words(shown, chosen["row"]["site"], chosen["row"]["head"]),
        tree=show_tree(shown),
        alike=results.alike_examples(opened, job_id, example_no, job.examples),
        **_neighbours(job, example_no),
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/export/<name>.csv")
def export(job_id: int, name: str) -> Response:
    """All rows of a published view that belong to the job, streamed as CSV."""
    return csv_table(job_id, name)


def csv_table(job_id: int, name: str) -> Response:
    """The rows of a view that belong to a job, as CSV. Raises NotFoundError."""
    view = find_table(job_id, name)
    rows = exports.csv_parts(view, exports.chunks(database(), view, job_id))
    return attachment(rows, "text/csv", f"headwise-job-{job_id}-{name}.csv")


def find_table(job_id: int, name: str) -> View:
    """The view of a name. Raises NotFoundError, also for an unknown job."""
    job_reads.get_job(database(), job_id)
    if name not in exports.EXPORTED:
        known = ", ".join(exports.EXPORTED)
        raise NotFoundError(f"There is no table {name[:80]!r}. Known: {known}.")
    return exports.EXPORTED[name]


def _neighbours(job: Job, example_no: int) -> dict[str, Any]:
    opened = database()
    before = results.list_examples(opened, job.id, before=example_no, limit=1)
    after = results.list_examples(opened, job.id, after=example_no, limit=1)
    only_wrong = ExampleFilter(only="wrong")
    wrong = results.list_examples(opened, job.id, only_wrong, after=example_no, limit=1)
    return {
        "previous": before[0].example if before else None,
        "next": after[0].example if after else None,
        "next_wrong": wrong[0].example if wrong else None,
    }


def _neighbour(sites: list[Site], site: Site, head: int, step: int) -> dict[str, Any] | None:
    """The head before or after this one, over the layers' borders."""
    places = [(s, h) for s in sites for h in range(s.heads)]
    at = places.index((site, head)) + step
    if not 0 <= at < len(places):
        return None
    other, number = places[at]
    name = head_name(other.layer, number, other.attention_type)
    return {"name": name, "url_values": url_values(other, number)}


def _strong(row: Any) -> tuple[Any, Piece, Piece]:
    """An example of a head, and the tokens of the head's largest cell."""
    texts = [text for name in ("text_a", "text_b") if (text := row[name]) is not None]
    known = from_columns(row["word_index"], row["token_spans"]) if texts else None
    pieces = read_pieces(results.parse_list(row["tokens"]), texts, known)
    return row, piece_at(pieces, row["query"]), piece_at(pieces, row["key"])
