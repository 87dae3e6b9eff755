"""Mining triggers from edges made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import insert, update

from db import schema
from db.database import Database
from db.kinds.triggers import mine_triggers
from db.queue import new_jobs
from jobs.errors import ConflictError, NotFoundError
from jobs.kinds.triggers import Cell, MiningRule, TriggerToken
from tests.support import job_values

TOKENS = ("[CLS]", "ice", "in", "flor", "##ida", "[SEP]", "floods", "iowa", "[SEP]")
# Per example: predicted, gold, and the cells (site, head, query, key, attribution) by rank.
EXAMPLES: list[tuple[int, int | None, list[tuple[int, int, int, int, float]]]] = [
    # The head of the largest cell has ranks 1 and 3; its third cell would be one too many.
    (1, 0, [(1, 2, 1, 4, 0.5), (0, 0, 6, 7, 0.4), (1, 2, 7, 0, 0.25), (1, 2, 2, 6, 0.2)]),
    # The same tokens; its second cell is less than a fifth of the first.
    (1, 1, [(0, 1, 4, 1, 0.75), (0, 1, 7, 3, 0.125), (0, 0, 2, 3, 0.0625)]),
    # The sum of both cells is below 0.02.
    (0, 0, [(0, 0, 1, 4, 0.0125), (0, 0, 4, 6, 0.005), (0, 2, 1, 1, 0.001)]),
    # No second cell of the head is stored, and more cells were than there is room for.
    (0, None, [(0, 0, 3, 7, 0.5), (1, 0, 4, 6, 0.4), (1, 0, 4, 7, 0.3), (1, 1, 4, 7, 0.2)]),
]


def finished(database: Database, tokens: Any = TOKENS, edges: int = 4, **changes: Any) -> int:
    """A succeeded job with those examples."""
    rows = [(n, "text", "second", "", gold) for n, (_, gold, _) in enumerate(EXAMPLES)]
    job = new_jobs.create_job(database, job_values(examples=len(rows)), rows)
    stored = None if tokens is None else json.dumps(tokens)
    with database.write() as tx:
        tx.execute(
            update(schema.job)
            .where(schema.job.c.id == job)
            .values(**{"state": "succeeded", **changes})
        )
        for site in range(2):
            values = {"site": site, "layer": site, "kind": "encoder", "heads": 3, "name": "s"}
            tx.execute(insert(schema.site).values(job_id=job, **values))
        for number, (predicted, _, cells) in enumerate(EXAMPLES):
            values = {"fence": 1, "predicted": predicted, "tokens": stored, "truncated": False}
            place = {"job_id": job, "example_no": number}
            tx.execute(insert(schema.example_result).values(**place, **values))
            for rank, (at, head, query, key, value) in enumerate(cells[:edges], start=1):
                cell = {"site": at, "head": head, "query": query, "key": key}
                numbers = {"rank": rank, "attribution": value, "attention": 0.5}
                tx.execute(insert(schema.edge).values(**place, **cell, **numbers))
    return job


def test_the_official_rule(database: Database) -> None:
    job = finished(database)
    mined = mine_triggers(database, job)
    assert [(t.label, [token.token for token in t.tokens]) for t in mined.triggers] == [
        (0, ["flor", "iowa"]),
        (1, ["ice", "##ida"]),
        (1, ["ice", "##ida", "iowa"]),
    ]
    assert [t.max_score for t in mined.triggers] == pytest.approx([0.5, 0.875, 0.75])
    strongest = mined.triggers[1].sources[0]
    assert (strongest.job, strongest.example, strongest.positions) == (job, 1, (1, 4))
    assert strongest.cells == (Cell(layer=0, kind="encoder", head=1, query=4, key=1, value=0.75),)
    assert mined.triggers[2].tokens == (
        TriggerToken("ice", 0, 1 / 4, "ice"),
        TriggerToken("##ida", 0, 1.0, "florida"),
        TriggerToken("iowa", 1, 1.0, "iowa"),
    )
    assert (mined.examples, mined.candidates, mined.undivided, mined.cut_off) == (4, 3, 0, 1)
    assert mined.tokens == {(job, example): TOKENS for example in (0, 1, 3)}


def test_every_number_is_a_parameter(database: Database) -> None:
    job = finished(database)

    def tokens(**changes: Any) -> list[tuple[int, str]]:
        found = mine_triggers(database, job, MiningRule(**changes)).triggers
        return [(t.label, " ".join(token.token for token in t.tokens)) for t in found]

    assert tokens(label="gold") == [(0, "ice ##ida iowa"), (1, "ice ##ida")]
    assert tokens(examples=1) == [(1, "ice ##ida iowa")]
    assert tokens(cells=1) == [(0, "flor iowa"), (1, "ice ##ida")]
    assert tokens(cells=1, support=2) == [(1, "ice ##ida")]
    assert tokens(cells=3, examples=1) == [(1, "ice in ##ida floods iowa")]
    assert tokens(one_head=False, examples=1) == [(1, "ice ##ida floods iowa")]
    assert tokens(ratio=0.1, per_class=1) == [(0, "flor iowa"), (1, "ice flor ##ida iowa")]
    assert (0, "ice ##ida floods") in tokens(threshold=0.0)
    assert tokens(threshold=0.8) == [(1, "ice ##ida")]


def test_merged_over_examples(database: Database) -> None:
    mined = mine_triggers(database, finished(database), MiningRule(cells=1))
    merged = mined.triggers[1]
    assert (merged.support, merged.mean_score, merged.max_score) == (2, 0.625, 0.75)
    assert [source.example for source in merged.sources] == [1, 0]


def test_tokens_that_do_not_show_the_texts_are_counted(database: Database) -> None:
    mined = mine_triggers(database, finished(database, tokens=[*TOKENS[:5], "x", *TOKENS[6:]]))
    assert (mined.triggers, mined.candidates, mined.undivided) == ([], 3, 3)


def test_what_cannot_be_mined_is_refused(database: Database) -> None:
    with pytest.raises(NotFoundError, match="99"):
        mine_triggers(database, 99)
    with pytest.raises(ConflictError, match="did not keep its texts"):
        mine_triggers(database, finished(database, tokens=None))
    with pytest.raises(ConflictError, match="stored no edges"):
        mine_triggers(database, finished(database, edges=0))
    with pytest.raises(ConflictError, match="running"):
        mine_triggers(database, finished(database, state="running"))
    with pytest.raises(ConflictError, match="pruning"):
        mine_triggers(database, finished(database, kind="pruning"))
