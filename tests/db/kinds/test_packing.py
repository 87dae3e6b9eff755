"""Results are packed in a thread beside the one that feeds the device."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

from benchmarks.store import EDGES, made_up_result
from db.kinds.attribution import _edges


def test_packing_links_sets_off_no_collection() -> None:
    """No other thread runs in a collection, which takes 0.3 s with all that torch has made."""
    count, lease = 2_000, SimpleNamespace(job_id=1, lo=0)
    result: Any = made_up_result(count)
    begun, before = list[str](), gc.get_threshold()
    gc.collect()
    gc.callbacks.append(lambda phase, _: begun.append(phase))
    try:
        gc.set_threshold(700, 10, 10)
        packed: Any = _edges(lease, result, keep_text=True)  # type: ignore[arg-type]
    finally:
        gc.callbacks.pop()
        gc.set_threshold(*before)
    assert len(packed["query_word"]) == count * EDGES
    assert begun == []
