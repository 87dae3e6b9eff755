"""Indexes by which the list of jobs filters and sorts"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = '0032'
down_revision = '0031'
branch_labels = None
depends_on = None

COLUMNS: dict[str, tuple[Any, Any]] = {
    'quick': (sa.Boolean(), sa.false()),
    'place': (sa.Integer(), None),
    'model_name': (sa.Text(), ''),
    'data_name': (sa.Text(), ''),
    'characters': (sa.Double(), None),
}
LIST = (
    *('state', 'control', 'quick', 'kind', 'user_name', 'model_name', 'data_name', 'name'),
    *('examples', 'started_at', 'finished_at', 'compute_seconds', 'place', 'id'),
)
PLACES = """
UPDATE job SET place = (SELECT MAX(o.job_id) FROM study_step o WHERE o.study_id = (
    SELECT MIN(m.study_id) FROM study_step m WHERE m.job_id = job.id))
WHERE id IN (SELECT job_id FROM study_step)
"""


def upgrade() -> None:
    for name, (kind, default) in COLUMNS.items():
        column = sa.Column(name, kind, nullable=default is None, server_default=default)
        op.add_column('job', column)
    name_models_and_data(op.get_bind())
    op.execute(PLACES)
    op.create_index('ix_job_shape', 'job', ['kind', 'layers', 'heads', 'id'])
    op.create_index('ix_job_place', 'job', [sa.text('COALESCE(place, id)'), 'id', 'quick', 'state'])
    op.create_index('ix_job_list', 'job', list(LIST))


def name_models_and_data(connection: sa.Connection) -> None:
    rows = connection.execute(sa.text('SELECT id, kind, examples, spec FROM job')).all()
    found = []
    for number, kind, examples, text in rows:
        spec = json.loads(text)
        data = spec.get('data') or {}
        inline = bool(data.get('inline'))
        asks = kind == 'attribution' or bool(spec.get('given'))
        source = data.get('path') or data.get('dataset') or ''
        found.append(
            {
                'id': number,
                'quick': inline and examples == 1 and asks,
                'model': last((spec.get('model') or {}).get('name') or ''),
                'data': 'own texts' if inline else last(source),
            }
        )
    if found:
        named = 'quick = :quick, model_name = :model, data_name = :data'
        connection.execute(sa.text(f'UPDATE job SET {named} WHERE id = :id'), found)


def last(path: str) -> str:
    return (path.rstrip('/').rsplit('/', 1)[-1] or path)[:100]


def downgrade() -> None:
    op.drop_index('ix_job_list', 'job')
    op.drop_index('ix_job_place', 'job')
    op.drop_index('ix_job_shape', 'job')
    for name in COLUMNS:
        op.execute(f'ALTER TABLE job DROP COLUMN {name}')
