"""Answers of the SQL console: rows, previews and files."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
import threading

import pyarrow.parquet as pq
import pytest

import db.console.console
from db.console.console import Console
from db.database import Database
from db.views import VIEWS
from db.views.kinds import KIND_VIEWS
from jobs.errors import InputError
from jobs.settings import Settings
from tests.db.console.queries import COUNTING

FILLED_ELSEWHERE = {"job_parents", "study_steps", "log_lines", "schedulers"} | {
    view.name for view in KIND_VIEWS
}
"""Not by one attribution job; the tests of other kinds and of studies look at their rows."""


def test_every_published_view(direct: Console, subtests: pytest.Subtests) -> None:
    for view in VIEWS:
        with subtests.test(view.name):
            result = direct.run(f"SELECT * FROM {view.name}")
            assert result.columns == tuple(c.name for c in view.columns)
            assert len(result.rows) >= 1 or view.name in FILLED_ELSEWHERE
            assert direct.run(f"SELECT count(*) FROM {view.name}").rows == [(len(result.rows),)]
            one = [(1,)][: len(result.rows)]
            assert direct.run(f"SELECT 1 FROM {view.name} v LIMIT 1").rows == one


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


def test_ordinary_queries(direct: Console, stocked: Database, subtests: pytest.Subtests) -> None:
    own = SQLITE_ANSWERS if stocked.dialect == "sqlite" else POSTGRESQL_ANSWERS
    for sql, rows in (*ANSWERS, *own):
        with subtests.test(sql):
            result = direct.run(sql)
            assert (result.rows, result.truncated) == (rows, False)


def test_columns_are_there_without_rows_and_may_repeat(console: Console) -> None:
    assert console.run('SELECT 1 AS a, 2 AS a, 3 AS "é"').columns == ("a", "a", "é")
    empty = console.run("SELECT job_id, name FROM jobs WHERE job_id = 99")
    assert (empty.columns, empty.rows) == (("job_id", "name"), [])


def test_nan_travels(console: Console, stocked: Database) -> None:
    if stocked.dialect == "sqlite":
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
    assert b"".join(console.download(counting.format(2500))).count(b"\n") == 2501


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


def test_bytes_are_hexadecimal_digits_everywhere(console: Console, stocked: Database) -> None:
    sql = "SELECT x'00fF' AS a, x'' AS b"
    if stocked.dialect == "postgresql":
        sql = r"SELECT '\x00fF'::bytea AS a, ''::bytea AS b"
    assert console.run(sql).rows == [("00ff", "")]
    assert console.preview(sql).rows == [("00ff", "")]
    assert b"".join(console.download(sql)) == b"a,b\r\n00ff,\r\n"


def long_text(stocked: Database) -> str:
    """An expression that makes a text of any length up to 40,000 characters: `{}` is the length."""
    if stocked.dialect == "postgresql":
        return "repeat('3', {})"
    return f"substr({'hex(' * 13}'abcdef'{')' * 13}, 1, {{}})"


def test_a_preview_cuts_cells_and_counts_all_rows(
    console: Console, stocked: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = long_text(stocked)
    result = console.preview(f"SELECT {long.format(161)}, {long.format(160)}, NULL, 1.5")
    [(first, second, *rest)] = result.rows
    assert isinstance(first, str)
    assert (len(first), first[-1], rest, result.cut_by) == (160, "…", [None, 1.5], None)
    assert isinstance(second, str)
    assert (len(second), second[-1]) == (160, "3")
    assert result.types == ("text", "text", "null", "real")
    monkeypatch.setattr(db.console.console, "PREVIEW_BYTES", 2_000)
    rows = COUNTING.format(" WHERE i < 20") + f"SELECT {long.format(1000)}, i FROM r"
    part = console.preview(rows)
    assert ([row[1] for row in part.rows], part.count) == (list(range(1, 12)), 20)
    assert not part.truncated
    later = console.preview(rows, skip=18)
    assert ([row[1] for row in later.rows], later.count) == ([19, 20], 20)


def test_a_cell_is_shown_whole(console: Console, stocked: Database) -> None:
    long = long_text(stocked)
    sql = COUNTING.format(" WHERE i < 9") + f"SELECT i, {long.format('1000 * i')} AS x FROM r"
    found = console.cell(sql, 3, 1)
    assert [[len(str(value)) for value in row] for row in found.rows] == [[4000]]
    assert (found.columns, found.types[1]) == (("i", "x"), "text")
    descending = console.cell(sql, 3, 0, sort=-1)
    assert descending.rows == [(6,)]
    assert console.cell(sql, 99, 0).rows == []
    with pytest.raises(InputError, match="2 columns"):
        console.cell(sql, 0, 2)


@pytest.mark.parametrize("end", ["", ";", " -- the end", ";\n/* the end */ ;"])
def test_a_result_is_sorted_by_any_column(console: Console, end: str) -> None:
    sql = "SELECT 'b;--' AS x, 2 AS y UNION ALL SELECT 'a', NULL UNION ALL SELECT 'c', 1" + end
    assert [row[0] for row in console.preview(sql, sort=1).rows] == ["a", "b;--", "c"]
    assert [row[0] for row in console.preview(sql, sort=-1).rows] == ["c", "b;--", "a"]
    for sort in (2, -2):
        assert console.preview(sql, sort=sort).rows[-1] == ("a", None)  # null comes last
    with pytest.raises(InputError):
        console.preview(sql, sort=3)


def test_a_query_cannot_leave_the_parentheses_it_is_sorted_in(console: Console) -> None:
    for sql in (
        "SELECT 1) AS x; DELETE FROM job; --",
        "SELECT 1) AS x, (SELECT secret FROM users",
        "SELECT 1; SELECT 2",
    ):
        with pytest.raises(InputError):
            console.preview(sql, sort=1)


TYPED = (
    "SELECT 1 AS n, 1.5 AS x, 'a' AS t, NULL AS void UNION ALL SELECT 2, 3, NULL, NULL",
    ("integer", "real", "text", "null"),
)


def test_columns_have_the_types_of_their_values(console: Console, stocked: Database) -> None:
    sql, types = TYPED
    assert console.run(sql).types == types
    assert console.preview(sql).types == types
    wide = "SELECT 9223372036854775807 AS a, 9223372036854775807 + 1.0 AS b"
    assert console.run(wide).types[0] == "integer"
    if stocked.dialect == "postgresql":
        assert console.run("SELECT 9223372036854775808 AS a, true AS b").types == (
            "text",
            "boolean",
        )
    else:
        assert console.run("SELECT 1 AS a UNION ALL SELECT 'b'").types == ("text",)
        assert console.run("SELECT x'00' AS a").types == ("bytes",)


def test_what_a_page_does_not_show_never_reaches_it(settings: Settings, stocked: Database) -> None:
    long = f"substr({'hex(' * 13}'abcdef'{')' * 13}, 1, 40000)"
    if stocked.dialect == "postgresql":
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
        "written = sum(map(len, console.download(sys.argv[2])))\n"
        "print(shown, written, (most() - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, settings.model_dump_json(), rows],
        capture_output=True,
        check=True,
        text=True,
    )
    shown, written, grown = map(int, done.stdout.split())
    assert shown == (128 << 10) // 163
    assert written > 30_000_000
    assert grown < 40  # MB


# CSV


def test_csv_escapes_formulas_and_keeps_numbers(console: Console) -> None:
    sql = (
        "SELECT '=cmd()' AS \"=head\", '+a' AS b, '-a' AS c, '@a' AS d, '\ta' AS e, '\ra' AS f, "
        "'-5' AS g, '+1.5e3' AS h, -7 AS i, -0.5 AS j, NULL AS k, 'a,\"b' AS l, 'é' AS m, "
        "'-1+1' AS n, '-' AS o"
    )
    data = b"".join(console.download(sql)).decode()
    header, row = csv.reader(io.StringIO(data, newline=""))
    assert header == ["'=head", *"bcdefghijklmno"]
    assert row == [
        "'=cmd()", "'+a", "'-a", "'@a", "'\ta", "'\ra", "-5", "+1.5e3", "-7", "-0.5", "",
        'a,"b', "é", "'-1+1", "'-",
    ]  # fmt: skip
    assert b"'=1+1" in b"".join(console.download("SELECT name FROM jobs"))


def test_csv_has_its_header_without_rows(console: Console) -> None:
    assert b"".join(console.download("SELECT job_id, name FROM jobs WHERE job_id = 9")) == (
        b"job_id,name\r\n"
    )


def test_csv_has_no_row_cap_but_a_byte_cap(settings: Settings) -> None:
    console = Console(settings.model_copy(update={"sql_rows": 1}))
    sql = "SELECT head FROM head_scores"
    whole = b"".join(console.download(sql))
    assert whole.count(b"\r\n") == 9
    assert b"".join(console.download(sql, max_bytes=len(whole))) == whole
    with pytest.raises(InputError, match=f"larger than {len(whole) - 1} bytes"):
        list(console.download(sql, max_bytes=len(whole) - 1))


def test_json_is_an_object_per_row(console: Console) -> None:
    sql = "SELECT 1 AS n, 'é\"' AS t, NULL AS n, 0.5 AS x UNION ALL SELECT 2, '=1', NULL, 1.5"
    rows = json.loads(b"".join(console.download(sql + " ORDER BY 1", "json")))
    assert rows == [
        {"n": 1, "t": 'é"', "n_2": None, "x": 0.5},
        {"n": 2, "t": "=1", "n_2": None, "x": 1.5},
    ]
    empty = json.loads(b"".join(console.download("SELECT 1 AS n WHERE 1 = 0", "json")))
    assert empty == []


def test_json_has_no_numbers_that_json_does_not_have(console: Console, stocked: Database) -> None:
    infinite = "1e999" if stocked.dialect == "sqlite" else "'Infinity'::float8"
    text = b"".join(console.download(f"SELECT {infinite} AS x", "json")).decode()
    assert json.loads(text, parse_constant=pytest.fail) == [{"x": None}]


def test_parquet_has_the_types_of_the_values(console: Console) -> None:
    sql, _ = TYPED
    data = b"".join(console.download(sql, "parquet"))
    table = pq.read_table(io.BytesIO(data))
    assert list(map(str, table.schema.types)) == ["int64", "double", "string", "null"]
    assert table.to_pylist() == [
        {"n": 1, "x": 1.5, "t": "a", "void": None},
        {"n": 2, "x": 3.0, "t": None, "void": None},
    ]


def test_a_long_parquet_file_has_every_row(console: Console) -> None:
    sql = COUNTING.format(" WHERE i < 45000") + "SELECT i, i AS i FROM r"
    data = b"".join(console.download(sql, "parquet"))
    table = pq.read_table(io.BytesIO(data))
    assert table.column_names == ["i", "i_2"]
    assert table["i_2"].to_pylist() == list(range(1, 45_001))


def test_files_can_be_sorted(console: Console) -> None:
    sql = "SELECT 1 AS n UNION ALL SELECT 2"
    assert b"".join(console.download(sql, sort=-1)) == b"n\r\n2\r\n1\r\n"


def test_parquet_without_rows_has_its_columns(console: Console) -> None:
    data = b"".join(console.download("SELECT 1 AS n WHERE 1 = 0", "parquet"))
    assert pq.read_table(io.BytesIO(data)).column_names == ["n"]


def test_a_result_too_large_to_hold_is_refused(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.console.console, "RESULT_BYTES", 100)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        console.run("SELECT * FROM jobs")
