"""The reading of a job's data, and a warning about its results"""

import sqlalchemy as sa
from alembic import op

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('job', sa.Column('understood', sa.Text(), nullable=True))
    op.add_column('job', sa.Column('warning', sa.Text(), nullable=True))


def downgrade() -> None:
    op.execute('ALTER TABLE job DROP COLUMN warning')
    op.execute('ALTER TABLE job DROP COLUMN understood')
