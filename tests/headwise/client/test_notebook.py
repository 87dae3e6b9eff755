"""A notebook's lines against the real processes of a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import headwise
from tests.helpers.stack import Stack
from tests.helpers.tiny import bert_folder


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.stop()


def test_from_texts_to_data_frames(stack: Stack, tmp_path: Path) -> None:
    bert_folder(tmp_path / "model", layers=2)
    texts = pd.DataFrame({"premise": ["a b c", "b c a d"], "hypothesis": ["c", "a b"]})
    for process in ("web", "scheduler", "worker"):
        stack.start(process)
    with headwise.Client(stack.settings.address) as client:
        job = client.submit(
            str(tmp_path / "model"), texts, texts=["premise", "hypothesis"], rtol=1e-3
        ).wait(timeout=240, progress=True)
        heads, scores = job.heads(), job.scores()
        best = client.sql(
            f"SELECT layer, head, mean FROM head_importance WHERE job_id = {job.id} AND rank = 1"
        )
    loaded = headwise.load(tmp_path / "model")
    pairs = list(texts.itertuples(index=False, name=None))
    wanted = headwise.attribute(loaded.model, loaded.tokenizer, pairs, rtol=1e-3)
    found = scores.sort_values(["example", "layer", "head"])["score"].to_numpy()
    np.testing.assert_allclose(found, np.ravel(wanted.scores), rtol=1e-4, atol=1e-6)
    assert best.iloc[0]["head"] == heads.iloc[0]["head"]
