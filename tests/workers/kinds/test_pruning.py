"""Pruning jobs on the real stack, with a worker that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headwise
from headwise.pruning.curve import choose, prune_curve
from headwise.pruning.importance import random_importance
from tests.helpers.stack import Stack

EXAMPLES, RANKED, KEPT = 44, 4, 40
STATE = "SELECT state FROM jobs WHERE job_id = {}"
POINTS = (
    "SELECT source, draw, direction, removed, accuracy, macro_f1, loss, loss_low FROM "
    "pruning_points WHERE scope = 'global' ORDER BY point"
)


def run(home: Path, *, kill: bool) -> dict[str, Any]:
    """Run attribution of some examples and pruning of all; returns what that left."""
    home.mkdir()
    stack = Stack(home, shard_seconds=0.2)
    try:
        stack.start_scheduler_and_worker()
        data = {
            "path": str(home / f"pairs-{EXAMPLES}.jsonl"),
            "text_columns": ["premise", "hypothesis"],
            "label_column": "label",
        }
        first = stack.submit(EXAMPLES, data={**data, "limit": RANKED})
        spec = {"steps": 4, "random": 2, "seed": 3, "within": 10}
        source = {"job": first, "source": "attattr"}
        job = stack.submit(EXAMPLES, kind="pruning", sources=[source], **spec)
        if kill:
            moving = "SELECT COUNT(*) > 0 FROM shards WHERE state = 'leased' AND shard > 0"
            stack.wait_for(f"{moving} AND job_id = {job}", 1)
            os.kill(stack.worker_pid(), signal.SIGKILL)
        stack.wait_for(STATE.format(job), "succeeded")
        where = f"WHERE job_id = {job}"
        ((fences, shards),) = stack.rows(f"SELECT SUM(fence), COUNT(*) FROM shards {where}")
        assert shards > 2
        assert stack.rows(f"SELECT COUNT(*) FROM attempts {where}") == [(fences,)]
        means = f"SELECT mean FROM importances WHERE job_id = {first} AND source = 'attattr'"
        return {
            "hash": stack.rows(f"SELECT result_hash FROM jobs {where}"),
            "points": stack.rows(POINTS),
            "mean": np.array(stack.rows(f"{means} ORDER BY layer, head")).reshape(4, 4),
            "choice": stack.rows("SELECT removed, held_out_accuracy FROM pruning_choices")[0],
        }
    finally:
        stack.stop()


def test_a_killed_worker_changes_nothing_and_the_library_says_the_same(tmp_path: Path) -> None:
    one, two = (run(tmp_path / str(kill), kill=kill) for kill in (False, True))
    assert one["hash"] == two["hash"]
    home = tmp_path / "False"
    loaded = headwise.load(home / "models/tiny", device="cpu")
    lines = (home / f"pairs-{EXAMPLES}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines][RANKED:]
    texts = [(row["premise"], row["hypothesis"]) for row in rows]
    gold = [row["label"] for row in rows]
    expected = [
        prune_curve(
            *(loaded.model, loaded.tokenizer, texts, gold),
            importances,
            shares=[0, 0.25, 0.5, 0.75, 1],
            directions=directions,
        ).to_dataframe()
        for importances, directions in (
            ({"attattr": one["mean"]}, ("least", "most")),
            ({"random": [random_importance(loaded.sites, 3, draw) for draw in (0, 1)]}, ("least",)),
        )
    ]
    wanted = [row for frame in expected for row in frame.to_dict("records")]
    assert len(one["points"]) == len(wanted) == 20
    for (source, draw, direction, removed, *measured), row in zip(
        one["points"], wanted, strict=True
    ):
        assert (source, draw, removed) == (row["source"], row["draw"], row["removed"])
        assert direction == ("any" if source == "random" else row["direction"])
        names = ("accuracy", "macro_f1", "loss", "loss_low")
        assert measured == pytest.approx([row[name] for name in names], rel=1e-5)
    # What is left after the ranked ones is numbered from 0: even numbers choose.
    chosen = choose(
        *(loaded.model, loaded.tokenizer, (texts[::2], gold[::2]), (texts[1::2], gold[1::2])),
        one["mean"],
        10,
    )
    removed, accuracy = one["choice"]
    assert removed == chosen.removed
    assert accuracy == pytest.approx(chosen.held_out.accuracy().value[1])
