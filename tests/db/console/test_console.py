"""The SQL console: what it answers, what it refuses, and that refusing leaves nothing behind."""

from __future__ import annotations

import csv
import io
import math
import subprocess
import sys
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, inspect, make_url, select, text

import db.console.console
import db.console.process
from db.console.console import Console
from db.console.role import create_console_role
from db.database import CONSOLE_ROLE, Database
from db.schema import metadata
from db.views import VIEWS
from db.views.kinds import KIND_VIEWS
from jobs.errors import ConflictError, InputError, UnavailableError
from jobs.settings import Settings

PASSWORD = "headwise-console-test"  # one for all: the role belongs to the whole server

ROWS: dict[str, list[dict[str, object]]] = {
    "job": [
        {
            "id": n,
            "kind": "attribution",
            "name": name,
            "spec": '{"limit": 2}',
            "spec_hash": "s",
            "user_name": "ada",
            "priority": 0,
            "queue": "default",
            "state": "succeeded",
            "control": "run",
            "labels": '["no", "yes"]',
            "examples": 2,
            "created_at": 1.5,
        }
        for n, name in ((1, "naïve ∑ 日本"), (2, "=1+1"))
    ],
    "shard": [{"job_id": 1, "shard_no": 0, "lo": 0, "hi": 2, "state": "done", "available_at": 0.0}],
    "attempt": [
        {
            "job_id": 1,
            "shard_no": 0,
            "fence": 1,
            "worker": "w",
            "device": "cpu",
            "versions": "{}",
            "started_at": 2.0,
        }
    ],
    "worker": [
        {
            "name": "w",
            "host": "h",
            "pid": 1,
            "queue": "default",
            "device": "cpu",
            "versions": "{}",
            "state": "idle",
            "started_at": 1.0,
            "seen_at": 2.0,
        }
    ],
    "example": [
        {"job_id": 1, "example_no": n, "source_row": n, "text_hash": "t"} for n in range(3)
    ],
    "example_result": [
        {"job_id": 1, "example_no": n, "fence": 1, "truncated": False} for n in range(2)
    ],
    "site": [
        {"job_id": 1, "site": n, "layer": n, "kind": "encoder", "heads": 2, "name": f"layer.{n}"}
        for n in range(2)
    ],
    "head_score": [
        {
            "job_id": 1,
            "example_no": example,
            "site": site,
            "head": head,
            "score": example + site + head / 2,
            "total": 1.0,
            "query": 0,
            "key": 1,
            "attention_max": 0.5,
            "attention_mean": 0.25,
        }
        for example in range(2)
        for site in range(2)
        for head in range(2)
    ],
    "site_result": [
        {
            "job_id": 1,
            "example_no": 0,
            "site": 0,
            "f0": 0.0,
            "f1": 1.0,
            "residual": 0.0,
            "points": 5,
            "converged": True,
        }
    ],
    "edge": [
        {
            "job_id": 1,
            "example_no": 0,
            "rank": 1,
            "site": 0,
            "head": 0,
            "query": 0,
            "key": 1,
            "attribution": 0.5,
            "attention": 0.5,
        }
    ],
    "importance": [
        {
            "job_id": 1,
            "site": 0,
            "head": 0,
            "rank": 1,
            "n": 2,
            "mean": 0.5,
            "mean_total": 1.0,
            "mean_absolute_total": 1.0,
            "mean_attention_max": 0.5,
            "mean_attention_mean": 0.25,
        }
    ],
}


def settings_of(database: Database, folder: Path, **more: object) -> Settings:
    console_url = ""
    if database.dialect == "postgresql":
        console_url = create_console_role(database.url, PASSWORD)
    given = {"home": folder, "database_url": database.url, "console_url": console_url, **more}
    return Settings.model_validate(given)


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Of a database with a few rows, and with two tables of secrets beside the system's."""
    with database.write() as tx:
        for name, rows in ROWS.items():
            tx.execute(metadata.tables[name].insert(), rows)
        tx.run("CREATE TABLE users (id INTEGER PRIMARY KEY, secret TEXT)")
        tx.run("CREATE TABLE tokens (id INTEGER PRIMARY KEY, secret TEXT)")
        tx.run("INSERT INTO users VALUES (1, 'hunter2')")
        tx.run("INSERT INTO tokens VALUES (1, 'hunter2')")
    return settings_of(database, tmp_path)


@pytest.fixture
def console(settings: Settings) -> Console:
    return Console(settings)


@pytest.fixture
def hurried(settings: Settings) -> Console:
    """A console with half a second per query."""
    return Console(settings.model_copy(update={"sql_seconds": 0.5}))


def children() -> set[str]:
    """Processes this one has started and not buried."""
    found: set[str] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # a thread that has just ended
            found |= set(task.read_text().split())
    return found


def contents(database: Database) -> object:
    """Everything a query could have changed."""
    names = sorted(inspect(database.engine).get_table_names())
    with database.read() as tx:
        rows = {name: sorted(map(str, tx.run(f'SELECT * FROM "{name}"'))) for name in names}
        if database.dialect == "sqlite":
            path = Path(str(database.engine.url.database))
            # The WAL and its index come and go with every connection.
            files = {f.name for f in path.parent.iterdir() if not f.name.startswith(path.name)}
            return rows, files, path.read_bytes()
        left = tx.run(
            "SELECT (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM "
            "pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' "
            "AND d.datname = current_database()), (SELECT count(*) FROM pg_class)"
        )
        return rows, tuple(left.one())


def message_of(console: Console, sql: str) -> str:
    with pytest.raises(InputError) as refused:
        console.run(sql)
    return str(refused.value)


# What it answers

COUNTING = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r{}) "


FILLED_ELSEWHERE = {"job_parents", "study_steps", "log_lines", "schedulers"} | {
    view.name for view in KIND_VIEWS
}
"""Not by one attribution job; the tests of other kinds and of studies look at their rows."""


def test_every_published_view(console: Console, subtests: pytest.Subtests) -> None:
    for view in VIEWS:
        with subtests.test(view.name):
            result = console.run(f"SELECT * FROM {view.name}")
            assert result.columns == tuple(c.name for c in view.columns)
            assert len(result.rows) >= 1 or view.name in FILLED_ELSEWHERE
            assert console.run(f"SELECT count(*) FROM {view.name}").rows == [(len(result.rows),)]
            one = [(1,)][: len(result.rows)]
            assert console.run(f"SELECT 1 FROM {view.name} v LIMIT 1").rows == one


ANSWERS: tuple[tuple[str, list[tuple[object, ...]]], ...] = (
    ("SELECT name FROM jobs ORDER BY job_id LIMIT 1;", [("naïve ∑ 日本",)]),
    ("SELECT 'naïve', NULL, 1, 2.5", [("naïve", None, 1, 2.5)]),
    ("-- a comment\n/* and another */ SELECT 1 -- end", [(1,)]),
    ("VALUES (1, 'a'), (2, 'b')", [(1, "a"), (2, "b")]),
    ("SELECT 1 AS a, 2 AS a", [(1, 2)]),
    ("SELECT * FROM jobs WHERE job_id = 99", []),
    ("SELECT layer, max(score) FROM head_scores GROUP BY layer ORDER BY 1", [(0, 1.5), (1, 2.5)]),
    ("SELECT count(*), sum(head), avg(score) FROM head_scores", [(8, 4, 1.25)]),
    ("SELECT count(*) FROM head_scores h JOIN jobs j ON j.job_id = h.job_id", [(8,)]),
    ("SELECT count(*) FROM sites WHERE EXISTS (SELECT 1 FROM jobs)", [(2,)]),
    ("SELECT (SELECT count(*) FROM jobs), a.n FROM (SELECT count(*) AS n FROM sites) a", [(2, 2)]),
    ("SELECT head FROM sites LEFT JOIN head_importance USING (job_id) LIMIT 1", [(0,)]),
    (
        "SELECT score, rank() OVER (ORDER BY score DESC) FROM head_scores ORDER BY 2 LIMIT 2",
        [(2.5, 1), (2.0, 2)],
    ),
    ("SELECT sum(head) OVER w FROM head_scores WINDOW w AS (ORDER BY job_id) LIMIT 1", [(4,)]),
    ("WITH best AS (SELECT max(score) AS s FROM head_scores) SELECT s FROM best", [(2.5,)]),
    ("WITH job AS (SELECT 7 AS x) SELECT x FROM job", [(7,)]),
    ("WITH jobs AS (SELECT 7 AS x) SELECT count(*) FROM jobs", [(1,)]),
    (
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 4) "
        "SELECT count(*), sum(i) FROM r",
        [(4, 10)],
    ),
    ("SELECT job_id FROM jobs UNION ALL SELECT shard FROM shards ORDER BY 1", [(0,), (1,), (2,)]),
    ("SELECT round(exp(ln(2.0)) * sqrt(4.0) + power(2, 3)), abs(-1)", [(12.0, 1)]),
    ("SELECT upper('a') || lower('B'), substr('abc', 2), coalesce(NULL, 3)", [("Ab", "bc", 3)]),
    ("SELECT CASE WHEN 'abc' LIKE 'a%' THEN 'yes' ELSE 'no' END", [("yes",)]),
    ("SELECT 9223372036854775807", [(2**63 - 1,)]),
)
SQLITE_ANSWERS: tuple[tuple[str, list[tuple[object, ...]]], ...] = (
    ("SELECT json_extract(spec, '$.limit') FROM jobs WHERE job_id = 1", [(2,)]),
    ("SELECT spec ->> 'limit' FROM jobs WHERE job_id = 1", [(2,)]),
    ("SELECT j.value FROM jobs, json_each(labels) j WHERE job_id = 1", [("no",), ("yes",)]),
    ("SELECT count(*) FROM json_tree('[1, [2]]')", [(4,)]),
    ("SELECT converged, truncated FROM completeness JOIN examples USING (example)", [(1, 0)]),
    ("SELECT x'00ff', 1e999, CAST(x'41ff' AS TEXT)", [("00ff", math.inf, "A\ufffd")]),
    ("SELECT strftime('%Y', created_at, 'unixepoch') FROM jobs LIMIT 1", [("1970",)]),
)
POSTGRESQL_ANSWERS: tuple[tuple[str, list[tuple[object, ...]]], ...] = (
    ("TABLE sites LIMIT 0", []),
    ("/* brackets */ ((SELECT 1))", [(1,)]),
    ("SELECT (spec::jsonb ->> 'limit')::int FROM jobs WHERE job_id = 1", [(2,)]),
    ("SELECT jsonb_array_elements_text(labels::jsonb) FROM jobs LIMIT 2", [("no",), ("yes",)]),
    ("SELECT * FROM generate_series(1, 2)", [(1,), (2,)]),
    ("SELECT converged, truncated FROM completeness JOIN examples USING (example)", [(True, 0)]),
    (r"SELECT '\x00ff'::bytea, 'Infinity'::float8, -5::numeric", [("00ff", math.inf, -5)]),
    ("SELECT 1.25::numeric, '[1]'::jsonb, ARRAY[1, NULL]", [(1.25, "[1]", "{1,NULL}")]),
    ("SELECT 'infinity'::timestamp, date '0044-03-15 BC'", [("infinity", "0044-03-15 BC")]),
    ("SELECT (1, 'a'), interval '1 day', point(1, 2)", [("(1,a)", "1 day", "(1,2)")]),
    ("SELECT ('1' || repeat('0', 5))::float8 = 1e5, to_char(1, '9')", [(True, " 1")]),
    (
        "SELECT 'a' || 1 || 2.5, concat('a', 'b'), repeat('x', 3), lpad('a', 2)",
        [("a12.5", "ab", "xxx", " a")],
    ),
    (
        "SELECT 2.5 * 3 / 2 + 1, 7.5 % 2, 2.0 ^ 3, mod(7.5, 2), round(2.567, 2)",
        [(4.75, 1.5, 8.0, 1.5, 2.57)],
    ),
    (
        "SELECT string_agg(layer::text, ',' ORDER BY layer DESC), array_agg(layer) FROM sites",
        [("1,0", "{0,1}")],
    ),
    ("SELECT 100.0 * count(*) / sum(count(*)) OVER () FROM sites GROUP BY kind", [(100,)]),
    (
        "SELECT replace(name, '=', '+'), strpos(name, kind), name LIKE '=%' FROM jobs OFFSET 1",
        [("+1+1", 0, True)],
    ),
    (
        "SELECT labels::json ->> 0, date_trunc('day', to_timestamp(created_at))::date FROM jobs "
        "LIMIT 1",
        [("no", "1970-01-01")],
    ),
    ("SELECT (regexp_match(name, '=([0-9])'))[1], name ~ '^=' FROM jobs OFFSET 1", [("1", True)]),
    (
        "SELECT kind, name FROM (VALUES (1, 'x')) v(kind, name) WHERE (kind, name) IN ((1, 'x'))",
        [(1, "x")],
    ),
    ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY score) FROM head_scores", [(1.25,)]),
    ("SELECT '%s', '100%'", [("%s", "100%")]),
)


def test_ordinary_queries(console: Console, database: Database, subtests: pytest.Subtests) -> None:
    own = SQLITE_ANSWERS if database.dialect == "sqlite" else POSTGRESQL_ANSWERS
    for sql, rows in (*ANSWERS, *own):
        with subtests.test(sql):
            result = console.run(sql)
            assert (result.rows, result.truncated) == (rows, False)


def test_columns_are_there_without_rows_and_may_repeat(console: Console) -> None:
    assert console.run('SELECT 1 AS a, 2 AS a, 3 AS "é"').columns == ("a", "a", "é")
    empty = console.run("SELECT job_id, name FROM jobs WHERE job_id = 99")
    assert (empty.columns, empty.rows) == (("job_id", "name"), [])


def test_nan_travels(console: Console, database: Database) -> None:
    if database.dialect == "sqlite":
        assert console.run("SELECT 1e999 - 1e999").rows == [(None,)]  # SQLite has no NaN
    else:
        [(value,)] = console.run("SELECT 'NaN'::float8").rows
        assert isinstance(value, float)
        assert math.isnan(value)


def test_rows_are_capped(settings: Settings) -> None:
    console = Console(settings.model_copy(update={"sql_rows": 5}))
    sql = "SELECT example, head FROM head_scores"
    capped = console.run(sql)
    assert (len(capped.rows), capped.truncated) == (5, True)
    assert len(console.run(sql, max_rows=3).rows) == 3
    assert len(console.run(sql, max_rows=50).rows) == 5  # never above the settings
    exact = console.run(sql + " LIMIT 5")
    assert (len(exact.rows), exact.truncated) == (5, False)
    with pytest.raises(InputError, match="max_rows"):
        console.run(sql, max_rows=0)


def test_many_rows_in_chunks(settings: Settings) -> None:
    counting = COUNTING.format(" WHERE i < {}") + "SELECT i FROM r"
    console = Console(settings.model_copy(update={"sql_rows": 1000}))
    for n, shown, truncated in ((999, 999, False), (1000, 1000, False), (1001, 1000, True)):
        result = console.run(counting.format(n))
        assert (result.rows[-1], result.truncated) == ((shown,), truncated)
    assert b"".join(console.csv(counting.format(2500))).count(b"\n") == 2501


def test_queries_side_by_side(settings: Settings) -> None:
    found: list[object] = []

    def ask(client: str) -> None:
        found.append(Console(settings, client).run("SELECT 1").rows)

    threads = [
        threading.Thread(target=ask, args=(str(number % 3),))
        for number in range(db.console.console.LIMITS.running + 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[(1,)]] * len(threads)


def test_bytes_are_hexadecimal_digits_everywhere(console: Console, database: Database) -> None:
    sql = "SELECT x'00fF' AS a, x'' AS b"
    if database.dialect == "postgresql":
        sql = r"SELECT '\x00fF'::bytea AS a, ''::bytea AS b"
    assert console.run(sql).rows == [("00ff", "")]
    assert console.preview(sql).rows == [("00ff", "")]
    assert b"".join(console.csv(sql)) == b"a,b\r\n00ff,\r\n"


def test_a_preview_cuts_cells_and_ends_at_its_size(
    console: Console, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = f"substr({'hex(' * 9}'abcdef'{')' * 9}, 1, {{}})"
    if database.dialect == "postgresql":
        long = "repeat('3', {})"
    result = console.preview(f"SELECT {long.format(401)}, {long.format(400)}, NULL, 1.5")
    [(first, second, *rest)] = result.rows
    assert isinstance(first, str)
    assert (len(first), first[-1], rest, result.cut_by) == (400, "…", [None, 1.5], None)
    assert isinstance(second, str)
    assert (len(second), second[-1]) == (400, "3")
    whole = console.run(f"SELECT {long.format(401)}").rows
    assert whole == [("3" * 401,)] or len(str(whole[0][0])) == 401
    monkeypatch.setattr(db.console.console, "PREVIEW_BYTES", 2_000)
    rows = COUNTING.format(" WHERE i < 20") + f"SELECT {long.format(1000)} FROM r"
    cut = console.preview(rows)
    assert (len(cut.rows), cut.cut_by, cut.truncated) == (4, "bytes", True)


def test_what_a_page_does_not_show_never_reaches_it(settings: Settings, database: Database) -> None:
    long = f"substr({'hex(' * 13}'abcdef'{')' * 13}, 1, 40000)"
    if database.dialect == "postgresql":
        long = "repeat(chr(1), 95000)"
    rows = COUNTING.format(" WHERE i < 900") + f"SELECT {long} AS x FROM r"
    script = (
        "import resource, sys\n"
        "from db.console.console import Console\n"
        "from jobs.settings import Settings\n"
        "console = Console(Settings.model_validate_json(sys.argv[1]))\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = most()\n"
        "shown = len(console.preview(sys.argv[2]).rows)\n"
        "written = sum(map(len, console.csv(sys.argv[2])))\n"
        "print(shown, written, (most() - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, settings.model_dump_json(), rows],
        capture_output=True,
        check=True,
        text=True,
    )
    shown, written, grown = map(int, done.stdout.split())
    assert shown == 900
    assert written > 30_000_000
    assert grown < 40  # MB


# CSV


def test_csv_escapes_formulas_and_keeps_numbers(console: Console) -> None:
    sql = (
        "SELECT '=cmd()' AS \"=head\", '+a' AS b, '-a' AS c, '@a' AS d, '\ta' AS e, '\ra' AS f, "
        "'-5' AS g, '+1.5e3' AS h, -7 AS i, -0.5 AS j, NULL AS k, 'a,\"b' AS l, 'é' AS m, "
        "'-1+1' AS n, '-' AS o"
    )
    data = b"".join(console.csv(sql)).decode()
    header, row = csv.reader(io.StringIO(data, newline=""))
    assert header == ["'=head", *"bcdefghijklmno"]
    assert row == [
        "'=cmd()", "'+a", "'-a", "'@a", "'\ta", "'\ra", "-5", "+1.5e3", "-7", "-0.5", "",
        'a,"b', "é", "'-1+1", "'-",
    ]  # fmt: skip
    assert b"'=1+1" in b"".join(console.csv("SELECT name FROM jobs"))


def test_csv_has_its_header_without_rows(console: Console) -> None:
    assert b"".join(console.csv("SELECT job_id, name FROM jobs WHERE job_id = 9")) == (
        b"job_id,name\r\n"
    )


def test_csv_has_no_row_cap_but_a_byte_cap(settings: Settings) -> None:
    console = Console(settings.model_copy(update={"sql_rows": 1}))
    sql = "SELECT head FROM head_scores"
    whole = b"".join(console.csv(sql))
    assert whole.count(b"\r\n") == 9
    assert b"".join(console.csv(sql, max_bytes=len(whole))) == whole
    with pytest.raises(InputError, match=f"larger than {len(whole) - 1} bytes"):
        list(console.csv(sql, max_bytes=len(whole) - 1))


def test_a_result_too_large_to_hold_is_refused(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.console.console, "RESULT_BYTES", 100)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        console.run("SELECT * FROM jobs")


# What it refuses. Each attack must leave the data alone, and the console must answer the next one.

NOT_A_SELECT = (
    "DELETE FROM job",
    "UPDATE job SET name = 'x'",
    "INSERT INTO users VALUES (2, 'x')",
    "DROP VIEW jobs",
    "CREATE TABLE x (a INTEGER)",
    "CREATE TEMP TABLE x (a INTEGER)",
    "CREATE TEMP TABLE x AS SELECT * FROM job",
    "ALTER TABLE job ADD COLUMN x INTEGER",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT a",
    "ANALYZE",
    "REINDEX",
    "VACUUM",
    "ATTACH '{folder}/attack.sqlite' AS a",
    "DETACH main",
    "VACUUM INTO '{folder}/attack.sqlite'",
    "VACUUM main INTO '{folder}/attack.sqlite'",
    "PRAGMA query_only=0",
    "PRAGMA journal_mode=DELETE",
    "PRAGMA writable_schema=1",
    "COPY jobs TO PROGRAM 'touch {folder}/attack'",
    "COPY users TO STDOUT",
    "DO $$ BEGIN PERFORM lo_creat(-1); END $$",
    "SET statement_timeout = 0",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "LOCK TABLE job",
    "NOTIFY a",
    "LISTEN a",
    "PREPARE a AS SELECT 1",
    "CALL x()",
    "CLOSE ALL",
    "x",
)
COMMON_ATTACKS = (
    ("", "is empty"),
    (" ;-- nothing\n/* here", "is empty"),
    ("SELECT 1; DROP TABLE job", "more than one statement"),
    ("SELECT 1; SELECT 2", "more than one statement"),
    ("SELECT 1\0", "not text"),
    ("SELECT '" + "x" * 200_000 + "'", "longer than"),
    ("SELECT 1) AS a, (SELECT 2", "syntax error"),
    ("SELECT FROM WHERE", "syntax error"),
    ("WITH a AS (DELETE FROM users RETURNING secret) SELECT * FROM a", ""),
    ("WITH a AS (SELECT 1) DELETE FROM users", ""),
    ("WITH a AS (SELECT 9) INSERT INTO users SELECT *, 'x' FROM a", ""),
    ("SELECT * INTO x FROM jobs", ""),
    ("SELECT * FROM jbos", "Did you mean 'jobs'?"),
    ("SELECT nothing FROM jobs", "no"),
    ("SELECT control FROM jobs", "control"),
    ("SELECT load_extension('/tmp/x')", "load_extension"),
    ("SELECT lo_import('/etc/passwd')", "lo_import"),
    ("SELECT pg_read_file('/etc/passwd')", "pg_read_file"),
    ("SELECT pg_sleep(60)", "pg_sleep"),
    ("SELECT pg_advisory_lock(1)", "pg_advisory_lock"),
)
SQLITE_ATTACKS = (
    ("SELECT printf('%.*c', 900000000, 'x')", "printf"),
    ("SELECT format('%.*c', 900000000, 'x')", "format"),
    ("SELECT zeroblob(900000000)", "zeroblob"),
    ("SELECT randomblob(900000000)", "randomblob"),
    ("SELECT readfile('/etc/passwd')", "readfile"),
    ("SELECT writefile('{folder}/attack', 'x')", "writefile"),
    ("SELECT fts3_tokenizer('simple')", "fts3_tokenizer"),
    ("SELECT * FROM sqlite_master", "'sqlite_master'"),
    ("SELECT count(*) FROM sqlite_schema", "'sqlite_schema'"),
    ("SELECT * FROM temp.sqlite_master", "'sqlite_master'"),
    ("SELECT * FROM sqlite_temp_schema", "'sqlite_temp_schema'"),
    ("SELECT * FROM sqlite_sequence", "'sqlite_sequence'"),
    ("SELECT * FROM pragma_database_list", ""),
    ("SELECT * FROM pragma_table_info('users')", ""),
    ("SELECT count(*) FROM pragma_function_list", ""),
    ("SELECT * FROM dbstat", ""),
    ("SELECT data FROM sqlite_dbpage", ""),
    ("SELECT * FROM main.jobs", "Write jobs without a schema"),
    ("SELECT ?", "no parameters"),
    ("SELECT " + "(" * 2000 + "1" + ")" * 2000, ""),
    ("SELECT " + "1+" * 2000 + "1", "depth"),
    (" UNION ALL ".join(["SELECT 1"] * 200), "compound"),
    ("SELECT 'a' LIKE '" + "%a" * 2000 + "'", "complex"),
)
POSTGRESQL_ATTACKS = (
    ("SELECT lo_creat(-1)", "'lo_creat'"),
    ("SELECT lo_from_bytea(0, 'x')", "'lo_from_bytea'"),
    ("SELECT lo_export(1, '/tmp/attack')", "'lo_export'"),
    ("SELECT set_config('statement_timeout', '0', false)", "'set_config'"),
    ("SELECT set_config('role', 'postgres', false)", "'set_config'"),
    ("SELECT pg_notify('a', 'b')", "'pg_notify'"),
    ("SELECT pg_try_advisory_xact_lock(1)", "'pg_try_advisory_xact_lock'"),
    ("SELECT database_to_xml(true, true, '')", "'database_to_xml'"),
    ("SELECT query_to_xml('SELECT 1', true, true, '')", "'query_to_xml'"),
    ("SELECT * FROM ts_stat('SELECT to_tsvector(secret) FROM users')", "'ts_stat'"),
    ("SELECT pg_terminate_backend(pg_backend_pid())", "'pg_terminate_backend'"),
    ("SELECT pg_logical_emit_message(false, 'a', 'b')", "'pg_logical_emit_message'"),
    ("SELECT pg_ls_dir('/')", "'pg_ls_dir'"),
    ("SELECT pg_reload_conf()", "'pg_reload_conf'"),
    ("SELECT txid_current()", "'txid_current'"),
    ("SELECT nextval('job_id_seq')", "'nextval'"),
    ("SELECT * FROM jobs FOR UPDATE", "'FOR UPDATE'"),
    ("SELECT * FROM pg_authid", "'pg_authid'"),
    ("SELECT * FROM pg_shadow", "'pg_shadow'"),
    ("SELECT * FROM pg_class", "'pg_class'"),
    ("SELECT count(*) FROM jobs WHERE EXISTS (SELECT 1 FROM pg_proc)", "'pg_proc'"),
    ("SELECT (SELECT relname FROM pg_class LIMIT 1)", "'pg_class'"),
    ("SELECT * FROM pg_stat_activity", "not published"),
    ("SELECT * FROM pg_settings", "'pg_settings'"),
    ("SELECT * FROM pg_stats", "not published"),
    ("SELECT * FROM information_schema.tables", "not published"),
    ("SELECT * FROM pg_largeobject", "'pg_largeobject'"),
    ("SELECT (pg_stat_get_activity(NULL)).*", ""),
    ("SELECT pg_stat_get_activity(NULL)", "'pg_stat_get_activity'"),
    ("SELECT * FROM ROWS FROM (pg_show_all_settings(), pg_lock_status()) x", ""),
    ("SELECT name FROM ROWS FROM (pg_show_all_settings()) x", "'pg_show_all_settings'"),
    ("SELECT pid FROM pg_lock_status()", "'pg_lock_status'"),
    ("SELECT pg_get_viewdef('jobs'::regclass)", "'pg_get_viewdef'"),
    ("SELECT 'jobs'::regclass", "'regclass'"),
    ("SELECT current_user", "'name'"),
    ("SELECT version()", "'version'"),
    ("SELECT j.row_to_json FROM jobs j", "'row_to_json'"),
    ("SELECT j FROM jobs j", "a whole row"),
    ('SELECT U&"\\0070g_sleep"(1)', "'pg_sleep'"),
    ("SELECT pg_catalog.repeat('x', 100)", "'repeat'"),
    ("SELECT 'a' OPERATOR(pg_catalog.||) 'b'", "'||'"),
    ("SELECT 2.5 OPERATOR(pg_catalog.*) 2.5", "double precision"),
    ("SELECT 1e131071 - 1", "double precision"),
    ("SELECT name::numeric FROM jobs", "double precision"),
    ("SELECT '{9e99999}'::numeric[]", "'numeric[]'"),
    ("SELECT factorial(30000)", "'factorial'"),
    ("SELECT format('%1000000s', 1)", "'format'"),
    ("SELECT array_fill(0, ARRAY[100000000])", "'array_fill'"),
    ("SELECT 'a'::char(10000000)", "'bpchar'"),
    ("SELECT (name || '')::jsonb FROM jobs", "Cast it to json"),
    ("SELECT quote_literal(name) FROM jobs", "'quote_literal'"),
    ("SELECT encode(name::bytea, 'hex') FROM jobs", "'encode'"),
    ("SELECT ARRAY[name, name] FROM jobs", "an array of texts"),
    ("SELECT ROW(ROW(1, 2), 3)", "a row of rows"),
    ("SELECT name LIKE kind FROM jobs", "constant"),
    ("SELECT xmlelement(name a)", "'xmlexpr'"),
    ("SELECT ARRAY(SELECT name FROM jobs)", "ARRAY(SELECT ...)"),
    ("WITH a AS NOT MATERIALIZED (SELECT 1) SELECT * FROM a, a b", "NOT MATERIALIZED"),
    ("WITH RECURSIVE r(i) AS (SELECT 1 UNION SELECT i + 1 FROM r) SELECT i FROM r", "UNION ALL"),
    ('SELECT 1 AS "' + "{" * 60 + '"', "special characters"),
    ("SELECT $1", "no parameters"),
    ("SELECT E'\\xff'", ""),
    ("SELECT '\u0001'::int", "invalid input syntax"),
)


def test_attacks_are_refused(
    console: Console, database: Database, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    own = SQLITE_ATTACKS if database.dialect == "sqlite" else POSTGRESQL_ATTACKS
    before, alive = contents(database), children()
    for sql, said in (*COMMON_ATTACKS, *own):
        with subtests.test(sql[:80]):
            message = message_of(console, sql.replace("{folder}", str(tmp_path)))
            assert said in message
            assert "db_" not in message
            assert contents(database) == before
            assert children() == alive
    assert console.run("SELECT 1").rows == [(1,)]


def test_other_statements_are_refused_by_the_console_and_by_the_database(
    console: Console,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    subtests: pytest.Subtests,
) -> None:
    before = contents(database)
    for sql in NOT_A_SELECT:
        with subtests.test(sql):
            assert "is not a SELECT" in message_of(console, sql.replace("{folder}", str(tmp_path)))
    monkeypatch.setattr(db.console.console, "check", lambda sql: None)
    for sql in NOT_A_SELECT:
        with subtests.test(f"without the first look: {sql}"):
            message_of(console, sql.replace("{folder}", str(tmp_path)))
            assert contents(database) == before
    assert console.run("SELECT 1").rows == [(1,)]


READS = (
    "SELECT * FROM {table}",
    "SELECT count(*) FROM {table}",
    "SELECT 1 FROM {table}",
    "SELECT 1 FROM {schema}.{table}",
    "SELECT {column} FROM {table} AS jobs",
    "SELECT {table}.{column} FROM jobs, {table}",
    "SELECT x.{column} FROM (SELECT * FROM {table}) x",
    "SELECT jobs.{column} FROM (SELECT * FROM {table}) AS jobs, jobs x",
    "WITH jobs AS (SELECT * FROM {table}) SELECT {column} FROM jobs",
    "WITH examples AS (SELECT * FROM {table}), jobs AS (SELECT * FROM examples) "
    "SELECT count(*) FROM jobs",
    "WITH RECURSIVE jobs(a) AS (SELECT {column} FROM {table} UNION SELECT a FROM jobs) "
    "SELECT a FROM jobs",
    "SELECT (SELECT max({column}) FROM {table}) FROM jobs",
    "SELECT job_id FROM jobs UNION SELECT {column} FROM {table}",
    "SELECT 1 FROM jobs WHERE EXISTS (SELECT 1 FROM {table})",
    "SELECT 1 FROM jobs WHERE job_id IN (SELECT {column} FROM {table})",
    "SELECT job_id FROM jobs ORDER BY (SELECT {column} FROM {table})",
    "SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM {table})) FROM jobs",
    "SELECT 1 FROM jobs NATURAL JOIN {table}",
)


def test_tables_cannot_be_read(
    console: Console, database: Database, subtests: pytest.Subtests
) -> None:
    schema = "main" if database.dialect == "sqlite" else "public"
    tables = {name: next(iter(table.columns)).name for name, table in metadata.tables.items()}
    tables |= {"users": "id", "tokens": "id"}
    # The whole cross of shapes and tables would take minutes; the shapes take turns.
    shapes = {(shape, "users", "id") for shape in READS}
    shapes |= {(READS[n % 3], *pair) for n, pair in enumerate(sorted(tables.items()))}
    for shape, table, column in sorted(shapes):
        sql = shape.format(table=table, column=column, schema=schema)
        with subtests.test(sql), pytest.raises(InputError, match=table):
            console.run(sql)


def test_downloads_are_refused_what_queries_are(console: Console, database: Database) -> None:
    before = contents(database)
    spoof = "WITH jobs AS (SELECT * FROM users) SELECT * FROM jobs"
    for sql in (
        "SELECT 1; SELECT 2",
        "DELETE FROM job",
        spoof,
        "SELECT pg_sleep(9)",
        "SELECT FROM",
    ):
        with pytest.raises(InputError):
            next(console.csv(sql))
    assert contents(database) == before


def test_a_refused_table_names_the_nearest_view(console: Console) -> None:
    with pytest.raises(InputError, match=r"not published \(given: 'head_score'\).*'head_scores'"):
        console.run("SELECT * FROM head_score")


ENDLESS = {
    "recursion": COUNTING.format("") + "SELECT count(*) FROM r",
    "cross join": COUNTING.format(" WHERE i < 1000000")
    + "SELECT count(*) FROM r a CROSS JOIN r b WHERE a.i + b.i < 0",
}


@pytest.mark.parametrize("attack", ENDLESS)
def test_time_is_limited(hurried: Console, database: Database, attack: str) -> None:
    before, alive = contents(database), children()
    assert "time limit of 0.5 s" in message_of(hurried, ENDLESS[attack])
    with pytest.raises(InputError, match=r"time limit of 0\.5 s"):
        next(hurried.csv(ENDLESS[attack]))
    assert (contents(database), children()) == (before, alive)
    assert hurried.run("SELECT 1").rows == [(1,)]
    if database.dialect == "postgresql":
        with database.read() as tx:
            running = "SELECT count(*) FROM pg_stat_activity WHERE usename = :role AND state = :s "
            asked = {"role": CONSOLE_ROLE, "s": "active"}
            mine = text(running + "AND datname = current_database()")
            assert tx.execute(mine, asked).scalar() == 0


LONG = {
    "sqlite": (
        "WITH RECURSIVE r(s) AS (SELECT 'xxxxxxxxxx' UNION ALL SELECT s || s FROM r) "
        "SELECT max(length(s)) FROM r",
        "SELECT length(group_concat(hex(s))) FROM (WITH RECURSIVE r(n, s) AS (SELECT 1, 'x' UNION "
        "ALL SELECT n + 1, s || s FROM r WHERE n < 23) SELECT s FROM r)",
    ),
    "postgresql": (
        "SELECT repeat('x', 1100000000)",
        "SELECT repeat('x', 40000000)",
        "SELECT string_agg(repeat('x', 1000000), '') FROM generate_series(1, 2000)",
    ),
}


def test_a_long_value_does_not_get_through(console: Console, database: Database) -> None:
    before = contents(database)
    for sql in LONG[database.dialect]:
        with pytest.raises(InputError):
            console.run(sql)
    assert contents(database) == before
    assert console.run("SELECT 1").rows == [(1,)]


def test_memory_is_limited(
    console: Console, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.dialect == "sqlite":
        monkeypatch.setitem(db.console.console.MEMORY, "sqlite", 100 << 20)
        sql = (
            COUNTING.format(" WHERE i < 5000000")
            + "SELECT i, hex(hex(hex(hex(i)))) AS h FROM r ORDER BY h"
        )
    else:
        # A few rows of 90 MB each.
        monkeypatch.setattr(db.console.console, "RESULT_BYTES", 10**9)
        columns = "s, " * 899 + "s"
        sql = f"SELECT {columns} FROM (SELECT repeat('x', 99999) s) q, generate_series(1, 20)"
    with pytest.raises(InputError, match="memory limit"):
        console.run(sql)
    assert console.run("SELECT 1").rows == [(1,)]


def test_the_child_sees_no_settings(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWISE_DATABASE_URL", "postgresql://u:password@h/d")
    assert "HEADWISE_DATABASE_URL" not in db.console.process._environment()
    assert console.run("SELECT 1").rows == [(1,)]


# SQLite: the write-ahead log


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_beside_a_writer(settings: Settings, database: Database) -> None:
    console = Console(settings)
    count = "SELECT count(*) FROM jobs"
    with database.write() as tx:
        tx.execute(metadata.tables["job"].insert(), [{**ROWS["job"][0], "id": 3, "name": "new"}])
        assert console.run(count).rows == [(2,)]
    assert console.run(count).rows == [(3,)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_after_a_writer_died(settings: Settings, database: Database) -> None:
    path = Path(str(make_url(settings.database).database))
    writer = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "c.execute('PRAGMA journal_mode=WAL'); "
        "c.execute('UPDATE job SET name = ?', ['written']); c.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", writer, str(path)], check=True)
    log = path.with_name(path.name + "-wal")
    main, written = path.read_bytes(), log.read_bytes()
    assert written
    assert Console(settings).run("SELECT DISTINCT name FROM jobs").rows == [("written",)]
    assert (path.read_bytes(), log.read_bytes()) == (main, written)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_long_write_ahead_log_is_emptied_between_queries(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Path(f"{make_url(settings.database).database}-wal")
    console = Console(settings)
    console.run("SELECT 1")
    assert log.stat().st_size > 0  # of the rows of this test
    monkeypatch.setattr(db.console.console, "LONG_LOG", 0)
    assert console.run("SELECT count(*) FROM jobs").rows == [(2,)]
    assert log.stat().st_size == 0
    with database.write() as tx:  # a writer that is busy is not waited for longer than needed
        tx.connection.exec_driver_sql("DELETE FROM users")
        assert console.run("SELECT count(*) FROM jobs").rows == [(2,)]


def test_a_folder_with_odd_characters(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a b#c%20é'}/headwise.sqlite"
    Database(url).migrate()
    console = Console(Settings(home=tmp_path, database_url=url))
    assert console.run("SELECT count(*) FROM jobs").rows == [(0,)]


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no database at"):
        Console(Settings(home=tmp_path)).run("SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_no_database_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "headwise.sqlite").write_text("this is no database " * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        Console(Settings(home=tmp_path)).run("SELECT 1")


# PostgreSQL: the role


def test_postgresql_needs_a_role(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://h/d")
    with pytest.raises(UnavailableError, match="--create-console-role"):
        Console(settings).run("SELECT 1")


def test_postgresql_that_does_not_answer(tmp_path: Path) -> None:
    url = "postgresql://headwise_console:secret@127.0.0.1:1/d"
    settings = Settings(home=tmp_path, database_url=url, console_url=url)
    with pytest.raises(UnavailableError, match="does not answer") as refused:
        Console(settings).run("SELECT 1")
    assert "secret" not in str(refused.value)


@pytest.mark.services
def test_the_role_of_an_administrator_is_refused(postgres_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=postgres_url, console_url=postgres_url)
    with pytest.raises(UnavailableError, match="more than the views"):
        Console(settings).run("SELECT 1")


@pytest.mark.services
def test_a_role_of_another_release_is_refused(postgres_url: str, tmp_path: Path) -> None:
    database = Database(postgres_url)
    database.migrate()
    console = Console(settings_of(database, tmp_path))
    assert console.run("SELECT 1").rows == [(1,)]
    with database.write() as tx:
        tx.connection.exec_driver_sql("COMMENT ON SCHEMA headwise_console IS 'older'")
    database.close()
    with pytest.raises(UnavailableError, match=r"another release.*--create-console-role"):
        console.run("SELECT 1")


@pytest.mark.services
def test_the_role_is_made_and_made_again(empty_postgres_url: str) -> None:
    with pytest.raises(ConflictError, match="no current schema"):
        create_console_role(empty_postgres_url, PASSWORD)
    database = Database(empty_postgres_url)
    database.migrate()
    urls = {create_console_role(empty_postgres_url, PASSWORD) for _ in range(2)}
    [url] = [make_url(url) for url in urls]
    assert (url.username, url.password) == (CONSOLE_ROLE, PASSWORD)
    with psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as console:
        shown = {
            name: console.execute(f"SHOW {name}").fetchone()[0]  # type: ignore[index]
            for name in (
                "default_transaction_read_only",
                "lock_timeout",
                "log_min_messages",
                "search_path",
                "temp_file_limit",
            )
        }
        assert shown == {
            "default_transaction_read_only": "on",
            "lock_timeout": "2s",
            "log_min_messages": "fatal",
            "search_path": "headwise_console, pg_catalog, public, pg_temp",
            "temp_file_limit": "1GB",
        }
        row = console.execute(
            "SELECT rolsuper, rolinherit, rolcreatedb, rolcreaterole, rolreplication, "
            "rolconnlimit FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, False, False, False, False, 8)
        console.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            console.execute("SELECT lo_creat(-1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            console.execute("INSERT INTO sites VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            console.execute("SELECT * FROM job")
    database.close()


@pytest.mark.services
def test_an_owner_without_superpowers_still_migrates(empty_postgres_url: str) -> None:
    name = f"headwise_owner_{uuid.uuid4().hex[:12]}"
    owner = make_url(empty_postgres_url).set(username=name)
    admin = create_engine(empty_postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        try:
            connection.execute(text(f"GRANT CREATE ON SCHEMA public TO {name}"))
            database = Database(owner.render_as_string(hide_password=False))
            database.migrate()
            create_console_role(empty_postgres_url, PASSWORD)
            with database.write() as mine:
                mine.execute(select(text("pg_advisory_xact_lock(1)")))
            with pytest.raises(InputError, match="database_url"):  # may not make roles
                create_console_role(owner.render_as_string(hide_password=False), PASSWORD)
            database.close()
        finally:
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))
    admin.dispose()


def test_a_role_needs_postgresql_and_a_password() -> None:
    with pytest.raises(InputError, match="only PostgreSQL"):
        create_console_role("sqlite:///x.sqlite", PASSWORD)
    with pytest.raises(InputError, match="must not be empty"):
        create_console_role("postgresql://h/d", "")
