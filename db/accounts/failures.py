"""Wrong sign-ins, counted in the database: several web processes count together."""

from __future__ import annotations

import math
from collections.abc import Mapping

from db.database import Database

WINDOW_SECONDS = 900.0
"""Failures count for this time from the first of them."""

BLOCKED = """
SELECT key, failures, since + :window - {clock} AS remaining FROM failed_sign_in
WHERE key IN :keys AND since > {clock} - :window
"""

COUNT = """
INSERT INTO failed_sign_in (key, failures, since) VALUES (:key, 1, {clock})
ON CONFLICT (key) DO UPDATE SET
    failures = CASE WHEN failed_sign_in.since > {clock} - :window
                    THEN failed_sign_in.failures + 1 ELSE 1 END,
    since = CASE WHEN failed_sign_in.since > {clock} - :window
                 THEN failed_sign_in.since ELSE {clock} END
"""


def seconds_blocked(database: Database, limits: Mapping[str, int]) -> int:
    """Seconds until every key is below its limit of failures again; 0 where all are."""
    found = database.rows(BLOCKED, keys=list(limits), window=WINDOW_SECONDS)
    remaining = [row["remaining"] for row in found if row["failures"] >= limits[row["key"]]]
    return math.ceil(max(remaining, default=0))


def count(database: Database, keys: list[str]) -> None:
    """Count a failure for each of the keys, and forget those whose time is over."""
    with database.write() as tx:
        for key in sorted(keys):
            tx.run(COUNT, key=key, window=WINDOW_SECONDS)
        tx.run("DELETE FROM failed_sign_in WHERE since < {clock} - :w", w=WINDOW_SECONDS)


def forget(database: Database, key: str) -> None:
    """Forget the failures of a key."""
    with database.write() as tx:
        tx.run("DELETE FROM failed_sign_in WHERE key = :key", key=key)
