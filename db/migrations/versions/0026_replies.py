"""Answers that are kept for requests with an idempotency key"""

import sqlalchemy as sa
from alembic import op

revision = '0026'
down_revision = '0025'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'reply',
        sa.Column('owner', sa.Text(), nullable=False),
        sa.Column('key', sa.Text(), nullable=False),
        sa.Column('request_hash', sa.Text(), nullable=False),
        sa.Column('status', sa.Integer(), nullable=True),
        sa.Column('body', sa.LargeBinary(), nullable=True),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('owner', 'key'),
    )
    op.create_index('ix_reply_created_at', 'reply', ['created_at'])


def downgrade() -> None:
    op.drop_table('reply')
