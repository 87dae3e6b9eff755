"""Partitions for large jobs (PostgreSQL)

Nothing is copied: the tables become the partition that small jobs share, jobs that are there
stay in it.
"""

from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

TABLES = (
    'head_score', 'site_result', 'edge', 'head_value', 'example_result', 'trigger_outcome'
)


def upgrade() -> None:
    if op.get_bind().dialect.name != 'postgresql':
        return
    op.execute('ALTER TABLE example_result DROP CONSTRAINT fk_example_result_job')
    for name in TABLES:
        op.execute(f'ALTER TABLE {name} RENAME TO {name}_shared')
        op.execute(f'ALTER TABLE {name}_shared RENAME CONSTRAINT pk_{name} TO pk_{name}_shared')
        op.execute(f'ALTER TABLE {name}_shared ADD COLUMN alone boolean NOT NULL DEFAULT false')
        op.execute(
            f'CREATE TABLE {name} (LIKE {name}_shared INCLUDING DEFAULTS) PARTITION BY LIST (alone)'
        )
        op.execute(f'ALTER TABLE {name} ATTACH PARTITION {name}_shared FOR VALUES IN (false)')
        op.execute(
            f'CREATE TABLE {name}_alone PARTITION OF {name} FOR VALUES IN (true) '
            'PARTITION BY LIST (job_id)'
        )


def downgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name != 'postgresql':
        return
    for name in TABLES:
        columns = ', '.join(
            f'"{row[0]}"' for row in bind.exec_driver_sql(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                "AND NOT attisdropped AND attname <> 'alone' ORDER BY attnum", (name,)
            )
        )
        op.execute(f'ALTER TABLE {name} DETACH PARTITION {name}_shared')
        op.execute(f'INSERT INTO {name}_shared ({columns}) SELECT {columns} FROM {name}')
        op.execute(f'DROP TABLE {name}')
        op.execute(f'ALTER TABLE {name}_shared DROP COLUMN alone')
        op.execute(f'ALTER TABLE {name}_shared RENAME CONSTRAINT pk_{name}_shared TO pk_{name}')
        op.execute(f'ALTER TABLE {name}_shared RENAME TO {name}')
    op.execute(
        'ALTER TABLE example_result ADD CONSTRAINT fk_example_result_job '
        'FOREIGN KEY (job_id) REFERENCES job (id) ON DELETE CASCADE'
    )
