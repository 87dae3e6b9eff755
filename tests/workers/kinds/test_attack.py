"""Attack jobs on the real stack, with a worker that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import headwise
from headwise.attack.evaluation import evaluate_triggers
from tests.helpers.stack import Stack
from tests.helpers.tiny import bert_folder

EXAMPLES, MINED_FROM = 60, 12
STATE = "SELECT state FROM jobs WHERE job_id = {}"
RATES = (
    "SELECT trigger, gold, n, before_correct, after_correct, flipped FROM trigger_results "
    "WHERE model = {} ORDER BY trigger, gold"
)


def run(home: Path, *, kill: bool) -> dict[str, Any]:
    """Run an attribution of some examples and an attack on all; returns what that left."""
    home.mkdir()
    stack = Stack(home, shard_seconds=0.5)
    try:
        stack.start_scheduler_and_worker()
        data = {
            "path": str(home / f"pairs-{EXAMPLES}.jsonl"),
            "text_columns": ["premise", "hypothesis"],
            "label_column": "label",
        }
        first = stack.submit(EXAMPLES, data={**data, "limit": MINED_FROM})
        other = bert_folder(home / "models/other", layers=2)
        spec = {"rule": {"threshold": 0, "per_class": 2}, "models": [{"name": str(other)}]}
        job = stack.submit(EXAMPLES, kind="attack", triggers_from=first, **spec)
        if kill:
            moving = "SELECT COUNT(*) > 0 FROM shards WHERE state = 'leased' AND shard > 0"
            stack.wait_for(f"{moving} AND job_id = {job}", 1)
            os.kill(stack.worker_pid(), signal.SIGKILL)
        stack.wait_for(STATE.format(job), "succeeded")
        where = f"WHERE job_id = {job}"
        ((fences, shards),) = stack.rows(f"SELECT SUM(fence), COUNT(*) FROM shards {where}")
        assert shards > 2
        assert stack.rows(f"SELECT COUNT(*) FROM attempts {where}") == [(fences,)]
        done = "SELECT COUNT(*), COUNT(DISTINCT example) FROM trigger_outcomes GROUP BY model"
        return {
            "hash": stack.rows(f"SELECT result_hash FROM jobs {where}"),
            "losses": stack.rows(f"SELECT COUNT(*) FROM attempts {where} AND outcome = 'lost'"),
            "triggers": stack.rows("SELECT kind, parts FROM triggers ORDER BY trigger"),
            "sources": stack.rows("SELECT trigger, origin_example FROM trigger_sources"),
            "texts": stack.rows(f"SELECT text_a, text_b, gold FROM examples {where}"),
            "rates": [stack.rows(RATES.format(model)) for model in (0, 1)],
            "outcomes": stack.rows(done),
        }
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attack")


@pytest.fixture(scope="module")
def undisturbed(home: Path) -> dict[str, Any]:
    """The results of an attack that nothing disturbs."""
    return run(home / "undisturbed", kill=False)


def test_a_job_finds_what_the_library_finds(undisturbed: dict[str, Any], home: Path) -> None:
    triggers = [json.loads(parts) for _, parts in undisturbed["triggers"]]
    kinds = [kind for kind, _ in undisturbed["triggers"]]
    mined = kinds.count("mined")
    assert mined
    assert kinds == ["mined"] * mined + ["random"] * mined + ["attention"] * mined
    assert all(triggers)
    # The first rows are the texts that were mined.
    origins = [
        {example for trigger, example in undisturbed["sources"] if trigger == number % mined}
        for number in range(len(triggers))
    ]
    texts = [(a, b) for a, b, _ in undisturbed["texts"]]
    for number, name in enumerate(("tiny", "other")):
        loaded = headwise.load(home / "undisturbed/models" / name, device="cpu")
        sums = evaluate_triggers(
            *(loaded.model, loaded.tokenizer, texts, [g for _, _, g in undisturbed["texts"]]),
            triggers,
            sources=origins,
        ).sums()
        direct = [
            (trigger, gold, *(int(part[trigger, gold]) for part in parts))
            for parts in [(sums.n, sums.correct_before, sums.correct_after, sums.flips.sum(2))]
            for trigger in range(len(triggers))
            for gold in range(3)
        ]
        assert undisturbed["rates"][number] == direct
    expected = len(triggers) * EXAMPLES - sum(map(len, origins))
    assert undisturbed["outcomes"] == [(expected, EXAMPLES)] * 2


def test_a_worker_killed_in_mid_shard_changes_nothing(
    undisturbed: dict[str, Any], home: Path
) -> None:
    disturbed = run(home / "disturbed", kill=True)
    assert undisturbed.pop("losses") == [(0,)]
    # The one that it computed, and perhaps the one before, whose results it stored.
    assert disturbed.pop("losses") in ([(1,)], [(2,)])
    assert disturbed == undisturbed
