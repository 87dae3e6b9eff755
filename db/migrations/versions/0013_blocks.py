"""Jobs are computed in blocks; shards are cut from ranges of them when they are claimed"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Jobs from before have no blocks: their shards stay as they were cut.
    block = sa.Column('block', sa.Integer(), server_default=sa.text('0'), nullable=False)
    op.add_column('job', block)
    op.add_column('job', sa.Column('model', sa.Text(), nullable=True))
    op.add_column('shard', sa.Column('pace', sa.Double(), nullable=True))


def downgrade() -> None:
    for table, column in (('shard', 'pace'), ('job', 'model'), ('job', 'block')):
        op.execute(f'ALTER TABLE {table} DROP COLUMN {column}')
