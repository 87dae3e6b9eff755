"""The SQL of claims and of what becomes of parts of shards; `db.statements` has it too."""

from __future__ import annotations

RANKED = """
SELECT j.id AS job_id, j.queue, j.block, j.cost, j.kind, j.layers, j.heads
FROM job j
LEFT JOIN (SELECT q.queue, q.user_name, COUNT(*) AS n FROM shard l JOIN job q ON q.id = l.job_id
           WHERE l.state = 'leased' GROUP BY q.queue, q.user_name) own
    ON own.queue = j.queue AND own.user_name = j.user_name
WHERE j.state = 'running' AND j.control = 'run' AND j.queue IN :queues
  AND EXISTS (SELECT 1 FROM shard s
              WHERE s.job_id = j.id AND s.state = 'ready' AND s.available_at <= {clock})
  AND (:user_limit = 0 OR COALESCE(own.n, 0) < :user_limit)
  AND (:queue_limit = 0 OR :queue_limit > (
        SELECT COUNT(*) FROM shard l JOIN job q ON q.id = l.job_id
        WHERE l.state = 'leased' AND q.queue = j.queue))
ORDER BY j.priority DESC, COALESCE(own.n, 0),
    CASE WHEN j.model = :model OR EXISTS (
        SELECT 1 FROM shard s WHERE s.job_id = j.id AND s.state = 'ready'
          AND s.available_at < {clock} - :patience) THEN 0 ELSE 1 END,
    j.id
LIMIT 50
"""
"""Jobs of the queues with something ready, best first: highest priority; then the user who has the
fewest shards leased in that queue; then a model that the worker has loaded, or a job of which a
shard has waited longer than the worker's patience; then the oldest."""

CANDIDATE = """
SELECT s.shard_no, s.fence, s.lo, s.hi FROM shard s
WHERE s.job_id = :job_id AND s.state = 'ready' AND s.available_at <= {clock}
ORDER BY s.lo LIMIT 1 {lock_shard}
"""
"""The first ready shard of a job that no other claim has locked. Jobs are ranked apart from it:
sorting all that is ready at every claim was most of a database's work where 20,000 shards were."""

CLAIMABLE = """
SELECT EXISTS (
    SELECT 1 FROM shard s JOIN job j ON j.id = s.job_id
    WHERE s.state = 'ready' AND s.available_at <= {clock}
      AND j.state = 'running' AND j.control = 'run' AND j.queue IN :queues)
"""
"""Whether there is anything to claim but for limits and the locks of other claims."""

LIMIT_LOCK = "SELECT pg_advisory_xact_lock(7230)"
"""PostgreSQL, where there are limits: claims one at a time, or two could pass a limit together."""

LEFT = "SELECT SUM(hi - lo) FROM shard WHERE job_id = :job_id AND state = 'ready'"
"""Examples of a job that nobody has."""

ALIVE = """
SELECT COUNT(*) FROM worker
WHERE state <> 'stopped' AND seen_at > {clock} - :grace
  AND ',' || queue || ',' LIKE '%,' || :queue || ',%'
"""

PACE = """
SELECT SUM(a.seconds) / SUM(a.examples * j.cost)
FROM attempt a JOIN job j ON j.id = a.job_id
WHERE a.job_id IN (SELECT id FROM job WHERE kind = :kind AND layers = :layers AND heads = :heads
                   AND started_at IS NOT NULL ORDER BY id DESC LIMIT 3)
  AND a.outcome = 'done' AND a.seconds > 0 AND a.device LIKE :device
"""
"""Seconds per unit of cost that such devices took in the newest jobs on models of this shape."""

LEASE = """
UPDATE shard
SET state = 'leased', fence = fence + 1, owner = :worker, lease_until = {clock} + :lease,
    progress = 0, moved_at = {clock}, error = NULL, hi = :hi, pace = :pace
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND state = 'ready'
RETURNING fence
"""

CUT_OFF = """
INSERT INTO shard (job_id, shard_no, lo, hi, state, available_at, errors, losses, error)
VALUES (:job_id, :lo, :lo, :hi, 'ready', {clock} + :wait, :errors, :losses, :error)
"""
"""The rest of a shard, which ends at `lo` from now on, as a shard of its own."""

SHORTEN = """
UPDATE shard SET hi = :hi
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND state = 'leased'
  AND lo < :hi AND hi > :hi
"""
"""A lease ends earlier from now on."""

SUSPECTS = """
SELECT COUNT(*) FROM shard
WHERE job_id = :job_id AND (errors > 0 OR losses > 1) AND (state <> 'done' OR examples_failed > 0)
"""
"""Shards of a job that raised or lost workers and did not come out well, so far."""

POLL = """
SELECT s.hi, j.control FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.job_id = :job_id AND s.shard_no = :shard_no AND s.fence = :fence AND s.state = 'leased'
"""
"""A look at what the user wants, and how far the lease reaches. No row: the lease is lost."""

RUNNING = """
SELECT s.job_id, s.shard_no, s.fence, s.lo, s.hi, s.progress, s.pace, s.losses, j.block,
    j.priority, j.queue, {clock} - a.started_at AS elapsed
FROM shard s JOIN job j ON j.id = s.job_id
JOIN attempt a ON a.job_id = s.job_id AND a.shard_no = s.shard_no AND a.fence = s.fence
WHERE s.state = 'leased' AND j.state = 'running' AND j.control = 'run' AND j.block > 0
  AND s.pace IS NOT NULL AND j.queue IN :queues
"""
"""What workers hold and how far they are. Those without a pace are single blocks, or of workers of
an older release, which would not hear that their lease has become shorter."""

WAITING_QUEUES = """
SELECT j.queue, j.priority,
    SUM((s.hi - s.lo + j.block - 1) / CASE j.block WHEN 0 THEN 1 ELSE j.block END) AS blocks
FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.state = 'ready' AND s.available_at <= {clock}
  AND j.state = 'running' AND j.control = 'run'
GROUP BY j.queue, j.priority
"""
"""What is ready, by queue and priority, and how many workers could share it."""

TYPICAL = """
SELECT SUM(seconds) / SUM(examples) FROM attempt
WHERE job_id = :job_id AND outcome = 'done' AND seconds > 0
"""
"""Seconds per example that a job's workers took on average."""
