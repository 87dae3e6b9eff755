"""PostgreSQL stores arrays as they are: compressing them took a third of a shard's commit"""

from alembic import op

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None

ARRAYS = {
    'ranking_sum': ('total', 'squares', 'weights', 'replicates'),
    'shard_top': ('examples', 'scores'),
    'score_sample': ('examples', 'scores'),
}


def upgrade() -> None:
    _store('EXTERNAL')


def downgrade() -> None:
    _store('EXTENDED')


def _store(how: str) -> None:
    if op.get_bind().dialect.name != 'postgresql':
        return
    for table, columns in ARRAYS.items():
        for column in columns:
            op.execute(f'ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE {how}')
