"""The oldest code that works on the schema"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('published', sa.Column('oldest_code', sa.Text()))


def downgrade() -> None:
    with op.batch_alter_table('published', schema=None) as batch_op:
        batch_op.drop_column('oldest_code')
