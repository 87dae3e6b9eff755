"""Recipients of notifications, and what they are told"""

import sqlalchemy as sa
from alembic import op

revision = '0023'
down_revision = '0022'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'recipient',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('user_name', sa.Text(), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('address', sa.Text(), nullable=False),
        sa.Column('shown', sa.Text(), nullable=False),
        sa.Column('service', sa.Text(), nullable=False),
        sa.Column('secret', sa.Text(), nullable=True),
        sa.Column('jobs', sa.Text(), nullable=False),
        sa.Column('conditions', sa.Boolean(), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_recipient')),
        sa.UniqueConstraint('user_name', 'name', name=op.f('uq_recipient_name')),
        sqlite_autoincrement=True,
    )
    op.create_table(
        'job_recipient',
        sa.Column('job_id', sa.Integer(), nullable=False),
        sa.Column('recipient_id', sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ['job_id'], ['job.id'], name=op.f('fk_job_recipient_job'), ondelete='CASCADE'
        ),
        sa.ForeignKeyConstraint(
            ['recipient_id'],
            ['recipient.id'],
            name=op.f('fk_job_recipient_recipient'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('job_id', 'recipient_id', name=op.f('pk_job_recipient')),
    )
    op.create_index('ix_job_recipient_recipient', 'job_recipient', ['recipient_id'])
    op.create_table(
        'notification',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('recipient_id', sa.Integer(), nullable=False),
        sa.Column('event', sa.Text(), nullable=False),
        sa.Column('message', sa.Text(), nullable=True),
        sa.Column('state', sa.Text(), nullable=False),
        sa.Column('tries', sa.Integer(), nullable=False),
        sa.Column('due_at', sa.Double(), nullable=False),
        sa.Column('error', sa.Text(), nullable=True),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('ended_at', sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ['recipient_id'],
            ['recipient.id'],
            name=op.f('fk_notification_recipient'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_notification')),
        sa.UniqueConstraint('recipient_id', 'event', name=op.f('uq_notification_event')),
        sqlite_autoincrement=True,
    )
    op.create_index('ix_notification_due', 'notification', ['state', 'due_at'])
    op.create_index('ix_job_finished_at', 'job', ['finished_at'])


def downgrade() -> None:
    op.drop_index('ix_job_finished_at', table_name='job')
    for table in ('notification', 'job_recipient', 'recipient'):
        op.drop_table(table)
