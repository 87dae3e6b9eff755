"""Digests of finished attribution jobs; indices of failed and of truncated examples"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('site_summary',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('site', sa.SmallInteger(), nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    *(
        sa.Column(name, sa.Double(), nullable=False)
        for name in ('converged', 'points', 'change', 'median', 'p95', 'worst')
    ),
    sa.PrimaryKeyConstraint('job_id', 'site', name=op.f('pk_site_summary'))
    )
    op.create_table('confusion',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('gold', sa.SmallInteger(), nullable=False),
    sa.Column('predicted', sa.SmallInteger(), nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('job_id', 'gold', 'predicted', name=op.f('pk_confusion'))
    )
    op.create_table('strongest',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('site', sa.SmallInteger(), nullable=False),
    sa.Column('head', sa.SmallInteger(), nullable=False),
    sa.Column('rank', sa.SmallInteger(), nullable=False),
    sa.Column('example_no', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('job_id', 'site', 'head', 'rank', name=op.f('pk_strongest'))
    )
    op.create_table('score_sample',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('sites', sa.SmallInteger(), nullable=False),
    sa.Column('heads', sa.SmallInteger(), nullable=False),
    sa.Column('examples', sa.LargeBinary(), nullable=False),
    sa.Column('scores', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('job_id', name=op.f('pk_score_sample'))
    )
    op.create_table('shard_top',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('shard_no', sa.Integer(), nullable=False),
    sa.Column('examples', sa.LargeBinary(), nullable=False),
    sa.Column('scores', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('job_id', 'shard_no', name=op.f('pk_shard_top'))
    )
    for name, condition in (('failed', 'error IS NOT NULL'), ('truncated', 'truncated')):
        where = sa.text(condition)
        op.create_index(f'ix_example_result_{name}', 'example_result', ['job_id', 'example_no'],
                        sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name in ('failed', 'truncated'):
        op.drop_index(f'ix_example_result_{name}', 'example_result')
    for name in ('shard_top', 'score_sample', 'strongest', 'confusion', 'site_summary'):
        op.drop_table(name)
