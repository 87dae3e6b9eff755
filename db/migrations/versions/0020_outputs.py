"""The meaning of the outputs of a job's model"""

import sqlalchemy as sa
from alembic import op

revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('job', sa.Column('outputs', sa.Text(), nullable=True))


def downgrade() -> None:
    op.execute('ALTER TABLE job DROP COLUMN outputs')
