"""Random queries: mostly well-formed SELECTs on names that exist, published or not.

The same seed gives the same queries. Names come from the schema, so a new table is tried at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from db.console.postgresql.allowed import AGGREGATES, FUNCTIONS
from db.console.sqlite_process import FUNCTIONS as SQLITE_FUNCTIONS
from db.schema import metadata
from db.views import VIEWS

JOINS = ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "NATURAL JOIN", "NATURAL FULL JOIN")
TABLES = {name: [c.name for c in table.columns] for name, table in metadata.tables.items()}
PUBLISHED = {view.name: [c.name for c in view.columns] for view in VIEWS}
LITERALS = (
    *("0", "1", "-1", "2.5", "1e5", "NULL", "'a'", "''", "'%a%'", "'1970-01-01'", "'[1, 2]'"),
    *("9223372036854775807", "99999999999999999999", "1e400", "'{\"a\": 1}'", "'é∑'", "'sqlite'"),
    *("TRUE", "CURRENT_TIMESTAMP", "'" + "x" * 300 + "'", "1e-12", "0.1234567890123456789"),
)
BINARY = (
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "=",
    "<>",
    "<",
    ">=",
    "AND",
    "OR",
    "LIKE",
    "->",
    "->>",
    "IS",
)
OWN = {
    "sqlite": (
        *("sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_sequence", "dbstat"),
        *("pragma_database_list", "pragma_table_info('job')", "json_each('[1]')", "main.job"),
        *("temp.job", "sqlite_stat1", "fts3tokenize", "bytecode('SELECT 1')"),
    ),
    "postgresql": (
        *("pg_class", "pg_stat_activity", "pg_authid", "information_schema.columns", "public.job"),
        *("pg_show_all_settings()", "pg_lock_status()", "generate_series(1, 9)", "pg_stats"),
        *("ROWS FROM (pg_ls_dir('.'), unnest(ARRAY[1]))", "pg_toast.pg_toast_1262", "pg_proc"),
    ),
}
CALLS = {
    "sqlite": sorted(
        SQLITE_FUNCTIONS - {"->", "->>"}
        | {"load_extension", "printf", "zeroblob", "readfile", "randomblob", "fts3_tokenizer"}
    ),
    "postgresql": sorted(
        FUNCTIONS
        | AGGREGATES
        | {
            "repeat",
            "lpad",
            "string_agg",
            "array_agg",
            "replace",
            "concat",
            "strpos",
            "exp",
            "power",
        }
        | {"pg_sleep", "pg_get_viewdef", "set_config", "query_to_xml", "lo_creat", "row_to_json"}
        | {"pg_read_file", "to_json", "quote_literal", "format", "current_setting", "factorial"}
    ),
}
WHOLE_CALLS = {
    "sqlite": ("load_extension('x')", "printf('%d', 1)", "zeroblob(9)", "sqlite_version()"),
    "postgresql": (
        *(
            "pg_sleep(0)",
            "pg_get_viewdef('jobs'::regclass)",
            "current_setting('port')",
            "version()",
        ),
        *(
            "pg_backend_pid()",
            "lo_creat(-1)",
            "repeat('a', 9)",
            "query_to_xml('SELECT 1', 't', 't', '')",
        ),
        *("(pg_stat_get_activity(NULL)).*", "txid_current()", "exp(2.5)", "inet_server_addr()"),
        *("string_agg('a', ',')", "array_agg(1)", "has_table_privilege('job', 'select')"),
    ),
}
CASTS = ("int", "text", "numeric", "float8", "jsonb", "json", "bytea", "int[]", "regclass", "date")


class Grammar:
    """A source of queries for one dialect."""

    def __init__(self, dialect: str, seed: int) -> None:
        self._dialect = dialect
        self._random = random.Random(seed)
        self._columns: list[str] = []
        self._defined: list[str] = []

    def query(self) -> str:
        """The next query."""
        self._columns, self._defined = [], []
        text = self._select(3)
        if self._chance(0.02):  # damage it
            place = self._random.randrange(len(text))
            text = (
                text[:place]
                + self._pick(("'", '"', ";", ")", "--", "/*", "\\", "é"))
                + text[place:]
            )
        return text

    def _pick(self, choices: object) -> str:
        return str(self._random.choice(list(choices)))  # type: ignore[call-overload]

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _select(self, depth: int) -> str:
        head = ""
        if depth > 1 and self._chance(0.25):
            name = self._pick((*PUBLISHED, *TABLES, "x", "y"))
            recursive = self._chance(0.3)
            self._defined.append(name)
            body = self._simple(depth - 1)
            if recursive:
                body = f"{body} UNION ALL SELECT * FROM {name} LIMIT 20"
            head = f"WITH {'RECURSIVE ' if recursive else ''}{name} AS ({body}) "
        text = head + self._simple(depth)
        if self._chance(0.15):
            text += self._pick(
                (" UNION ALL ", " UNION ", " EXCEPT ", " INTERSECT ")
            ) + self._simple(1)
        if self._chance(0.3):
            text += f" ORDER BY {self._random.randint(1, 2)}"
        return text + (" LIMIT 20" if self._chance(0.7) else "")

    def _simple(self, depth: int) -> str:
        self._columns = []
        sources = self._sources(depth)
        distinct = "DISTINCT " if self._chance(0.1) else ""
        shown = ", ".join(self._target(depth) for _ in range(self._random.randint(1, 3)))
        text = f"SELECT {distinct}{shown} FROM {sources}"
        if self._chance(0.4):
            text += f" WHERE {self._expression(depth)}"
        if self._chance(0.15):
            text += f" GROUP BY {self._column()}"
            if self._chance(0.3):
                text += f" HAVING count(*) > {self._random.randint(0, 1)}"
        return text

    def _target(self, depth: int) -> str:
        if self._chance(0.25):
            return "*"
        text = self._expression(depth)
        return (
            f'{text} AS "{self._pick(("a", "b", ":funcid", "{x}", "job_id"))}"'
            if self._chance(0.2)
            else text
        )

    def _sources(self, depth: int) -> str:
        text = self._source(depth)
        for _ in range(self._random.choice((0, 0, 0, 1, 1, 2))):
            join = self._pick((*JOINS, ",", "CROSS JOIN"))
            right = self._source(depth)
            if join == ",":
                text += f", {right}"
                continue
            text += f" {join} {right}"
            if "NATURAL" not in join and join != "CROSS JOIN":
                using = self._chance(0.5)
                text += f" USING ({self._bare()})" if using else f" ON {self._expression(1)}"
        return text

    def _source(self, depth: int) -> str:
        kind = self._random.random()
        alias = f" {self._pick(('a', 'b', 'jobs', 'q'))}" if self._chance(0.3) else ""
        if kind < 0.68:
            name = self._pick(PUBLISHED)
            self._columns += PUBLISHED[name]
        elif kind < 0.78:
            name = self._pick(TABLES)
            self._columns += TABLES[name]
        elif kind < 0.81:
            name = self._pick(OWN[self._dialect])
        elif kind < 0.85 and self._defined:
            name = self._pick(self._defined)
        elif depth > 1:
            held = self._columns
            inner = self._simple(depth - 1)
            self._columns = held + self._columns
            return f"({inner}) q{self._random.randrange(9)}"
        else:
            column = self._bare()
            return f"(SELECT NULL AS {column}) n{self._random.randrange(9)}"
        return name + alias

    def _bare(self) -> str:
        if self._columns and self._chance(0.97):
            return self._pick(self._columns)
        return self._pick([name for names in TABLES.values() for name in names])

    def _column(self) -> str:
        name = self._bare()
        if self._chance(0.03):
            return f"{self._pick((*PUBLISHED, *TABLES, 'a', 'q1'))}.{name}"
        return f'"{name}"' if self._chance(0.1) else name

    def _expression(self, depth: int) -> str:
        shapes: list[tuple[float, Callable[[], str]]] = [
            (0.35, self._column),
            (0.15, lambda: self._pick(LITERALS)),
            (0.02, lambda: self._pick(WHOLE_CALLS[self._dialect])),
        ]
        if depth > 0:
            shapes += [
                (
                    0.15,
                    lambda: f"({self._operand(depth)} {self._pick(BINARY)} {self._operand(depth)})",
                ),
                (0.15, lambda: self._call(depth)),
                (
                    0.04,
                    lambda: (
                        f"CASE WHEN {self._operand(depth)} THEN 1 ELSE {self._operand(depth)} END"
                    ),
                ),
                (0.05, lambda: f"CAST({self._operand(depth)} AS {self._pick(CASTS)})"),
                (0.03, lambda: f"count(*) OVER (PARTITION BY {self._column()})"),
                (0.03, lambda: f"max({self._column()}) OVER (ORDER BY {self._column()})"),
            ]
        if depth > 1:
            shapes += [
                (0.05, lambda: self._nested(depth, "({})")),
                (0.04, lambda: self._nested(depth, "EXISTS ({})")),
                (0.04, lambda: f"{self._column()} IN {self._nested(depth, '({})')}"),
            ]
        weights = [weight for weight, _ in shapes]
        return self._random.choices(shapes, weights)[0][1]()

    def _operand(self, depth: int) -> str:
        text = self._expression(depth - 1)
        if self._dialect == "postgresql" and self._chance(0.5):  # which would mind the type
            return f"({text})::{self._pick(('text', 'text', 'float8', 'int', 'json'))}"
        return text

    def _nested(self, depth: int, form: str) -> str:
        held = self._columns
        text = form.format(self._simple(depth - 1).replace("SELECT *", f"SELECT {self._bare()}", 1))
        self._columns = held
        return text

    def _call(self, depth: int) -> str:
        count = self._random.choice((0, 1, 1, 1, 2, 2, 3))
        arguments = ", ".join(self._operand(depth) for _ in range(count))
        return f"{self._pick(CALLS[self._dialect])}({arguments})"
