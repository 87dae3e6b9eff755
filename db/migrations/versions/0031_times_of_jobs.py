"""The time that workers held the shards of a job, stored at its end"""

import sqlalchemy as sa
from alembic import op

revision = '0031'
down_revision = '0030'
branch_labels = None
depends_on = None

COLUMNS = ('elapsed_seconds', 'compute_seconds')
ENDED = """
UPDATE job SET compute_seconds = (
        SELECT COALESCE(SUM(a.finished_at - a.started_at), 0) FROM attempt a
        WHERE a.job_id = job.id AND a.finished_at IS NOT NULL),
    elapsed_seconds = (
        SELECT COALESCE(SUM(CASE WHEN h.covered IS NULL OR h.covered <= h.started_at
            THEN h.finished_at - h.started_at
            WHEN h.finished_at > h.covered THEN h.finished_at - h.covered ELSE 0 END), 0)
        FROM (SELECT a.started_at, a.finished_at, MAX(a.finished_at) OVER (
                  ORDER BY a.started_at, a.shard_no, a.fence
                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered
              FROM attempt a WHERE a.job_id = job.id AND a.finished_at IS NOT NULL) h)
WHERE state IN ('succeeded', 'failed', 'cancelled')
"""


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column('job', sa.Column(name, sa.Double(), nullable=True))
    op.execute(ENDED)


def downgrade() -> None:
    for name in COLUMNS:
        op.execute(f'ALTER TABLE job DROP COLUMN {name}')
