"""Errors are grouped by what their messages have in common."""

from __future__ import annotations

import pytest

from db.database import Database
from db.queue import claims
from db.reads.errors import Source, pattern, read_errors
from db.results import commit
from tests.helpers.databases import execute
from tests.helpers.jobs import ALICE, BOB, completed, planned_job
from tests.helpers.queue import finish
from tests.webui.seed import clock


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("out of memory: tried 1.25 GiB (GPU 3)", "out of memory: tried 20.00 GiB (GPU 0)"),
        ("illegal access at 0x7f00ab", "illegal access at 0x1234"),
        ("worker gpu-1-4121-a1b2c3 was silent", "worker orion-7-1 was silent"),
        ("OSError: /srv/models/a/model.safetensors", "OSError: ~/m/b.bin"),
        (
            "fingerprint 12ab34cd56ef, earlier 0aa1bb2c",
            "fingerprint 99ab34cd56ef, earlier 1aa1bb2c",
        ),
        ("Traceback (most recent call last):\n  File a\nValueError: 1", "ValueError: 22,000"),
    ],
)
def test_numbers_paths_and_names_do_not_matter(one: str, other: str) -> None:
    assert pattern(one) == pattern(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no kernel for float16", "no kernel for float32"),
        ("the shard failed", "the job failed"),
        ("well-known words", "little-known words"),
        ("ValueError: x", "KeyError: x"),
    ],
)
def test_words_do(one: str, other: str) -> None:
    assert pattern(one) != pattern(other)


def test_attempts_jobs_and_examples_are_grouped(database: Database) -> None:
    job = planned_job(database, examples=8, size=2)
    for who, message in ((ALICE, "boom at 1"), (BOB, "boom at 22"), (ALICE, "other")):
        held = claims.claim(database, who, 60)
        assert held is not None
        claims.record_error(database, held, message, permanent=True)
    held = claims.claim(database, ALICE, 60)
    if held is None:  # permanent errors fail the job's other shards
        job = planned_job(database, examples=2)
        held = claims.claim(database, ALICE, 60)
    assert held is not None
    bad = frozenset({held.lo})
    assert commit.commit_shard(database, held, completed(held.lo, held.hi, bad), "model")
    finish(database)
    found = read_errors(database, clock(database) - 60)
    by_source = {source: [one for one in found if one.source is source] for source in Source}
    assert [(one.message, one.count) for one in by_source[Source.ATTEMPT]][:1] == [
        ("boom at 22", 2)
    ]
    group = by_source[Source.ATTEMPT][0]
    assert group.workers == ["bob", "alice"]
    assert group.first <= group.last
    (example,) = by_source[Source.EXAMPLE]
    assert (example.message, example.job) == ("the output is not a number", job)
    assert len(by_source[Source.JOB]) == 1
    assert read_errors(database, clock(database) + 60) == []


def test_what_was_handed_back_is_no_error(database: Database) -> None:
    planned_job(database)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    claims.hand_back(database, held, "pause")
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    execute(database, "UPDATE attempt SET error = 'handed back: pause' WHERE outcome = 'done'")
    assert read_errors(database, 0) == []
