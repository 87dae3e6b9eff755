"""Rows of one small attribution job, in every table that it fills, and of its worker and queue."""

from __future__ import annotations

ROWS: dict[str, list[dict[str, object]]] = {
    "job": [
        {
            "id": n,
            "kind": "attribution",
            "name": name,
            "spec": '{"limit": 2}',
            "spec_hash": "s",
            "user_name": "ada",
            "priority": 0,
            "queue": "default",
            "state": "succeeded",
            "control": "run",
            "labels": '["no", "yes"]',
            "examples": 2,
            "created_at": 1.5,
        }
        for n, name in ((1, "naïve ∑ 日本"), (2, "=1+1"))
    ],
    "shard": [{"job_id": 1, "shard_no": 0, "lo": 0, "hi": 2, "state": "done", "available_at": 0.0}],
    "attempt": [
        {
            "job_id": 1,
            "shard_no": 0,
            "fence": 1,
            "worker": "w",
            "device": "cpu",
            "versions": '{"headwise": "0.1.0", "torch": "2.9"}',
            "started_at": 2.0,
        }
    ],
    "worker": [
        {
            "name": "w",
            "host": "h",
            "pid": 1,
            "queue": "default",
            "device": "cpu",
            "versions": "{}",
            "state": "idle",
            "started_at": 1.0,
            "seen_at": 2.0,
        }
    ],
    "example": [
        {"job_id": 1, "example_no": n, "source_row": n, "text_hash": "t"} for n in range(3)
    ],
    "example_result": [
        {
            "job_id": 1,
            "example_no": n,
            "fence": 1,
            "truncated": False,
            "probabilities": "[0.25, 0.75]",
        }
        for n in range(2)
    ],
    "site": [
        {"job_id": 1, "site": n, "layer": n, "kind": "encoder", "heads": 2, "name": f"layer.{n}"}
        for n in range(2)
    ],
    "head_score": [
        {
            "job_id": 1,
            "example_no": example,
            "site": site,
            "head": head,
            "score": example + site + head / 2,
            "total": 1.0,
            "query": 0,
            "key": 1,
            "attention_max": 0.5,
            "attention_mean": 0.25,
        }
        for example in range(2)
        for site in range(2)
        for head in range(2)
    ],
    "site_result": [
        {
            "job_id": 1,
            "example_no": 0,
            "site": 0,
            "f0": 0.0,
            "f1": 1.0,
            "residual": 0.0,
            "points": 5,
            "converged": True,
        }
    ],
    "edge": [
        {
            "job_id": 1,
            "example_no": 0,
            "rank": 1,
            "site": 0,
            "head": 0,
            "query": 0,
            "key": 1,
            "attribution": 0.5,
            "attention": 0.5,
        }
    ],
    "importance": [
        {
            "job_id": 1,
            "site": 0,
            "head": 0,
            "rank": 1,
            "n": 2,
            "mean": 0.5,
            "mean_total": 1.0,
            "mean_absolute_total": 1.0,
            "mean_attention_max": 0.5,
            "mean_attention_mean": 0.25,
        }
    ],
    "sample": [
        {
            "subject": "queue",
            "starts_at": 300,
            "name": "default",
            "step": 300,
            "attempts": 1,
            "failures": 0,
            "examples": 2,
            "seconds": 1.5,
        }
    ],
    "job_size": [{"job_id": 1, "bytes": 2000, "details": 1000, "measured_at": 3.0}],
}
