"""Tries to sign in, counted in the database: several web processes count together."""

from __future__ import annotations

import math
from collections.abc import Mapping

from db.database import Database

WINDOW_SECONDS = 900.0
"""Tries count for this time from the first of them."""

BLOCKED = """
SELECT key, failures, since + :window - {clock} AS remaining FROM failed_sign_in
WHERE key IN :keys AND since > {clock} - :window
"""

CLAIM = """
INSERT INTO failed_sign_in (key, failures, since) VALUES (:key, 1, {clock})
ON CONFLICT (key) DO UPDATE SET
    failures = CASE WHEN failed_sign_in.since > {clock} - :window
                    THEN failed_sign_in.failures + 1 ELSE 1 END,
    since = CASE WHEN failed_sign_in.since > {clock} - :window
                 THEN failed_sign_in.since ELSE {clock} END
WHERE failed_sign_in.failures < :limit OR failed_sign_in.since <= {clock} - :window
"""


def claim(database: Database, limits: Mapping[str, int]) -> int:
    """Count a try for every key; returns the seconds to wait where one is at its limit, else 0.

    A try counts before anybody knows whether it is wrong: as many as are made at once would
    otherwise all pass.
    """
    if seconds := _seconds_blocked(database, limits):  # a flood only reads
        return seconds
    with database.write() as tx:
        free = all(
            tx.run(CLAIM, key=key, limit=limits[key], window=WINDOW_SECONDS).rowcount
            for key in sorted(limits)
        )
    return 0 if free else max(1, _seconds_blocked(database, limits))


def _seconds_blocked(database: Database, limits: Mapping[str, int]) -> int:
    found = database.rows(BLOCKED, keys=list(limits), window=WINDOW_SECONDS)
    remaining = [row["remaining"] for row in found if row["failures"] >= limits[row["key"]]]
    return math.ceil(max(remaining, default=0))


def forgive(database: Database, person: str, address: str) -> None:
    """Forget the tries of a person who was right, and the one that their address has made."""
    with database.write() as tx:
        tx.run("DELETE FROM failed_sign_in WHERE key = :key", key=person)
        tx.run("UPDATE failed_sign_in SET failures = failures - 1 WHERE key = :key", key=address)
