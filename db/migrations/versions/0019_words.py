"""The words of an example's tokens, and the words of its strongest pairs"""

import sqlalchemy as sa
from alembic import op

revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None

COLUMNS = {
    'example_result': ('word_index', 'token_spans'),
    'edge': ('query_word', 'key_word'),
}


def upgrade() -> None:
    # Results from before have none: their tokens are shown as they are.
    for table, columns in COLUMNS.items():
        for column in columns:
            op.add_column(table, sa.Column(column, sa.Text(), nullable=True))


def downgrade() -> None:
    for table, columns in COLUMNS.items():
        for column in columns:
            op.execute(f'ALTER TABLE {table} DROP COLUMN {column}')
