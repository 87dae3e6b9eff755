"""Samples of queues, workers and users over time, and the sizes of jobs"""

import sqlalchemy as sa
from alembic import op

revision = '0029'
down_revision = '0028'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'sample',
        sa.Column('subject', sa.Text(), nullable=False),
        sa.Column('starts_at', sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('step', sa.Integer(), nullable=False),
        sa.Column('attempts', sa.BigInteger(), nullable=False),
        sa.Column('failures', sa.BigInteger(), nullable=False),
        sa.Column('examples', sa.BigInteger(), nullable=False),
        sa.Column('seconds', sa.Double(), nullable=False),
        sa.Column('ready', sa.Integer(), nullable=True),
        sa.Column('waiting', sa.BigInteger(), nullable=True),
        sa.Column('leased', sa.Integer(), nullable=True),
        sa.Column('oldest', sa.Double(), nullable=True),
        sa.Column('workers', sa.Integer(), nullable=True),
        sa.Column('memory', sa.BigInteger(), nullable=True),
        sa.Column('device_memory', sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint('subject', 'starts_at', 'name', name=op.f('pk_sample')),
        sqlite_with_rowid=False,
    )
    op.create_index('ix_sample_name', 'sample', ['subject', 'name', 'starts_at'])
    op.create_table(
        'job_size',
        sa.Column('job_id', sa.Integer(), autoincrement=False, nullable=False),
        sa.Column('bytes', sa.BigInteger(), nullable=False),
        sa.Column('details', sa.BigInteger(), nullable=False),
        sa.Column('measured_at', sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ['job_id'], ['job.id'], name=op.f('fk_job_size_job'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('job_id', name=op.f('pk_job_size')),
    )
    op.create_index('ix_attempt_finished', 'attempt', ['finished_at'])
    op.create_index('ix_attempt_worker', 'attempt', ['worker', 'started_at'])


def downgrade() -> None:
    op.drop_index('ix_attempt_worker', 'attempt')
    op.drop_index('ix_attempt_finished', 'attempt')
    op.drop_table('job_size')
    op.drop_table('sample')
