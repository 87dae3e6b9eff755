"""The findings of attack jobs."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from db.database import Database
from db.reads import attack as attack_reads
from db.reads.jobs import Job
from jobs.formatting import counted, percent
from jobs.kinds.attack import TriggerKind


def findings(database: Database, job: Job) -> list[str]:
    """The best trigger of every kind against every class."""
    sentences = []
    triggers = {one.number: one for one in attack_reads.list_triggers(database, job.id)}
    tried = Counter(trigger.kind for trigger in triggers.values())
    best = [
        one
        for one in attack_reads.get_results(database, job.id)
        if one.rank == 1 and one.sums.model == 0 and one.success[0] is not None
    ]
    best.sort(key=lambda one: (one.sums.gold, list(TriggerKind).index(one.kind)))
    for gold, group in groupby(best, key=lambda one: one.sums.gold):
        parts = [
            f"the best of {counted(tried[one.kind], one.kind.noun)}, "
            f"“{triggers[one.sums.trigger].text}”, makes {percent(one.success[0])} of the correct "
            f"predictions wrong, taking accuracy from {percent(one.accuracy_before[0])} to "
            f"{percent(one.accuracy_after[0])} on {counted(one.sums.n, 'example')}"
            for one in group
        ]
        sentences.append(f"Against {job.labels[gold]}: {'; '.join(parts)}.")
    return sentences
