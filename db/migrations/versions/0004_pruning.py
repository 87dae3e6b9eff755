"""Pruning: sums by half of the examples, and what was chosen"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

def mask_sum(*half: sa.Column[int]) -> None:
    """Made anew: no job has left rows in it yet."""
    key = ['job_id', 'shard_no', *(column.name for column in half), 'mask_no']
    op.drop_table('mask_sum')
    op.create_table('mask_sum',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('shard_no', sa.Integer(), nullable=False),
    *half,
    sa.Column('mask_no', sa.Integer(), nullable=False),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.Column('loss_sum', sa.Double(), nullable=False),
    sa.Column('loss_squares', sa.Double(), nullable=False),
    sa.Column('confusion', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint(*key, name=op.f('pk_mask_sum')),
    sqlite_with_rowid=False
    )


def upgrade() -> None:
    mask_sum(sa.Column('half', sa.SmallInteger(), nullable=False))
    op.create_table('pruning',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('given', sa.Integer(), nullable=False),
    sa.Column('overlap', sa.Integer(), nullable=False),
    sa.Column('chosen_mask', sa.Integer(), nullable=True),
    *(
        sa.Column(f'{half}_{name}', sa.BigInteger() if name == 'n' else sa.Double(), nullable=True)
        for half in ('search', 'held_out')
        for name in ('n', 'whole', 'accuracy', 'low', 'high')
    ),
    sa.Column('verified', sa.Boolean(), nullable=True),
    sa.PrimaryKeyConstraint('job_id', name=op.f('pk_pruning'))
    )


def downgrade() -> None:
    op.drop_table('pruning')
    mask_sum()
