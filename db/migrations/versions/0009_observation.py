"""Logs of jobs, schedulers that beat, shards that say when they moved"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('shard', sa.Column('moved_at', sa.Double(), nullable=True))
    op.add_column('worker', sa.Column('beat_seconds', sa.Double(), nullable=True))
    op.add_column('worker', sa.Column('vitals', sa.Text(), nullable=True))
    op.create_table('scheduler',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('doing', sa.Text(), nullable=True),
    sa.Column('broker', sa.Text(), nullable=False),
    sa.Column('broker_error', sa.Text(), nullable=True),
    sa.Column('started_at', sa.Double(), nullable=False),
    sa.Column('seen_at', sa.Double(), nullable=False),
    sa.Column('moved_at', sa.Double(), nullable=False),
    sa.Column('beat_seconds', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_scheduler'))
    )
    op.create_table('job_log',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('line_no', sa.BigInteger(), nullable=False),
    sa.Column('shard_no', sa.Integer(), nullable=True),
    sa.Column('fence', sa.Integer(), nullable=True),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('stored_at', sa.Double(), nullable=False),
    sa.Column('level', sa.SmallInteger(), nullable=False),
    sa.Column('event', sa.Text(), nullable=False),
    sa.Column('details', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('job_id', 'source', 'line_no', name=op.f('pk_job_log')),
    sqlite_with_rowid=False
    )
    op.create_index(
        'ix_job_log_stored', 'job_log', ['job_id', 'stored_at', 'source', 'line_no']
    )


def downgrade() -> None:
    op.drop_table('job_log')
    op.drop_table('scheduler')
    op.execute('ALTER TABLE worker DROP COLUMN vitals')
    op.execute('ALTER TABLE worker DROP COLUMN beat_seconds')
    op.execute('ALTER TABLE shard DROP COLUMN moved_at')
