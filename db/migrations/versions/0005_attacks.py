"""Attacks: controls, where triggers come from, rates, the prediction of every text"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('attack_trigger', sa.Column('control_of', sa.Integer(), nullable=True))
    op.create_table('trigger_source',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('trigger_no', sa.Integer(), nullable=False),
    sa.Column('source_no', sa.Integer(), nullable=False),
    sa.Column('origin_job', sa.Integer(), nullable=False),
    sa.Column('origin_example', sa.Integer(), nullable=False),
    sa.Column('score', sa.Double(), nullable=False),
    sa.Column('cells', sa.Text(), nullable=False),
    sa.Column('positions', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('job_id', 'trigger_no', 'source_no', name=op.f('pk_trigger_source'))
    )
    op.create_table('trigger_result',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('trigger_no', sa.Integer(), nullable=False),
    sa.Column('model_no', sa.SmallInteger(), nullable=False),
    sa.Column('gold', sa.SmallInteger(), nullable=False),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.Column('before_correct', sa.BigInteger(), nullable=False),
    sa.Column('after_correct', sa.BigInteger(), nullable=False),
    sa.Column('flipped', sa.BigInteger(), nullable=False),
    sa.Column('after', sa.Text(), nullable=False),
    sa.Column('accuracy_before', sa.Double(), nullable=True),
    sa.Column('accuracy_before_low', sa.Double(), nullable=True),
    sa.Column('accuracy_before_high', sa.Double(), nullable=True),
    sa.Column('accuracy_after', sa.Double(), nullable=True),
    sa.Column('accuracy_after_low', sa.Double(), nullable=True),
    sa.Column('accuracy_after_high', sa.Double(), nullable=True),
    sa.Column('success', sa.Double(), nullable=True),
    sa.Column('success_low', sa.Double(), nullable=True),
    sa.Column('success_high', sa.Double(), nullable=True),
    sa.Column('rank', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint(
        'job_id', 'trigger_no', 'model_no', 'gold', name=op.f('pk_trigger_result')
    )
    )
    op.create_table('trigger_outcome',
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('trigger_no', sa.Integer(), nullable=False),
    sa.Column('model_no', sa.SmallInteger(), nullable=False),
    sa.Column('example_no', sa.Integer(), nullable=False),
    sa.Column('predicted', sa.SmallInteger(), nullable=False),
    sa.Column('probabilities', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint(
        'job_id', 'trigger_no', 'model_no', 'example_no', name=op.f('pk_trigger_outcome')
    ),
    sqlite_with_rowid=False
    )


def downgrade() -> None:
    op.drop_table('trigger_outcome')
    op.drop_table('trigger_result')
    op.drop_table('trigger_source')
    op.execute('ALTER TABLE attack_trigger DROP COLUMN control_of')
