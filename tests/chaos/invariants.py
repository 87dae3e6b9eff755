"""Invariants of every database at the end."""

from __future__ import annotations

BROKEN = {
    "a final job has a shard that is not": (
        "SELECT shard_no, state FROM shard WHERE job_id = {job} "
        "AND state NOT IN ('done', 'failed', 'cancelled')"
    ),
    "fences are not attempts": (
        "SELECT s.shard_no, s.fence, COUNT(a.fence), MAX(a.fence) FROM shard s LEFT JOIN attempt a "
        "ON a.job_id = s.job_id AND a.shard_no = s.shard_no WHERE s.job_id = {job} "
        "GROUP BY s.shard_no, s.fence "
        "HAVING s.fence <> COUNT(a.fence) OR s.fence <> COALESCE(MAX(a.fence), 0)"
    ),
    "an attempt without end, or two winners": (
        "SELECT shard_no, SUM(CASE WHEN outcome = 'done' THEN 1 ELSE 0 END) FROM attempt "
        "WHERE job_id = {job} GROUP BY shard_no HAVING COUNT(*) <> COUNT(outcome) "
        "OR SUM(CASE WHEN outcome = 'done' THEN 1 ELSE 0 END) > 1"
    ),
    "a result of a fence that did not win": (
        "SELECT r.example_no FROM example_result r LEFT JOIN shard s ON s.job_id = r.job_id "
        "AND r.example_no >= s.lo AND r.example_no < s.hi AND s.state = 'done' "
        "AND s.fence = r.fence WHERE r.job_id = {job} AND s.job_id IS NULL"
    ),
    "an example in two shards, or in none": (
        "SELECT e.example_no, COUNT(s.shard_no) FROM example e LEFT JOIN shard s "
        "ON s.job_id = e.job_id AND e.example_no >= s.lo AND e.example_no < s.hi "
        "WHERE e.job_id = {job} AND EXISTS (SELECT 1 FROM shard x WHERE x.job_id = e.job_id) "
        "GROUP BY e.example_no HAVING COUNT(s.shard_no) <> 1"
    ),
    "an example of a done shard without a result, or a result beside": (
        "SELECT s.shard_no, s.state, COUNT(r.example_no) FROM shard s LEFT JOIN example_result r "
        "ON r.job_id = s.job_id AND r.example_no >= s.lo AND r.example_no < s.hi "
        "WHERE s.job_id = {job} GROUP BY s.shard_no, s.state, s.lo, s.hi "
        "HAVING COUNT(r.example_no) <> CASE WHEN s.state = 'done' THEN s.hi - s.lo ELSE 0 END"
    ),
    "head scores that do not belong to one good example each": (
        "SELECT r.example_no, r.error, COUNT(h.head) FROM example_result r LEFT JOIN head_score h "
        "ON h.job_id = r.job_id AND h.example_no = r.example_no WHERE r.job_id = {job} "
        "GROUP BY r.example_no, r.error HAVING COUNT(h.head) <> "
        "CASE WHEN r.error IS NULL THEN 8 ELSE 0 END"
    ),
    "a head score twice": (
        "SELECT example_no, site, head FROM head_score WHERE job_id = {job} "
        "GROUP BY example_no, site, head HAVING COUNT(*) <> 1"
    ),
    "head scores without an example": (
        "SELECT DISTINCT h.example_no FROM head_score h LEFT JOIN example_result r "
        "ON r.job_id = h.job_id AND r.example_no = h.example_no "
        "WHERE h.job_id = {job} AND r.job_id IS NULL"
    ),
}
"""Queries that must find nothing once a job is final."""
