"""The words that a worker stores are the library's."""

from __future__ import annotations

import json

import numpy as np

import headwise
from db.database import Database
from db.queue import claims
from db.reads.results import example_head_tokens, get_example
from db.results import commit
from jobs.outcome import Completed
from jobs.results.head_tokens import STEPS
from tests.helpers.classifiers import random_inputs, tiny
from tests.helpers.jobs import ALICE, planned_job
from tests.helpers.tokenizers import byte_level, classifier
from workers.kinds.attribution import shard_result

TEXT = ("Café  日本", "ok")


def commit_all(database: Database, result: headwise.Attribution) -> int:
    """A job whose only shard has that result."""
    job = planned_job(database, examples=len(result), size=len(result))
    held = claims.claim(database, ALICE, 60.0)
    assert held is not None
    done = Completed(parts=(shard_result(result),), seconds=0.5)
    assert commit.commit_shard(database, held, done, "fingerprint")
    return job


def test_words_and_their_places_are_stored(database: Database) -> None:
    result = headwise.attribute(
        classifier(), byte_level(), [TEXT], integration="gauss-legendre:2", edges=400
    )
    words = result.words()[0]
    assert words is not None
    assert words.texts == ("[CLS]", "Café", "日", "本", "[SEP]", "ok", "[SEP]")
    job = commit_all(database, result)
    stored = get_example(database, job, 0).words
    assert stored is not None
    assert stored.word_index == result.word_index[0]
    assert stored.spans == result.token_spans[0]
    with database.read() as tx:
        rows = tx.run("SELECT query, key, query_word, key_word FROM token_edges").all()
        ((index, spans),) = tx.run("SELECT word_index, token_spans FROM examples").all()
    assert (json.loads(index)[:6], json.loads(spans)[:6]) == (
        *([0, 1, 1, 1, 1, 1], [None, [0, 0, 1], [0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 3, 4]]),
    )
    wanted = [
        None if span is None else words.texts[word]
        for word, span in zip(result.word_index[0], result.token_spans[0], strict=True)
    ]
    assert len(rows) == min(400, 4 * len(wanted) ** 2)
    for query, key, query_word, key_word in rows:
        assert (query_word, key_word) == (wanted[query], wanted[key])


def test_without_offsets_there_are_no_words(database: Database) -> None:
    model = tiny()
    result = headwise.attribute_encoded(model, random_inputs(model, [4]), matrices=False)
    job = commit_all(database, result)
    example = get_example(database, job, 0)
    assert example.tokens == result.tokens[0]
    assert example.words is None


def test_what_each_head_reads_of_each_token_is_stored(database: Database) -> None:
    model = tiny()
    inputs = random_inputs(model, [6, 3])
    result = headwise.attribute_encoded(
        model, inputs, matrices=False, head_token_attribution=True, integration="gauss-legendre:2"
    )
    job = commit_all(database, result)
    assert result.head_token_attribution is not None
    for example, by_head in enumerate(result.head_token_attribution):
        assert by_head is not None
        for site in range(3):
            for head in range(4):
                want = by_head[site, head]
                found = example_head_tokens(database, job, example, site, head)
                step = np.abs(want).max() / STEPS
                np.testing.assert_allclose(found, want, rtol=0, atol=1.01 * step)
    assert example_head_tokens(database, job, 2, 0, 0) is None
