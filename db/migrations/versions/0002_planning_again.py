"""Planning again after a hub that did not answer"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('job', sa.Column('plan_tries', sa.Integer(), nullable=False, server_default=sa.text('0')))
    op.add_column('job', sa.Column('plan_at', sa.Double(), nullable=False, server_default=sa.text('0')))


def downgrade() -> None:
    with op.batch_alter_table('job', schema=None) as batch_op:
        batch_op.drop_column('plan_at')
        batch_op.drop_column('plan_tries')
