"""The savings of one array per example instead of rows, behind a view of the same columns.

The head scores of an existing job are gathered into one row per example, with an array per
column, and read back through a view. PostgreSQL only: SQLite has no arrays that SQL could unpack.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from benchmarks.store import HEADS
from db.database import Database

NUMBERS = {
    "score": "real",
    "total": "real",
    "query": "smallint",
    "key": "smallint",
    "attention_max": "real",
    "attention_mean": "real",
}

FILL = """
INSERT INTO score_array SELECT job_id, example_no, {gathered}
FROM head_score WHERE job_id = :job GROUP BY job_id, example_no
"""
VIEW = f"""
CREATE VIEW array_score AS
SELECT a.job_id, a.example_no, (u.place - 1) / {HEADS} AS site, (u.place - 1) % {HEADS} AS head,
    {{selected}}
FROM score_array a
CROSS JOIN LATERAL unnest({{arrays}}) WITH ORDINALITY AS u({{columns}}, place)
"""
"""A real one would take each site's number of heads from the table of sites."""

QUESTIONS = {
    "all heads of one example": "SELECT * FROM {table} WHERE job_id = :job AND example_no = :n",
    "mean of one head over all examples": "SELECT AVG(score) FROM {table} "
    "WHERE job_id = :job AND site = 6 AND head = 7",
    "mean of every head": "SELECT site, head, AVG(score) FROM {table} "
    "WHERE job_id = :job GROUP BY site, head",
    "ten strongest examples of one head": "SELECT example_no, score FROM {table} "
    "WHERE job_id = :job AND site = 6 AND head = 7 ORDER BY score DESC LIMIT 10",
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Rows or arrays: bytes with indices per score, and milliseconds by question."""

    name: str
    scores: int
    table_bytes: int
    index_bytes: int
    milliseconds: dict[str, float]


def run(database: Database, job_id: int, examples: int) -> list[Variant]:
    """Measure both, and remove the arrays again."""
    gathered = ", ".join(f'array_agg("{name}" ORDER BY site, head)' for name in NUMBERS)
    columns = ", ".join(f'"{name}"' for name in NUMBERS)
    selected = ", ".join(f'u."{name}"' for name in NUMBERS)
    arrays = ", ".join(f'a."{name}"' for name in NUMBERS)
    typed = ", ".join(f'"{name}" {kind}[] NOT NULL' for name, kind in NUMBERS.items())
    try:
        with database.write() as tx:
            tx.run(
                f"CREATE TABLE score_array (job_id integer, example_no integer, {typed}, "
                "PRIMARY KEY (job_id, example_no))"
            )
            tx.run(FILL.format(gathered=gathered), job=job_id)
            tx.run(VIEW.format(selected=selected, columns=columns, arrays=arrays))
        analyze(database)
        return [
            _measured(database, "rows", "head_score", "head_score", job_id, examples),
            _measured(database, "arrays", "score_array", "array_score", job_id, examples),
        ]
    finally:
        with database.write() as tx:
            tx.run("DROP VIEW IF EXISTS array_score")
            tx.run("DROP TABLE IF EXISTS score_array")


def analyze(database: Database) -> None:
    """Do the work of autovacuum after a load: update the statistics and the visibility map."""
    with database.engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("VACUUM ANALYZE")


def table_bytes(database: Database, table: str) -> tuple[int, int]:
    """Bytes of a table, partitions included, without and of its indices."""
    query = (
        "SELECT SUM(pg_table_size(relid)), SUM(pg_indexes_size(relid)) "
        "FROM (SELECT CAST(CAST(:name AS text) AS regclass) AS relid UNION "
        "SELECT relid FROM pg_partition_tree(CAST(:name AS text))) parts"
    )
    with database.read() as tx:
        row = tx.run(query, name=table).one()
    return int(row[0]), int(row[1])


def _measured(
    database: Database, name: str, table: str, source: str, job_id: int, examples: int
) -> Variant:
    own, indices = table_bytes(database, table)
    taken = {}
    with database.read() as tx:
        count = f"SELECT COUNT(*) FROM {source} WHERE job_id = :job"
        scores = int(tx.run(count, job=job_id).scalar_one())
        for question, query in QUESTIONS.items():
            seconds = []
            for repeat in range(5):
                started = time.perf_counter()
                values = {"job": job_id, "n": (repeat * 37 + 11) % examples}
                used = values if ":n" in query else {"job": job_id}
                tx.run(query.format(table=source), **used).all()
                seconds.append(time.perf_counter() - started)
            taken[question] = 1000 * median(seconds)
    return Variant(
        name=name, scores=scores, table_bytes=own, index_bytes=indices, milliseconds=taken
    )
