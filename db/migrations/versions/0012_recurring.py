"""Recurring jobs"""

import sqlalchemy as sa
from alembic import op

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('recurring',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    *(
        sa.Column(name, sa.Text(), nullable=False)
        for name in ('name', 'user_name', 'cron', 'zone', 'submission')
    ),
    sa.Column('paused', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('next_at', sa.Double(), nullable=True),
    sa.Column('retry_at', sa.Double(), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_recurring')),
    sqlite_autoincrement=True
    )
    op.create_table('recurring_run',
    sa.Column('recurring_id', sa.Integer(), nullable=False),
    sa.Column('due_at', sa.Double(), nullable=False),
    sa.Column('missed_since', sa.Double(), nullable=True),
    sa.Column('ran_at', sa.Double(), nullable=False),
    sa.Column('job_id', sa.Integer(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(
        ['recurring_id'], ['recurring.id'], name=op.f('fk_recurring_run_recurring'),
        ondelete='CASCADE'
    ),
    sa.PrimaryKeyConstraint('recurring_id', 'due_at', name=op.f('pk_recurring_run'))
    )


def downgrade() -> None:
    op.drop_table('recurring_run')
    op.drop_table('recurring')
