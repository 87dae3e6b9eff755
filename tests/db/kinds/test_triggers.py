"""Mining triggers from edges made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from db import schema
from db.database import Database
from db.kinds.triggers import Mined, mine
from db.results.words import to_columns
from headwise.segmentation import Segmentation, Span
from jobs.errors import ConflictError
from jobs.kinds.triggers import OFFICIAL, Cell, TriggerRule, TriggerToken
from tests.helpers.trigger_jobs import TOKENS, attributed_job


def mine_triggers(database: Database, job: int, rule: TriggerRule = OFFICIAL) -> Mined:
    with database.read() as tx:
        return mine(tx, job, rule)


def test_the_official_rule(database: Database) -> None:
    job = attributed_job(database)
    mined = mine_triggers(database, job)
    assert [(t.label, [token.token for token in t.tokens]) for t in mined.triggers] == [
        (0, ["flor", "iowa"]),
        (1, ["ice", "##ida"]),
        (1, ["ice", "##ida", "iowa"]),
    ]
    assert [t.max_score for t in mined.triggers] == pytest.approx([0.5, 0.875, 0.75])
    strongest = mined.triggers[1].sources[0]
    assert (strongest.job, strongest.example, strongest.positions) == (job, 1, (1, 4))
    assert strongest.cells == (
        Cell(layer=0, attention_type="encoder", head=1, query=4, key=1, value=0.75),
    )
    assert mined.triggers[2].tokens == (
        TriggerToken("ice", 0, 1 / 4, "ice"),
        TriggerToken("##ida", 0, 1.0, "florida"),
        TriggerToken("iowa", 1, 1.0, "iowa"),
    )
    tokens = {place: own.tokens for place, own in mined.tokens.items()}
    assert tokens == {(job, example): TOKENS for example in (0, 1, 3)}


def test_words_are_those_of_the_text_where_they_are_stored(database: Database) -> None:
    job = attributed_job(database)
    # In none of its tokens' names does this tokenizer say where a text or a word begins.
    tokens = ["^", "ice", "in", "flor", "ida", "^", "floods", "iowa", "^"]
    spans = [None, (0, 0, 3), (0, 4, 6), (0, 7, 11), (0, 11, 14), None, (1, 0, 6), (1, 8, 12), None]
    known = Segmentation(
        word_index=(0, 1, 2, 3, 3, 4, 5, 6, 7),
        spans=tuple(None if span is None else Span(*span) for span in spans),
    )
    texts = {"text_a": "Ice in Florida.", "text_b": "Floods (Iowa)"}
    e, r = schema.example.c, schema.example_result.c
    with database.write() as tx:
        tx.execute(update(schema.example).where(e.job_id == job).values(**texts))
        values = {"tokens": json.dumps(tokens), **to_columns(known)}
        tx.execute(update(schema.example_result).where(r.job_id == job).values(**values))
    mined = mine_triggers(database, job)
    assert mined.triggers[2].tokens == (
        TriggerToken("ice", 0, 1 / 4, "Ice"),
        TriggerToken("ida", 0, 1.0, "Florida"),
        TriggerToken("iowa", 1, 1.0, "Iowa"),
    )


def test_every_number_is_a_parameter(database: Database) -> None:
    job = attributed_job(database)

    def tokens(**changes: Any) -> list[tuple[int, str]]:
        found = mine_triggers(database, job, TriggerRule(**changes)).triggers
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
    mined = mine_triggers(database, attributed_job(database), TriggerRule(cells=1))
    merged = mined.triggers[1]
    assert (merged.support, merged.max_score) == (2, 0.75)
    assert [source.example for source in merged.sources] == [1, 0]


def test_examples_whose_tokens_do_not_show_the_texts_are_left_out(database: Database) -> None:
    mined = mine_triggers(
        database, attributed_job(database, tokens=[*TOKENS[:5], "x", *TOKENS[6:]])
    )
    assert mined.triggers == []


def test_what_cannot_be_mined_is_refused(database: Database) -> None:
    with pytest.raises(ConflictError, match="has no results"):
        mine_triggers(database, 99)
    with pytest.raises(ConflictError, match="did not keep its texts"):
        mine_triggers(database, attributed_job(database, tokens=None))
    with pytest.raises(ConflictError, match="stored no edges"):
        mine_triggers(database, attributed_job(database, edges=0))
