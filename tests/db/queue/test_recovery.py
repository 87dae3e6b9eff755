"""Shards after errors and losses; `test_splitting` follows whole jobs."""

from __future__ import annotations

from db.queue.recovery import MAX_ERRORS, backoff_seconds


def test_the_wait_after_an_error_grows_to_a_limit() -> None:
    waits = [backoff_seconds(errors) for errors in range(1, 10)]
    assert waits[0] == 2.0
    assert waits == sorted(waits)
    assert waits[MAX_ERRORS - 1] < waits[-1] == 300.0
