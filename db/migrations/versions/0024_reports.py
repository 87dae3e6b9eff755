"""Reports of every process on itself and its machine, and the processes beside workers and schedulers"""

import sqlalchemy as sa
from alembic import op

revision = '0024'
down_revision = '0023'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('worker', sa.Column('report', sa.Text(), nullable=True))
    op.add_column('scheduler', sa.Column('report', sa.Text(), nullable=True))
    op.create_table(
        'process',
        sa.Column('name', sa.Text(), primary_key=True),
        sa.Column('host', sa.Text(), nullable=False),
        sa.Column('pid', sa.Integer(), nullable=False),
        sa.Column('role', sa.Text(), nullable=False),
        sa.Column('state', sa.Text(), nullable=False),
        sa.Column('report', sa.Text(), nullable=True),
        sa.Column('started_at', sa.Double(), nullable=False),
        sa.Column('seen_at', sa.Double(), nullable=False),
        sa.Column('beat_seconds', sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table('process')
    op.drop_column('scheduler', 'report')
    op.drop_column('worker', 'report')
