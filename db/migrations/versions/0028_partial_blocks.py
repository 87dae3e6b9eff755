"""The finished part of a stopped attempt's block"""

import sqlalchemy as sa
from alembic import op

revision = '0028'
down_revision = '0027'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'partial_block',
        sa.Column('job_id', sa.Integer(), nullable=False),
        sa.Column('lo', sa.Integer(), nullable=False),
        sa.Column('hi', sa.Integer(), nullable=False),
        sa.Column('finished', sa.Integer(), nullable=False),
        sa.Column('numbers', sa.Text(), nullable=False),
        sa.Column('results', sa.LargeBinary(), nullable=False),
        sa.Column('seconds', sa.Double(), nullable=False),
        sa.Column('fingerprint', sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ['job_id'],
            ['job.id'],
            name=op.f('fk_partial_block_job_id_job'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('job_id', 'lo', name=op.f('pk_partial_block')),
    )


def downgrade() -> None:
    op.drop_table('partial_block')
