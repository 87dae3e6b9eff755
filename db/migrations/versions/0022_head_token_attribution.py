"""The attribution that every head reads from each token of an example"""

import sqlalchemy as sa
from alembic import op

revision = '0022'
down_revision = '0021'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'example_result', sa.Column('head_token_attribution', sa.LargeBinary(), nullable=True)
    )
    if op.get_bind().dialect.name == 'postgresql':
        # As other arrays of numbers: to compress them costs more than it saves.
        op.execute(
            'ALTER TABLE example_result ALTER COLUMN head_token_attribution SET STORAGE EXTERNAL'
        )


def downgrade() -> None:
    op.execute('ALTER TABLE example_result DROP COLUMN head_token_attribution')
