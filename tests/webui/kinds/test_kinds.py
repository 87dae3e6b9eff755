"""A model with encoder, decoder and cross attention: no two sites look the same anywhere."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from db.database import Database
from db.queue import claims, lifecycle
from db.results import commit
from jobs.kinds.attribution import AttributionResult
from jobs.outcome import Completed
from jobs.results.base import SiteInfo
from tests.helpers.jobs import ALICE, EDGES, planned_job, result_of

KINDS = (("encoder", 3), ("decoder", 2), ("cross", 2))
LAYERS = 2
NAMES = ["L0", "L1", "decoder L0", "decoder L1", "cross L0", "cross L1"]
HEADS = [
    f"{name} H{head}"
    for name, n in zip(NAMES, (3, 3, 2, 2, 2, 2), strict=True)
    for head in range(n)
]
WIDEST = 3


def encoder_decoder(lo: int, hi: int) -> AttributionResult:
    """Three kinds of attention with the same layer numbers; every site has scores of its own."""
    count, sites = hi - lo, LAYERS * len(KINDS)
    infos = tuple(
        SiteInfo(layer=layer, attention_type=kind, heads=heads, name=f"model.{kind}.{layer}")
        for kind, heads in KINDS
        for layer in range(LAYERS)
    )
    grid = np.arange(sites * WIDEST, dtype=np.float32).reshape(sites, WIDEST) / 100 + 0.01
    score = np.broadcast_to(grid, (count, sites, WIDEST)).copy()
    for number, info in enumerate(infos):
        score[:, number, info.heads :] = np.nan
    base = result_of(lo, hi)

    def by_site(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.repeat(values[:, :1], sites, axis=1)

    cells = np.tile(np.arange(EDGES, dtype=np.int32), (count, 1))
    tokens = [
        replace(one, token_attribution=json.dumps([[0.1 * s, 0.2, 0.3, 0.4] for s in range(sites)]))
        for one in base.examples
    ]
    return replace(
        base,
        sites=infos,
        examples=tuple(tokens),
        score=score,
        total=score * 2,
        query=np.ones(score.shape, dtype=np.int32),
        key=np.full(score.shape, 2, dtype=np.int32),
        attention_max=score,
        attention_mean=score,
        f0=by_site(base.f0),
        f1=by_site(base.f1),
        residual=by_site(base.residual) + np.arange(1, sites + 1) / 1000,
        points=by_site(base.points),
        converged=by_site(base.converged),
        edge_site=cells + 2,
        edge_head=cells * 0,
    )


@pytest.fixture
def job(database: Database) -> int:
    """A finished job of that model."""
    job = planned_job(database)
    while held := claims.claim(database, ALICE, 60):
        done = Completed(parts=(encoder_decoder(held.lo, held.hi),), seconds=0.5)
        assert commit.commit_shard(database, held, done, "model")
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database) == [job]
    return job


def row_names(page: str, part: str) -> list[str]:
    """The row headers of the last table in a section of a page."""
    section = page[page.index(f'id="{part}"') :].split("</section>")[0]
    found = re.findall(r'<th scope="row">(?:<a [^>]*>)?([^<]*)<', section)
    return [name.strip() for name in found]


def rows_of(page: str, name: str) -> list[dict[str, Any]]:
    """The numbers of a figure."""
    found = re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return list(json.loads(found[1])["data"]["values"])


def test_a_jobs_page_has_a_row_for_every_site(client: FlaskClient, job: int) -> None:
    page = client.get(f"/jobs/{job}?heads=all&sort=place").text
    assert row_names(page, "heads") == HEADS
    for name in ("heads-spec", "completeness-spec"):
        assert list(dict.fromkeys(row["site"] for row in rows_of(page, name))) == NAMES
    assert row_names(page, "completeness") == NAMES


def test_every_cell_of_the_heat_map_leads_to_its_own_head(client: FlaskClient, job: int) -> None:
    rows = rows_of(client.get(f"/jobs/{job}").text, "heads-spec")
    assert [row["name"] for row in rows] == HEADS
    titles = [
        re.search(r"<h1>Head (.*?)</h1>", client.get(row["href"]).text)[1]  # type: ignore[index]
        for row in rows
    ]
    assert titles == HEADS


def test_a_heads_page_shows_its_own_numbers(client: FlaskClient, job: int) -> None:
    page = client.get(f"/jobs/{job}/heads/1/1?kind=cross").text
    assert "model.cross.1" in page
    assert "<dt>Mean score</dt><dd>0.170</dd>" in page
    assert "← cross L1 H0</a>" in page
    assert client.get(f"/jobs/{job}/heads/1/2?kind=cross").status_code == 404


def test_an_examples_page_tells_sites_apart(client: FlaskClient, job: int) -> None:
    page = client.get(f"/jobs/{job}/examples/0").text
    choice = re.search(r'<select name="site".*?</select>', page, re.DOTALL)
    assert choice is not None
    assert re.findall(r">([^<>]+)</option>", choice[0]) == ["all layers", *NAMES]
    assert row_names(page, "grid") == NAMES
    assert {"decoder L0 H0", "decoder L1 H0", "cross L0 H0", "cross L1 H0"} <= set(
        re.findall(r">([a-z]+ L\d H\d)</a>", page)
    )
    assert row_names(page, "completeness") == NAMES
    one = client.get(f"/jobs/{job}/examples/0?site=5").text
    assert "read by any head of cross L1" in one
    chosen = client.get(f"/jobs/{job}/examples/0?at=3.1").text
    assert "Head decoder L1 H1</a>" in chosen


def test_the_api_and_exports_name_the_kind(client: FlaskClient, job: int) -> None:
    heads = client.get(f"/api/v1/jobs/{job}/heads").json["heads"]
    assert len({(h["kind"], h["layer"], h["head"]) for h in heads}) == len(HEADS)
    body = client.get(f"/api/v1/jobs/{job}/examples/0").json
    for part, rows in (("heads", len(HEADS)), ("completeness", len(NAMES)), ("edges", EDGES)):
        places = {(r["kind"], r["layer"], r.get("head"), r.get("rank")) for r in body[part]}
        assert len(places) == rows, part
    for view, rows in (("head_importance", len(HEADS)), ("head_scores", 6 * len(HEADS))):
        table = client.get(f"/jobs/{job}/export/{view}.csv").text
        lines = list(csv.DictReader(io.StringIO(table)))
        keys = {(r["kind"], r["layer"], r["head"], r.get("example")) for r in lines}
        assert len(keys) == len(lines) == rows


def test_a_model_of_decoders_only_has_pages_without_a_kind(
    client: FlaskClient, database: Database, job: int
) -> None:
    with database.write() as tx:
        tx.run("DELETE FROM site WHERE kind <> 'decoder'")
    assert "Head decoder L1 H1</h1>" in client.get(f"/jobs/{job}/heads/1/1").text
