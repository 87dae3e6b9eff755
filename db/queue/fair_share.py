"""The rules of fair shares in the database, where every process reads the same ones."""

from __future__ import annotations

from db.database import Database
from db.queue.sql import FINAL
from db.transaction import Transaction
from jobs.scheduling.fair_share import FairShare

WRITE = """
INSERT INTO fair_share (id, half_life, ageing) VALUES (1, :half_life, :ageing)
ON CONFLICT (id) DO UPDATE SET half_life = excluded.half_life, ageing = excluded.ageing
"""

USERS = f"""
SELECT user_name, MIN(weight) AS lowest, MAX(weight) AS highest FROM job
WHERE state NOT IN {FINAL} AND state <> 'deleting' GROUP BY user_name
"""  # noqa: S608 - constants of the queue

WEIGH = f"""
UPDATE job SET weight = :weight
WHERE user_name = :user_name AND state NOT IN {FINAL} AND state <> 'deleting'
"""  # noqa: S608 - constants of the queue


def write(database: Database, rules: FairShare) -> None:
    """Store the rules and the weights of unfinished jobs."""
    with database.write() as tx:
        tx.run(WRITE, half_life=rules.half_life, ageing=rules.ageing)
        weigh(tx, rules)


def weigh(tx: Transaction, rules: FairShare) -> None:
    """Set the weights of unfinished jobs that have others."""
    for row in tx.rows(USERS):
        weight = rules.weight(row["user_name"])
        if (row["lowest"], row["highest"]) != (weight, weight):
            tx.run(WEIGH, weight=weight, user_name=row["user_name"])
