"""The stored part of an attribution is enough for its trees."""

from __future__ import annotations

import pytest

import headwise
from db.database import Database
from db.queue import claims
from db.reads.results import read_interactions
from db.results import commit
from headwise.trees import build
from jobs.outcome import Completed
from tests.helpers.classifiers import random_inputs, tiny
from tests.helpers.jobs import ALICE, planned_job
from workers.kinds.attribution import shard_result


@pytest.mark.parametrize("keep_text", [True, False])
def test_a_stored_example_has_the_library_s_tree(database: Database, keep_text: bool) -> None:
    model = tiny()
    result = headwise.attribute_encoded(model, random_inputs(model, [9, 6]), matrices=False)
    spec = f'{{"kind": "attribution", "keep_text": {str(keep_text).lower()}}}'
    job = planned_job(database, examples=3, size=2, spec=spec)
    held = claims.claim(database, ALICE, 60.0)
    assert held is not None
    done = Completed(parts=(shard_result(result),), seconds=0.5)
    assert commit.commit_shard(database, held, done, "fingerprint")
    for example in range(2):
        stored = read_interactions(database, job, example)
        assert stored is not None
        for root in ("classifier", "outgoing"):
            tree = build(stored, result.sites, result.tokens[example], root=root)
            assert tree == result.tree(example, root=root)
    assert read_interactions(database, job, 2) is None
