"""Recent computing time of each user: the basis of fair shares.

Seconds count half after the half-life, a quarter after twice as long, and so on, as in the
fair-share schedulers of batch systems.
"""

from __future__ import annotations

import math
import socket

from db.database import Database
from db.transaction import Transaction

HALF_LIFE = 3_600.0
"""Seconds, until a scheduler has stored its own: a user who computed all night is level with the
others before noon."""
FORGOTTEN = 30
"""Half-lives after which nothing is left."""
_HALF_LIFE = f"(SELECT COALESCE(MAX(half_life), {HALF_LIFE}) FROM fair_share)"  # noqa: S608


def _decayed(age: str) -> str:
    """SQL for the share of seconds that counts after `age`; PostgreSQL refuses to underflow."""
    return f"""CASE WHEN {age} > {FORGOTTEN} * {_HALF_LIFE} THEN 0
        ELSE exp({-math.log(2)} * ({age}) / {_HALF_LIFE}) END"""


ADD = f"""
INSERT INTO usage (user_name, source, seconds, updated_at)
SELECT j.user_name, :source, {{clock}} - a.started_at, {{clock}}
FROM attempt a JOIN job j ON j.id = a.job_id
WHERE a.job_id = :job_id AND a.shard_no = :shard_no AND a.fence = :fence
ON CONFLICT (user_name, source) DO UPDATE SET updated_at = excluded.updated_at,
    seconds = excluded.seconds
        + usage.seconds * {_decayed("excluded.updated_at - usage.updated_at")}
"""  # noqa: S608 - constants of this file
RECENT = f"""
SELECT user_name, SUM(seconds * {_decayed("{clock} - updated_at")}) AS seconds
FROM usage GROUP BY user_name
"""  # noqa: S608 - constants of this file
FORGET = f"DELETE FROM usage WHERE updated_at < {{clock}} - {FORGOTTEN} * {_HALF_LIFE}"  # noqa: S608


def add(tx: Transaction, key: dict[str, int]) -> None:
    """Count the time of an attempt that ends, whatever its outcome.

    Each machine has its own rows, so that commits rarely wait for each other. They are few, since
    every claim adds them up.
    """
    tx.run(ADD, **key, source=_source())


def _source() -> str:
    return socket.gethostname()


def forget(database: Database) -> None:
    """Delete usage of so long ago that nothing is left of it."""
    with database.write() as tx:
        tx.run(FORGET)
