"""The tables. They are private: others may rely on the views in `db.views` only.

Tables have singular names, published views plural ones. Times are seconds since 1970 (UTC) by the
database's clock. A result row has no state: it exists if and only if the shard of its example is
done, because a shard's results and its state change in one transaction.
"""

from db.schema.accounts import (
    account,
    audit,
    failed_sign_in,
    identity,
    link,
    session,
    token,
)
from db.schema.attack import (
    attack_trigger,
    trigger_outcome,
    trigger_result,
    trigger_source,
    trigger_sum,
)
from db.schema.digests import confusion, score_sample, shard_top, site_summary, strongest
from db.schema.fleet import (
    attempt_count,
    claim_count,
    fair_share,
    process,
    published,
    scheduler,
    usage,
    worker,
)
from db.schema.jobs import example, job, job_parent, study, study_step
from db.schema.metadata import metadata
from db.schema.notifications import job_recipient, notification, open_condition, recipient
from db.schema.operations import job_size, sample
from db.schema.pruning import curve_point, mask, mask_result, mask_sum, pruning
from db.schema.queries import own_query
from db.schema.queue import attempt, job_log, shard
from db.schema.rankings import head_value, ranking, ranking_sum
from db.schema.recurring import recurring, recurring_run
from db.schema.replies import reply
from db.schema.results import (
    edge,
    example_result,
    head_matrix,
    head_score,
    importance,
    shard_sum,
    site,
    site_result,
)

__all__ = [
    "account",
    "attack_trigger",
    "attempt",
    "attempt_count",
    "audit",
    "claim_count",
    "confusion",
    "curve_point",
    "edge",
    "example",
    "example_result",
    "failed_sign_in",
    "fair_share",
    "head_matrix",
    "head_score",
    "head_value",
    "identity",
    "importance",
    "job",
    "job_log",
    "job_parent",
    "job_recipient",
    "job_size",
    "link",
    "mask",
    "mask_result",
    "mask_sum",
    "metadata",
    "notification",
    "open_condition",
    "own_query",
    "process",
    "pruning",
    "published",
    "ranking",
    "ranking_sum",
    "recipient",
    "recurring",
    "recurring_run",
    "reply",
    "sample",
    "scheduler",
    "score_sample",
    "session",
    "shard",
    "shard_sum",
    "shard_top",
    "site",
    "site_result",
    "site_summary",
    "strongest",
    "study",
    "study_step",
    "token",
    "trigger_outcome",
    "trigger_result",
    "trigger_source",
    "trigger_sum",
    "usage",
    "worker",
]
