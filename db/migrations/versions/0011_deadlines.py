"""Deadlines"""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('job', sa.Column('deadline_at', sa.Double(), nullable=True))


def downgrade() -> None:
    op.execute('ALTER TABLE job DROP COLUMN deadline_at')
