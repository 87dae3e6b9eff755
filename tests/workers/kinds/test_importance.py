"""Importance jobs on the real stack, with a worker that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headwise
from headwise.pruning.importance import leave_one_out, taylor
from tests.helpers.stack import Stack

EXAMPLES = 40
STATE = "SELECT state FROM jobs WHERE job_id = {}"


def run(home: Path, *, kill: bool, **spec: Any) -> tuple[str, dict[str, np.ndarray[Any, Any]]]:
    """Run a job; returns its hash, and its values per source and [example, layer, head]."""
    home.mkdir()
    stack = Stack(home, shard_seconds=0.05)
    try:
        stack.start_scheduler_and_worker()
        job = stack.submit(EXAMPLES, kind="importance", **spec)
        if kill:
            moving = "SELECT COUNT(*) > 0 FROM shards WHERE state = 'leased' AND shard > 0"
            stack.wait_for(moving, 1)
            os.kill(stack.worker_pid(), signal.SIGKILL)
        stack.wait_for(STATE.format(job), "succeeded")
        fences = stack.rows("SELECT SUM(fence), COUNT(*) FROM shards")
        assert fences[0][1] > 2
        assert stack.rows("SELECT COUNT(*) FROM attempts") == [(fences[0][0],)]
        assert stack.rows("SELECT COUNT(*) FROM examples") == [(EXAMPLES,)]
        ((digest,),) = stack.rows("SELECT result_hash FROM jobs")
        values = {
            source: np.array(
                stack.rows(
                    f"SELECT value FROM head_values WHERE source = '{source}' "
                    "ORDER BY example, layer, head"
                )
            ).reshape(EXAMPLES, 4, 4)
            for (source,) in stack.rows("SELECT DISTINCT source FROM importances")
        }
        return digest, values
    finally:
        stack.stop()


@pytest.mark.parametrize("method", ["taylor", "leave-one-out"])
def test_a_killed_worker_changes_nothing(tmp_path: Path, method: str) -> None:
    first, values = run(tmp_path / "one", kill=False, method=method)
    second, _ = run(tmp_path / "two", kill=True, method=method)
    assert first == second
    loaded = headwise.load(tmp_path / "one" / "models/tiny", device="cpu")
    texts, gold = _data(tmp_path / "one")
    if method == "taylor":
        expected = {"taylor": taylor(loaded.model, loaded.tokenizer, texts, gold)}
    else:
        found = leave_one_out(loaded.model, loaded.tokenizer, texts, gold)
        expected = {"leave-one-out-loss": found.loss, "leave-one-out-accuracy": found.accuracy}
    assert set(values) == set(expected)
    for source, wanted in expected.items():
        np.testing.assert_allclose(values[source], wanted, atol=1e-4)


def _data(home: Path) -> tuple[list[tuple[str, str]], list[int]]:
    labels = ("no", "maybe", "yes")
    lines = (home / f"pairs-{EXAMPLES}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    texts = [(row["premise"], row["hypothesis"]) for row in rows]
    return texts, [labels.index(row["label"]) for row in rows]
