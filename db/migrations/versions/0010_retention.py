"""Retention of jobs and their details"""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None

COLUMNS = ('keep_days', 'detail_days', 'purged_at')


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column('job', sa.Column(name, sa.Double(), nullable=True))
    op.add_column(
        'job', sa.Column('purging', sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    for name in (*COLUMNS, 'purging'):
        op.execute(f'ALTER TABLE job DROP COLUMN {name}')
