"""The rows that a commit makes of a shard's results."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from db.database import Database
from db.queue import claims
from db.results import commit
from headwise.segmentation import Segmentation, Span
from jobs.outcome import Completed
from tests.helpers.jobs import ALICE, planned_job, result_of


@pytest.mark.parametrize("keep_text", [True, False])
def test_cells_end_where_a_site_is_missing(database: Database, keep_text: bool) -> None:
    job = planned_job(database, examples=3, size=3, spec=json.dumps({"keep_text": keep_text}))
    held = claims.claim(database, ALICE, 60.0)
    assert held is not None
    result = result_of(0, 3, failed=frozenset({1}))
    sites = np.zeros_like(result.edge_site)
    sites[0, 2] = -1  # the one behind it is none either
    sites[2, 0] = -1
    spans = (None, Span(0, 0, 3), Span(0, 0, 3), None)
    words = Segmentation(word_index=(0, 1, 1, 2), spans=spans)
    examples = tuple(replace(e, words=words, word_texts=("", "ab", "")) for e in result.examples)
    result = replace(result, edge_site=sites, examples=examples)
    done = Completed(parts=(result,), seconds=1.0)
    assert commit.commit_shard(database, held, done, "fingerprint")
    names = (
        "example_no, rank, site, head, query, key, query_token, key_token, query_word, key_word, "
        "attribution, attention"
    )
    rows = database.rows(f"SELECT {names} FROM edge WHERE job_id = {job} ORDER BY 1, 2")
    texts = [("[CLS]", "[SEP]", None, None), ("a", "b", "ab", "ab")]
    assert [tuple(row.values())[:10] for row in rows] == [
        (0, rank, 0, place, place, 3 - place, *(texts[place] if keep_text else [None] * 4))
        for place, rank in enumerate((1, 2))
    ]
    numbers = [tuple(row.values())[10:] for row in rows]
    np.testing.assert_allclose(numbers, [(0, 0), (0.1, 0.05)], rtol=1e-6)
