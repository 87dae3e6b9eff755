"""Fair shares: rules, weights, and how often a user was passed over"""

import sqlalchemy as sa
from alembic import op

revision = '0030'
down_revision = '0029'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'fair_share',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('half_life', sa.Double(), nullable=False),
        sa.Column('ageing', sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_fair_share')),
    )
    op.create_table(
        'claim_count',
        sa.Column('queue', sa.Text(), nullable=False),
        sa.Column('priority', sa.Integer(), nullable=False),
        sa.Column('user_name', sa.Text(), nullable=False),
        sa.Column('claims', sa.BigInteger(), nullable=False),
        sa.Column('last_at', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            'queue', 'priority', 'user_name', name=op.f('pk_claim_count')
        ),
    )
    op.add_column('job', sa.Column('weight', sa.Double(), nullable=False, server_default='1'))
    op.add_column(
        'job', sa.Column('waits_from', sa.BigInteger(), nullable=False, server_default='0')
    )


def downgrade() -> None:
    op.execute('ALTER TABLE job DROP COLUMN waits_from')
    op.execute('ALTER TABLE job DROP COLUMN weight')
    op.drop_table('claim_count')
    op.drop_table('fair_share')
