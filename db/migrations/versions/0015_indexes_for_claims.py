"""A claim finds a job's first ready shard without sorting all of them"""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index('ix_shard_state', 'shard')
    op.create_index('ix_shard_state', 'shard', ['state', 'job_id', 'available_at'])
    ready = sa.text("state = 'ready'")
    op.create_index(
        'ix_shard_ready', 'shard', ['job_id', 'lo'], postgresql_where=ready, sqlite_where=ready
    )


def downgrade() -> None:
    op.drop_index('ix_shard_ready', 'shard')
    op.drop_index('ix_shard_state', 'shard')
    op.create_index('ix_shard_state', 'shard', ['state', 'available_at'])
