"""Accounts, sessions, tokens and the audit log; names of users without regard to capitals"""

import sqlalchemy as sa
from alembic import op

from jobs.people import LOCAL, fold

revision = '0027'
down_revision = '0026'
branch_labels = None
depends_on = None

TABLES = (
    *('audit', 'failed_sign_in', 'link', 'token', 'session', 'identity', 'account'),
)


def upgrade() -> None:
    op.create_table(
        'account',
        sa.Column('id', sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('folded', sa.Text(), nullable=False),
        sa.Column('role', sa.Text(), nullable=False),
        sa.Column('password', sa.Text()),
        sa.Column('disabled', sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('signed_in_at', sa.Double()),
        sa.UniqueConstraint('folded', name='uq_account_folded'),
        sqlite_autoincrement=True,
    )
    op.create_table(
        'identity',
        sa.Column('issuer', sa.Text(), nullable=False),
        sa.Column('subject', sa.Text(), nullable=False),
        sa.Column('account_id', sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint('issuer', 'subject', name='pk_identity'),
        sa.ForeignKeyConstraint(
            ['account_id'], ['account.id'], ondelete='CASCADE', name='fk_identity_account'
        ),
    )
    op.create_table(
        'session',
        sa.Column('id', sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column('hash', sa.Text(), nullable=False),
        sa.Column('account_id', sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ('way', 'address', 'agent')),
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in ('created_at', 'seen_at', 'expires_at')
        ),
        sa.UniqueConstraint('hash', name='uq_session_hash'),
        sa.ForeignKeyConstraint(
            ['account_id'], ['account.id'], ondelete='CASCADE', name='fk_session_account'
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        'token',
        sa.Column('id', sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column('hash', sa.Text(), nullable=False),
        sa.Column('prefix', sa.Text(), nullable=False),
        sa.Column('account_id', sa.Integer(), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('scope', sa.Text(), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('expires_at', sa.Double()),
        sa.Column('used_at', sa.Double()),
        sa.UniqueConstraint('hash', name='uq_token_hash'),
        sa.ForeignKeyConstraint(
            ['account_id'], ['account.id'], ondelete='CASCADE', name='fk_token_account'
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        'link',
        sa.Column('hash', sa.Text(), nullable=False),
        sa.Column('account_id', sa.Integer(), nullable=False),
        sa.Column('expires_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('hash', name='pk_link'),
        sa.ForeignKeyConstraint(
            ['account_id'], ['account.id'], ondelete='CASCADE', name='fk_link_account'
        ),
    )
    for table in ('identity', 'session', 'token', 'link'):
        op.create_index(f'ix_{table}_account_id', table, ['account_id'])
    op.create_table(
        'failed_sign_in',
        sa.Column('key', sa.Text(), nullable=False),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('since', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('key', name='pk_failed_sign_in'),
    )
    op.create_table(
        'audit',
        sa.Column('id', sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column('at', sa.Double(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ('user_name', 'address', 'action', 'object', 'detail')
        ),
        sqlite_autoincrement=True,
    )
    op.create_index('ix_audit_at', 'audit', ['at'])
    _add_local()
    _fold_names()


def _add_local() -> None:
    """Give what an earlier release computed without sign-in to an account that may take it over."""
    clock = {
        'postgresql': 'extract(epoch FROM clock_timestamp())::double precision',
        'sqlite': "((julianday('now') - 2440587.5) * 86400.0)",
    }[op.get_bind().dialect.name]
    op.execute(
        'INSERT INTO account (name, folded, role, created_at) '
        f"SELECT '{LOCAL}', '{LOCAL}', 'admin', {clock} WHERE EXISTS (SELECT 1 FROM job)"
    )


def _fold_names() -> None:
    """Write names as they are compared from now on."""
    bind = op.get_bind()
    for table in ('job', 'study', 'recurring', 'usage'):
        names = bind.execute(sa.text(f'SELECT DISTINCT user_name FROM {table}')).scalars().all()
        for name in names:
            if name == (folded := fold(name) or LOCAL):
                continue
            given = {'old': name, 'new': folded}
            if table == 'usage':  # of the last hours only: it is measured anew
                bind.execute(sa.text('DELETE FROM usage WHERE user_name = :old'), given)
                continue
            if table == 'job':  # the key stays with one of the jobs that have it now
                bind.execute(
                    sa.text(
                        'UPDATE job SET idempotency_key = NULL WHERE user_name = :old '
                        'AND idempotency_key IN '
                        '(SELECT idempotency_key FROM job WHERE user_name = :new)'
                    ),
                    given,
                )
            bind.execute(
                sa.text(f'UPDATE {table} SET user_name = :new WHERE user_name = :old'), given
            )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
