"""The uploads that jobs refer to."""

from __future__ import annotations

from db.database import Database
from db.ops.retention import KEEPS_NO_TEXT
from db.queue.sql import FINAL
from jobs.inputs.data.uploads import IN_PATH

REFERRING = f"""
SELECT spec FROM job
WHERE spec LIKE :uploads AND state <> 'deleting' AND purged_at IS NULL
  AND NOT (state IN {FINAL} AND spec LIKE :keeps_no_text)
UNION ALL
SELECT submission FROM recurring WHERE submission LIKE :uploads
"""  # noqa: S608 - constants of this file
"""The specifications that name an upload, of jobs that have their texts or still need them."""


def in_use(database: Database) -> set[str]:
    """The hashes of the uploads that a job or a recurring job refers to."""
    rows = database.rows(REFERRING, uploads="%uploads/%", keeps_no_text=KEEPS_NO_TEXT)
    return {digest for row in rows for digest in IN_PATH.findall(row["spec"])}
