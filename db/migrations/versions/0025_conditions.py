"""Faults of the installation, while they last"""

import sqlalchemy as sa
from alembic import op

revision = '0025'
down_revision = '0024'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'open_condition',
        sa.Column('subject', sa.Text(), nullable=False),
        sa.Column('message', sa.Text(), nullable=False),
        sa.Column('since', sa.Double(), nullable=False),
        sa.Column('seen_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('subject', name=op.f('pk_open_condition')),
    )


def downgrade() -> None:
    op.drop_table('open_condition')
