"""The stage of an attempt, and when a worker last went on"""

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('attempt', sa.Column('stage', sa.Text(), nullable=True))
    op.add_column('worker', sa.Column('moved_at', sa.Double(), nullable=True))


def downgrade() -> None:
    op.execute('ALTER TABLE worker DROP COLUMN moved_at')
    op.execute('ALTER TABLE attempt DROP COLUMN stage')
