"""Refusals of the SQL console leave nothing behind."""

from __future__ import annotations

import pytest

import db.console.console
from db.console.console import Console
from db.database import Database
from db.schema import metadata
from jobs.errors import InputError, QueryError
from jobs.settings import Settings
from tests.db.console.queries import children, contents, message_of

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
    ("SELECT " + "-(" * 2000 + "1" + ")" * 2000, ""),
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
    direct: Console, stocked: Database, settings: Settings, subtests: pytest.Subtests
) -> None:
    own = SQLITE_ATTACKS if stocked.dialect == "sqlite" else POSTGRESQL_ATTACKS
    before, alive = contents(stocked), children()
    for sql, said in (*COMMON_ATTACKS, *own):
        with subtests.test(sql[:80]):
            message = message_of(direct, sql.replace("{folder}", str(settings.home)))
            assert said in message
            assert "db_" not in message
            assert contents(stocked) == before
            assert children() == alive
    assert direct.run("SELECT 1").rows == [(1,)]


def test_other_statements_are_refused_by_the_console_and_by_the_database(
    direct: Console,
    stocked: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    subtests: pytest.Subtests,
) -> None:
    before = contents(stocked)
    for sql in NOT_A_SELECT:
        with subtests.test(sql):
            assert "is not a SELECT" in message_of(
                direct, sql.replace("{folder}", str(settings.home))
            )
    monkeypatch.setattr(db.console.console, "check", lambda sql: None)
    for sql in NOT_A_SELECT:
        with subtests.test(f"without the first look: {sql}"):
            message_of(direct, sql.replace("{folder}", str(settings.home)))
            assert contents(stocked) == before
    assert direct.run("SELECT 1").rows == [(1,)]


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
    direct: Console, stocked: Database, subtests: pytest.Subtests
) -> None:
    schema = "main" if stocked.dialect == "sqlite" else "public"
    tables = {name: next(iter(table.columns)).name for name, table in metadata.tables.items()}
    tables |= {"users": "id", "tokens": "id"}
    # The whole cross of shapes and tables would take minutes; the shapes take turns.
    shapes = {(shape, "users", "id") for shape in READS}
    shapes |= {(READS[n % 3], *pair) for n, pair in enumerate(sorted(tables.items()))}
    for shape, table, column in sorted(shapes):
        sql = shape.format(table=table, column=column, schema=schema)
        with subtests.test(sql), pytest.raises(InputError, match=table):
            direct.run(sql)


def test_downloads_are_refused_what_queries_are(console: Console, stocked: Database) -> None:
    before = contents(stocked)
    spoof = "WITH jobs AS (SELECT * FROM users) SELECT * FROM jobs"
    for sql in (
        "SELECT 1; SELECT 2",
        "DELETE FROM job",
        spoof,
        "SELECT pg_sleep(9)",
        "SELECT FROM",
    ):
        with pytest.raises(InputError):
            next(console.download(sql))
    assert contents(stocked) == before


def test_a_refused_table_names_the_nearest_view(console: Console) -> None:
    with pytest.raises(InputError, match=r"not published \(given: 'head_score'\).*'head_scores'"):
        console.run("SELECT * FROM head_score")


@pytest.mark.parametrize(
    ("sql", "line", "remedy"),
    [
        ("SELECT layer,\n  meen\nFROM head_importance", 2, "'mean'"),
        ("SELECT 1\nFROM head_score", 2, "'head_scores'"),
        ("SELECT job_id,\n  layer\nFROM jobs", 2, "It is a column of sites, head_scores"),
        ("SELECT layer\nFROM head_scorez", 2, "'head_scores'"),
        ("SELECT h.layer,\n\nh.meen FROM head_importance h", 3, "'mean'"),
        ("SELECT layer\nFRUM head_importance\nWHERE 1 = 1", 2, ""),
    ],
)
def test_an_error_names_its_line(console: Console, sql: str, line: int, remedy: str) -> None:
    for sort in (0, 1):
        with pytest.raises(QueryError) as refused:
            console.preview(sql, sort=sort)
        [problem] = refused.value.problems
        assert refused.value.line == line
        assert f"in line {line}" in problem.message
        assert remedy in problem.remedy


def test_a_query_of_one_line_needs_no_line(console: Console) -> None:
    with pytest.raises(QueryError) as refused:
        console.run("SELECT meen FROM head_importance")
    assert "line" not in str(refused.value)
    assert "Did you mean 'mean'?" in str(refused.value)
