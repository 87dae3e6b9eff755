"""The SQL of the state machine.

Every UPDATE names the states that it leaves: run twice, it changes nothing the second time.
`Transaction.run` fills in `{clock}` and the row locks.
"""

from __future__ import annotations

from db.queue.usage import RECENT

AGEING = 100
"""Shards that a user is passed over for at most, until a scheduler has stored its own bound."""

FINAL = "('succeeded', 'failed', 'cancelled')"
"""The final states of a job, as a SQL list."""

HELD = """
    SELECT a.job_id, a.shard_no, a.fence, a.worker, a.started_at, a.outcome, a.examples, a.seconds,
        COALESCE(a.finished_at, {clock}) AS ended,
        MAX(COALESCE(a.finished_at, {clock})) OVER (PARTITION BY a.job_id
            ORDER BY a.started_at, a.shard_no, a.fence
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered
    FROM attempt a"""
"""Attempts, and until when earlier ones of the same job held shards."""

ELAPSED = """COALESCE(SUM(CASE WHEN h.covered IS NULL OR h.covered <= h.started_at
    THEN h.ended - h.started_at WHEN h.ended > h.covered THEN h.ended - h.covered ELSE 0 END), 0)"""
"""Of attempts `h`: seconds during which a worker held at least one shard of the job."""

COMPUTED = "COALESCE(SUM(h.ended - h.started_at), 0)"
"""The same added up over workers."""

_TIMES = f"""
    elapsed_seconds = (SELECT {ELAPSED} FROM ({HELD} WHERE a.job_id = job.id) h),
    compute_seconds = (SELECT {COMPUTED} FROM ({HELD} WHERE a.job_id = job.id) h)"""  # noqa: S608

_OPEN = f"""
SELECT o.* FROM (
    SELECT j.id AS job_id, j.queue, j.user_name, j.block, j.cost, j.kind, j.layers, j.heads,
        j.priority, j.model, COALESCE(own.n, 0) / j.weight AS held,
        COALESCE(used.seconds, 0) / j.weight AS used, COALESCE(numbered.claims, 0) AS claims,
        COALESCE(numbered.claims, 0) - CASE WHEN mine.last_at > j.waits_from THEN mine.last_at
            ELSE j.waits_from END AS passed,
        COALESCE(rules.ageing, {AGEING}) AS ageing
    FROM job j
    LEFT JOIN (SELECT q.queue, q.user_name, COUNT(*) AS n FROM shard l JOIN job q ON q.id = l.job_id
               WHERE l.state = 'leased' GROUP BY q.queue, q.user_name) own
        ON own.queue = j.queue AND own.user_name = j.user_name
    LEFT JOIN ({RECENT}) used ON used.user_name = j.user_name
    LEFT JOIN (SELECT queue, priority, SUM(claims) AS claims FROM claim_count
               GROUP BY queue, priority) numbered
        ON numbered.queue = j.queue AND numbered.priority = j.priority
    LEFT JOIN claim_count mine ON mine.queue = j.queue AND mine.priority = j.priority
        AND mine.user_name = j.user_name
    LEFT JOIN fair_share rules ON rules.id = 1
    WHERE j.state = 'running' AND j.control = 'run' AND j.queue IN :queues
      AND EXISTS (SELECT 1 FROM shard s
                  WHERE s.job_id = j.id AND s.state = 'ready' AND s.available_at <= {{clock}})
      AND (:user_limit = 0 OR COALESCE(own.n, 0) < :user_limit)
      AND (:queue_limit = 0 OR :queue_limit > (
            SELECT COUNT(*) FROM shard l JOIN job q ON q.id = l.job_id
            WHERE l.state = 'leased' AND q.queue = j.queue))) o
"""  # noqa: S608 - constants of the queue
"""Jobs with ready shards. `claims` numbers the claims in the queue at that priority, and `passed`
are those of others since the user had one there, or since the job could be claimed: its user's
oldest job has the most."""

MOST_RANKED = 50
SHARES = f"""
ORDER BY priority DESC, CASE WHEN ageing > 0 AND passed >= ageing THEN passed ELSE 0 END DESC,
    held, ROUND(used / :turn),
    CASE WHEN o.model = :model OR EXISTS (
        SELECT 1 FROM shard s WHERE s.job_id = o.job_id AND s.state = 'ready'
          AND s.available_at < {{clock}} - :patience) THEN 0 ELSE 1 END,
    job_id
LIMIT {MOST_RANKED}
"""  # noqa: S608 - constants of this file
"""The order of claims: by priority; then the user who was passed over most often, from the ageing
bound on; then the user with the fewest leased shards in that queue, for the user's weight; then the
one for whom workers computed least of late, for the weight and in turns; then the model that the
worker has loaded, or a shard that has waited longer than the worker's patience; then the oldest."""

RANKED = _OPEN + SHARES

COUNT_CLAIM = """
UPDATE claim_count SET claims = claims + 1, last_at = :claims + 1
WHERE (queue, priority, user_name) IN (SELECT queue, priority, user_name FROM claim_count
    WHERE queue = :queue AND priority = :priority AND user_name = :user_name
    {for_update_skip_locked})
"""
"""Number a claim. A claim waits for no other one: of two of a user at the same moment, one may not
be counted."""

FIRST_CLAIM = """
INSERT INTO claim_count (queue, priority, user_name, claims, last_at)
VALUES (:queue, :priority, :user_name, 1, :claims + 1) ON CONFLICT DO NOTHING
"""

_CLAIMS = """(SELECT COALESCE(SUM(c.claims), 0) FROM claim_count c
    WHERE c.queue = job.queue AND c.priority = job.priority)"""

WAITS_FROM_NOW = f"UPDATE job SET waits_from = {_CLAIMS} WHERE id = :job_id"  # noqa: S608
"""A job is not passed over by the claims before it could be claimed at its priority."""

CANDIDATE = """
SELECT s.shard_no, s.fence, s.lo, s.hi, s.losses FROM shard s
WHERE s.job_id = :job_id AND s.state = 'ready' AND s.available_at <= {clock}
ORDER BY s.lo LIMIT 1 {for_update_skip_locked}
"""
"""The first ready shard of a job that no other claim has locked. Jobs are ranked separately:
sorting all ready shards at every claim was most of the database's work with 20,000 of them."""

CLAIMABLE = """
SELECT EXISTS (
    SELECT 1 FROM shard s JOIN job j ON j.id = s.job_id
    WHERE s.state = 'ready' AND s.available_at <= {clock}
      AND j.state = 'running' AND j.control = 'run' AND j.queue IN :queues)
"""
"""True if there is anything to claim, apart from limits and the locks of other claims."""

LIMIT_LOCK = "SELECT pg_advisory_xact_lock(7230)"
"""Serialize claims on PostgreSQL when there are limits: two at once could exceed one together."""

LEFT = "SELECT SUM(hi - lo) FROM shard WHERE job_id = :job_id AND state = 'ready'"
"""Examples of a job that are not leased."""

OTHERS_OPEN = """
SELECT 1 FROM shard WHERE job_id = :job_id AND shard_no <> :shard_no
  AND state IN ('ready', 'leased') LIMIT 1
"""
"""Tells if shards of a job are left besides one."""

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
"""Seconds per unit of cost of such devices in the newest jobs on models of this shape."""

_KEPT = """COALESCE((SELECT p.finished FROM partial_block p
        WHERE p.job_id = shard.job_id AND p.lo = shard.lo AND p.hi <= shard.hi), 0)"""
"""Examples of a shard's first block that earlier attempts have finished."""

LEASE = f"""
UPDATE shard
SET state = 'leased', fence = fence + 1, owner = :worker, lease_until = {{clock}} + :lease,
    progress = {_KEPT}, moved_at = {{clock}}, error = NULL, hi = :hi, pace = :pace
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND state = 'ready'
RETURNING fence, progress
"""  # noqa: S608 - constants of this file

CUT_OFF = """
INSERT INTO shard
    (job_id, shard_no, lo, hi, state, available_at, errors, losses, error, progress)
VALUES (:job_id, :lo, :lo, :hi, 'ready', {clock} + :wait, :errors, :losses, :error,
    COALESCE((SELECT p.finished FROM partial_block p
        WHERE p.job_id = :job_id AND p.lo = :lo AND p.hi <= :hi), 0))
"""
"""Insert the rest of a shard, which now ends at `lo`, as a shard of its own."""

SHORTEN = """
UPDATE shard SET hi = :hi
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence
  AND state IN ('ready', 'leased') AND lo < :hi AND hi > :hi
"""
"""End a shard earlier."""

SUSPECTS = """
SELECT COUNT(*) FROM shard
WHERE job_id = :job_id AND (errors > 0 OR losses > 1) AND (state <> 'done' OR examples_failed > 0)
"""
"""Count the shards of a job that raised errors or lost workers, without those that recovered."""

POLL = """
SELECT s.hi, j.control FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.job_id = :job_id AND s.shard_no = :shard_no AND s.fence = :fence AND s.state = 'leased'
"""
"""Read the user's request and the end of the lease. No row: the lease is lost."""

RUNNING = """
SELECT s.job_id, s.shard_no, s.fence, s.lo, s.hi, s.progress, s.pace, s.losses, j.block,
    j.priority, j.queue, {clock} - a.started_at AS elapsed
FROM shard s JOIN job j ON j.id = s.job_id
JOIN attempt a ON a.job_id = s.job_id AND a.shard_no = s.shard_no AND a.fence = s.fence
WHERE s.state = 'leased' AND j.state = 'running' AND j.control = 'run' AND j.block > 0
  AND s.pace IS NOT NULL AND j.queue IN :queues
"""
"""Leases and their progress. Those without a pace are single blocks, or belong to workers of an
older release, which would not learn that their lease was shortened."""

WAITING_QUEUES = """
SELECT j.queue, j.priority,
    SUM((s.hi - s.lo + j.block - 1) / CASE j.block WHEN 0 THEN 1 ELSE j.block END) AS blocks
FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.state = 'ready' AND s.available_at <= {clock}
  AND j.state = 'running' AND j.control = 'run'
GROUP BY j.queue, j.priority
"""
"""Number of workers that could share what is ready, by queue and priority."""

TYPICAL = """
SELECT SUM(seconds) / SUM(examples) FROM attempt
WHERE job_id = :job_id AND outcome = 'done' AND seconds > 0
"""
"""Average seconds per example of a job's workers."""

RENEW = """
UPDATE shard SET lease_until = {clock} + :lease, progress = :progress,
    moved_at = {clock} - :still
WHERE (job_id, shard_no) IN (SELECT job_id, shard_no FROM shard
    WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND state = 'leased'
    {for_update_skip_locked})
"""
"""Renew a lease. No row: it is lost, or its row is locked: a heartbeat never waits for a lock,
least of all for that of its own worker's commit."""

HOLD = """
SELECT job_id, shard_no, fence, lo, hi, errors, losses,
    (SELECT j.block FROM job j WHERE j.id = job_id) AS block
FROM shard
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND state = 'leased' {for_update}
"""
"""Lock a leased shard. No row: the lease has ended, or another attempt has it."""

HOLD_IF_FREE = HOLD.replace("{for_update}", "{for_update_skip_locked}")
"""The same for those who must not wait. No row: it is locked, too, by a commit for example."""

DONE = """
UPDATE shard SET state = 'done', progress = hi - lo, examples_failed = :examples_failed,
    lease_until = NULL, error = NULL
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND state = 'leased'
"""
"""The last statement of a commit. It must touch one row."""

RELEASE = f"""
UPDATE shard SET lease_until = NULL, progress = {_KEPT}, dispatched_at = NULL, pace = NULL,
    state = CASE WHEN j.state = 'cancelling' THEN 'cancelled' ELSE 'ready' END
FROM job j
WHERE j.id = shard.job_id AND shard.job_id = :job_id AND shard.shard_no = :shard_no
  AND shard.fence = :fence AND shard.state = 'leased'
"""  # noqa: S608 - constants of this file
"""Return a shard that was stopped on request; nothing counts against it."""

ENTER = """
UPDATE attempt SET stage = :stage
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND outcome IS NULL
"""
"""The attempt has come to another stage."""

STAGE = """
SELECT stage, (SELECT COUNT(*) FROM attempt l WHERE l.job_id = a.job_id
    AND l.shard_no = a.shard_no AND l.stage = a.stage AND l.outcome = 'lost') AS lost
FROM attempt a
WHERE a.job_id = :job_id AND a.shard_no = :shard_no AND a.fence = :fence
"""
"""The stage of an attempt, and the number of earlier attempts lost there."""

FAIL_READY = """
UPDATE shard SET state = 'failed', error = :error
WHERE job_id = :job_id AND state = 'ready' AND shard_no IN (
    SELECT shard_no FROM shard WHERE job_id = :job_id AND state = 'ready'
    {for_update_skip_locked})
  AND NOT EXISTS (SELECT 1 FROM shard d WHERE d.job_id = :job_id AND d.state = 'done')
"""
"""Fail what is ready of a job whose model cannot be loaded; where a shard is done, it can."""

RETRY = f"""
UPDATE shard SET errors = :errors, losses = :losses, error = :error, lease_until = NULL,
    progress = {_KEPT}, dispatched_at = NULL, pace = NULL, available_at = {{clock}} + :wait,
    state = CASE WHEN :failed THEN 'failed' ELSE 'ready' END
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND state = 'leased'
"""  # noqa: S608 - constants of this file
"""The attempt raised an error or its worker was lost: try the shard again, or fail it."""

INSERT_SITE = """
INSERT INTO site (job_id, site, layer, kind, heads, name)
VALUES (:job_id, :site, :layer, :attention_type, :heads, :name) ON CONFLICT DO NOTHING
"""
"""Written by the first shard of a job; the others insert nothing."""

END_ATTEMPT = """
UPDATE attempt SET finished_at = {clock}, outcome = :outcome, examples = :examples,
    seconds = :seconds, error = :error
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND outcome IS NULL
"""

LEASED = "SELECT job_id, shard_no, fence FROM shard WHERE state = 'leased'"

EXPIRED = """
SELECT s.job_id, s.shard_no, s.fence, s.owner, s.lo, s.hi, s.errors, s.losses, j.block
FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.state = 'leased' AND s.lease_until < {clock}
ORDER BY s.lease_until LIMIT 100 {for_update_of_s_skip_locked}
"""
"""Shards whose worker has been silent for a whole lease."""

HELD_BY_THE_DEAD = """
SELECT s.job_id, s.shard_no, s.owner, l.pid
FROM shard s
JOIN pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = s.xmax
LEFT JOIN worker w ON w.name = s.owner
WHERE s.state = 'leased' AND s.lease_until < {clock}
  AND (w.name IS NULL OR w.state = 'stopped' OR w.seen_at < {clock} - :silence)
"""
"""Expired shards that a session of PostgreSQL holds though their worker is dead, stopped or cut
off. A row's xmax is the transaction that has it locked."""

HELD_BY_THE_SILENT = """
SELECT a.pid, p.name AS owner
FROM pg_stat_activity a
JOIN (SELECT name, seen_at FROM worker UNION ALL SELECT name, seen_at FROM scheduler) p
    ON right(p.name, :length) = a.application_name
WHERE a.datname = current_database() AND p.seen_at < {clock} - :silence
  AND extract(epoch FROM a.xact_start) < {clock} - :silence
"""
"""Sessions in the middle of a transaction whose process, a worker or a scheduler, is silent. They
may hold anything, and whoever needs it would wait."""

WAITING = """
SELECT j.queue, s.job_id, s.shard_no,
    CASE WHEN j.block = 0 THEN 1 ELSE (s.hi - s.lo + j.block - 1) / j.block END AS blocks
FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.state = 'ready' AND s.available_at <= {clock} AND j.state = 'running' AND j.control = 'run'
  AND (s.dispatched_at IS NULL OR s.dispatched_at < {clock} - :again)
ORDER BY j.priority DESC, s.job_id, s.shard_no LIMIT :limit
"""
"""Ready shards without a recent wake-up, and the number of workers that could share each."""

DISPATCHED = """
UPDATE shard SET dispatched_at = {clock}
WHERE (job_id, shard_no) IN (SELECT job_id, shard_no FROM shard
    WHERE job_id = :job_id AND shard_no = :shard_no AND state = 'ready' {for_update_skip_locked})
"""
"""Whoever has the shard locked is claiming it."""

_PARENTS_DONE = """NOT EXISTS (
    SELECT 1 FROM job_parent p JOIN job q ON q.id = p.parent_id
    WHERE p.job_id = job.id AND q.state <> 'succeeded')"""

_PARENT_LOST = """EXISTS (
    SELECT 1 FROM job_parent p JOIN job q ON q.id = p.parent_id
    WHERE p.job_id = job.id AND q.state IN ('failed', 'cancelled'))"""

WORK = f"""
SELECT
    EXISTS (SELECT 1 FROM job WHERE state IN ('queued', 'planning') AND control <> 'cancel'
        AND plan_at <= {{clock}} AND {_PARENTS_DONE}) AS plan,
    EXISTS (SELECT 1 FROM shard WHERE state = 'leased' AND lease_until < {{clock}}) AS expire,
    EXISTS (SELECT 1 FROM job WHERE state IN ('cancelling', 'stopping') OR (
        state IN ('queued', 'planning', 'running', 'paused') AND deadline_at < {{clock}}) OR (
        state = 'queued' AND {_PARENT_LOST}) OR (
        state IN ('running', 'paused') AND NOT EXISTS (
            SELECT 1 FROM shard s WHERE s.job_id = job.id AND s.state IN ('ready', 'leased'))))
        AS sweep,
    EXISTS (SELECT 1 FROM job WHERE state = 'finalizing' AND plan_at <= {{clock}}) AS finish,
    EXISTS (SELECT 1 FROM job WHERE state = 'deleting') AS empty,
    EXISTS (SELECT 1 FROM recurring WHERE NOT paused AND next_at <= {{clock}}
        AND retry_at <= {{clock}}) AS recur
"""  # noqa: S608 - constants of this file
"""Each step for which there is something to do. It is read first, so that an
idle scheduler never takes SQLite's write lock."""

TO_PLAN = f"""
UPDATE job SET state = 'planning'
WHERE id IN (SELECT id FROM job
    WHERE state IN ('queued', 'planning') AND control <> 'cancel' AND plan_at <= {{clock}}
      AND {_PARENTS_DONE} {{for_update_skip_locked}})
RETURNING id
"""  # noqa: S608 - constants of this file
"""Take jobs whose parents have all succeeded. Those in planning are taken again: their planner may
have died."""

PLANNING_AHEAD = f"""
SELECT EXISTS (SELECT 1 FROM job
    WHERE state IN ('queued', 'planning') AND control = 'run' AND plan_at <= {{clock}}
      AND queue IN :queues AND {_PARENTS_DONE})
"""  # noqa: S608 - constants of this file
"""True if more shards are about to be planned."""

PLAN_TRIES = "SELECT plan_tries FROM job WHERE id = :job_id"

PLAN_LATER = """
UPDATE job SET state = 'queued', plan_tries = :tries, plan_at = {clock} + :backoff, error = :error
WHERE id = :job_id AND state = 'planning'
"""
"""Return a job to the queue until its data can be loaded."""

PLANNED = """
UPDATE job SET state = CASE WHEN control = 'pause' THEN 'paused' ELSE 'running' END,
    examples = :examples, data_fingerprint = :fingerprint, cost = COALESCE(:cost, cost),
    understood = COALESCE(:understood, understood),
    block = :block, started_at = {clock}, error = NULL, plan_tries = 0, plan_at = 0
WHERE id = :job_id AND state = 'planning'
"""
"""Start a job that has its shards. No row: another planner was faster."""

FAIL_CHILDREN = f"""
UPDATE job SET state = 'failed', finished_at = {{clock}}, error = (
    SELECT 'job ' || q.id || ', which this needs, ' || CASE q.state
        WHEN 'failed' THEN 'failed: ' || COALESCE(q.error, '') ELSE 'was cancelled' END
    FROM job_parent p JOIN job q ON q.id = p.parent_id
    WHERE p.job_id = job.id AND q.state IN ('failed', 'cancelled') ORDER BY q.id LIMIT 1)
WHERE state = 'queued' AND {_PARENT_LOST}
"""  # noqa: S608 - constants of this file
"""Fail jobs whose parent did not succeed. Run it again for their own children."""

PLANNING_FAILED = """
UPDATE job SET state = 'failed', error = :error, finished_at = {clock}
WHERE id = :job_id AND state = 'planning'
"""

TOO_LATE = """
UPDATE job SET state = 'failed', finished_at = {clock},
    error = 'its deadline passed before it was planned; submit it again with a later one'
WHERE state IN ('queued', 'planning') AND deadline_at < {clock}
"""

OVERDUE = """
UPDATE job SET state = 'stopping', control = 'pause'
WHERE state IN ('running', 'paused') AND control <> 'cancel' AND deadline_at < {clock}
  AND EXISTS (
    SELECT 1 FROM shard s WHERE s.job_id = job.id AND s.state IN ('ready', 'leased'))
"""
"""Stop jobs whose deadline has passed. Workers stop as for a pause and store what they have; the
state prevents new claims."""

COMPLETE = """
UPDATE job SET state = 'finalizing'
WHERE (state IN ('running', 'paused') AND control <> 'cancel' OR state = 'stopping')
  AND NOT EXISTS (
    SELECT 1 FROM shard s WHERE s.job_id = job.id AND s.state IN ('ready', 'leased'))
"""
"""Jobs whose shards are all final."""

TO_FINISH = """
SELECT id FROM job WHERE state = 'finalizing' AND plan_at <= {clock} ORDER BY id
"""

FINISHING = """
SELECT kind, deadline_at, examples, labels, outputs, understood FROM job
WHERE id = :job_id AND state = 'finalizing' AND plan_at <= {clock}
"""
"""A job whose results are to be computed. Nothing of its shards changes any more, and no other
state leads back to this one."""

HOLD_FINISHING = FINISHING + "{for_update_skip_locked}"
"""Lock the job to write its results. No row: another scheduler was faster, or it was cancelled."""

FINISH_LATER = """
UPDATE job SET plan_tries = :tries, plan_at = {clock} + :backoff, error = :error
WHERE id = :job_id AND state = 'finalizing'
"""
"""Postpone a job whose finishing raised an error."""

FINISHED = f"""
UPDATE job SET state = :state, error = :error, warning = :warning, result_hash = :result_hash,
    finished_at = {{clock}}, {_TIMES}
WHERE id = :job_id AND state = 'finalizing'
"""  # noqa: S608 - constants of this file

LATE_BLOCKS = """
SELECT s.job_id, s.shard_no, s.fence, s.lo, s.hi, j.block
FROM partial_block p
JOIN job j ON j.id = p.job_id
JOIN shard s ON s.job_id = p.job_id AND s.lo = p.lo AND s.hi >= p.hi
WHERE j.state = 'stopping' AND s.state = 'ready' ORDER BY s.job_id, s.lo
"""
"""Shards of jobs whose deadline has passed, of whose first block something is finished."""

HOLD_LATE = """
SELECT fence FROM shard
WHERE job_id = :job_id AND shard_no = :shard_no AND fence = :fence AND state = 'ready'
  AND job_id IN (SELECT id FROM job WHERE state = 'stopping')
{for_update_skip_locked}
"""
"""Lock a shard of a job whose deadline has passed. No row: another scheduler has it."""

STOPPED_BY = """
SELECT a.worker, a.device, a.versions FROM attempt a
JOIN shard s ON s.job_id = a.job_id AND s.shard_no = a.shard_no
WHERE a.job_id = :job_id
  AND (s.lo = :lo AND a.outcome = 'handed-back' OR s.hi = :lo AND a.outcome = 'done')
ORDER BY CASE WHEN s.lo = :lo THEN 0 ELSE 1 END, a.finished_at DESC LIMIT 1
"""
"""The worker that was stopped in the block that begins at `lo`: it handed the shard back, or stored
what it had computed before that block."""

CANCEL_READY = f"""
UPDATE shard SET state = 'cancelled', lease_until = NULL
WHERE state = 'ready' AND (
    job_id IN (SELECT id FROM job WHERE state = 'cancelling') OR
    job_id IN (SELECT id FROM job WHERE state = 'stopping') AND {_KEPT} = 0)
"""  # noqa: S608 - constants of this file
"""The finished parts of blocks of a job that is stopping are stored first."""

CANCELLED = f"""
UPDATE job SET state = 'cancelled', finished_at = {{clock}}, {_TIMES}
WHERE state = 'cancelling' AND NOT EXISTS (
    SELECT 1 FROM shard s WHERE s.job_id = job.id AND s.state IN ('ready', 'leased'))
"""  # noqa: S608 - constants of this file

PAUSE = """
UPDATE job SET control = 'pause', state = CASE WHEN state = 'running' THEN 'paused' ELSE state END
WHERE id = :job_id AND state IN ('queued', 'planning', 'running', 'paused') AND control <> 'cancel'
"""

RESUME = """
UPDATE job SET control = 'run', state = CASE WHEN state = 'paused' THEN 'running' ELSE state END
WHERE id = :job_id AND state IN ('queued', 'planning', 'running', 'paused') AND control <> 'cancel'
"""

CANCEL = """
UPDATE job SET control = 'cancel', state = 'cancelling'
WHERE id = :job_id AND state NOT IN ('succeeded', 'failed', 'cancelled', 'deleting')
"""

CANCEL_CHILDREN = """
WITH RECURSIVE below(id) AS (
    SELECT job_id FROM job_parent WHERE parent_id = :job_id
    UNION SELECT p.job_id FROM job_parent p JOIN below b ON p.parent_id = b.id)
UPDATE job SET control = 'cancel', state = 'cancelling'
WHERE state NOT IN ('succeeded', 'failed', 'cancelled', 'deleting')
  AND id IN (SELECT id FROM below)
"""
"""Cancel all jobs that need a cancelled job."""

WAITING_CHILD = """
SELECT MIN(j.id) FROM job_parent p JOIN job j ON j.id = p.job_id
WHERE p.parent_id = :job_id AND j.state NOT IN ('succeeded', 'failed', 'cancelled')
"""
