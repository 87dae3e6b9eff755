"""Queries that people ran in the SQL console, and those that they saved"""

import sqlalchemy as sa
from alembic import op

revision = '0033'
down_revision = '0032'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'own_query',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('user_name', sa.Text(), nullable=False),
        sa.Column('sql', sa.Text(), nullable=False),
        sa.Column('title', sa.Text(), nullable=True),
        sa.Column('link', sa.Text(), nullable=False),
        sa.Column('ran_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_own_query')),
        sa.UniqueConstraint('link', name=op.f('uq_own_query_link')),
        sqlite_autoincrement=True,
    )
    op.create_index('ix_own_query_user', 'own_query', ['user_name', 'ran_at'])


def downgrade() -> None:
    op.drop_index('ix_own_query_user', 'own_query')
    op.drop_table('own_query')
