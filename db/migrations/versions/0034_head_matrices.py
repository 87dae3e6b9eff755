"""The whole attention and attribution of a head on an example, where somebody asked for them"""

import sqlalchemy as sa
from alembic import op

revision = '0034'
down_revision = '0033'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'head_matrix',
        sa.Column('job_id', sa.Integer(), nullable=False),
        sa.Column('example_no', sa.Integer(), nullable=False),
        sa.Column('site', sa.SmallInteger(), nullable=False),
        sa.Column('head', sa.SmallInteger(), nullable=False),
        sa.Column('computed_by', sa.Integer(), nullable=False),
        sa.Column('attention', sa.LargeBinary(), nullable=True),
        sa.Column('attribution', sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ['job_id'], ['job.id'], name=op.f('fk_head_matrix_job'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('job_id', 'example_no', 'site', 'head', name=op.f('pk_head_matrix')),
    )
    op.create_index('ix_head_matrix_computed_by', 'head_matrix', ['computed_by'])
    if op.get_bind().dialect.name == 'postgresql':
        # They are compressed already.
        for name in ('attention', 'attribution'):
            op.execute(f'ALTER TABLE head_matrix ALTER COLUMN {name} SET STORAGE EXTERNAL')


def downgrade() -> None:
    op.drop_index('ix_head_matrix_computed_by', 'head_matrix')
    op.drop_table('head_matrix')
