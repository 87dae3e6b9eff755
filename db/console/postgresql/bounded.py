"""Functions and operators of the console on PostgreSQL whose results are bounded.

They stand in a schema that the console's role searches before pg_catalog, so a query gets them by
their usual names. PL/pgSQL also looks at interrupts, so that a chain of them ends in time.

Bodies name operators of pg_catalog in full: a bare one would be the bounded one again.
"""

from __future__ import annotations

import hashlib

from db.console.postgresql.allowed import BOUNDED

MAX_TEXT = 100_000
"""Longest text that a function or an operator makes, in bytes."""
MAX_SEARCH = 50_000_000
"""Product of the lengths of a text and a part searched for in it: the steps that this may take."""
MAX_ELEMENTS = 10_000
"""Longest array that an aggregate makes."""
MAX_NUMERIC = 500
"""Bytes of the operands of a numeric product or quotient together: about 2,000 digits."""
TOO_LONG = "54000"
"""SQLSTATE of what is longer: program_limit_exceeded."""

_LIMIT = "RAISE program_limit_exceeded"
_BOUNDED = (
    # name and arguments, result, condition that refuses, value
    (
        "textcat(a text, b text)",
        "text",
        f"octet_length(a) + octet_length(b) > {MAX_TEXT}",
        "a OPERATOR(pg_catalog.||) b",
    ),
    (
        "textanycat(a text, b anynonarray)",
        "text",
        "",
        f"{BOUNDED}.textcat(a, b::text)",
    ),
    (
        "anytextcat(a anynonarray, b text)",
        "text",
        "",
        f"{BOUNDED}.textcat(a::text, b)",
    ),
    (
        "repeat(a text, n integer)",
        "text",
        f"n > 0 AND octet_length(a)::bigint * n > {MAX_TEXT}",
        "pg_catalog.repeat(a, n)",
    ),
    ("lpad(a text, n integer)", "text", f"n > {MAX_TEXT}", "pg_catalog.lpad(a, n)"),
    ("lpad(a text, n integer, f text)", "text", f"n > {MAX_TEXT}", "pg_catalog.lpad(a, n, f)"),
    ("rpad(a text, n integer)", "text", f"n > {MAX_TEXT}", "pg_catalog.rpad(a, n)"),
    ("rpad(a text, n integer, f text)", "text", f"n > {MAX_TEXT}", "pg_catalog.rpad(a, n, f)"),
    (
        "replace(a text, old text, new text)",
        "text",
        "octet_length(new) > octet_length(old) AND octet_length(a)::bigint * octet_length(new) "
        f"> {MAX_TEXT}::bigint * greatest(octet_length(old), 1)",
        "pg_catalog.replace(a, old, new)",
    ),
    (
        "regexp_replace(a text, pattern text, new text)",
        "text",
        f"(octet_length(a) + 1)::bigint * (octet_length(new) + 1) > 10 * {MAX_TEXT}",
        "pg_catalog.regexp_replace(a, pattern, new)",
    ),
    (
        "regexp_replace(a text, pattern text, new text, flags text)",
        "text",
        f"(octet_length(a) + 1)::bigint * (octet_length(new) + 1) > 10 * {MAX_TEXT}",
        "pg_catalog.regexp_replace(a, pattern, new, flags)",
    ),
    (
        "concat(VARIADIC a text[])",
        "text",
        f"pg_column_size(a) > {MAX_TEXT}",
        "array_to_string(a, '')",
    ),
    (
        "concat_ws(separator text, VARIADIC a text[])",
        "text",
        f"pg_column_size(a) + octet_length(separator)::bigint * cardinality(a) > {MAX_TEXT}",
        "array_to_string(a, separator)",
    ),
    *(
        (
            f"numeric_{name}(a numeric, b numeric)",
            "numeric",
            f"pg_column_size(a) + pg_column_size(b) > {MAX_NUMERIC}",
            f"a OPERATOR(pg_catalog.{sign}) b",
        )
        for name, sign in (("mul", "*"), ("div", "/"), ("mod", "%"))
    ),
    *(
        (
            f"{name}(a numeric, b numeric)",
            "numeric",
            f"pg_column_size(a) + pg_column_size(b) > {MAX_NUMERIC}",
            f"pg_catalog.{name}(a, b)",
        )
        for name in ("div", "mod")
    ),
    *(
        (
            f"{name}(a text, part text)",
            "integer",
            f"octet_length(a)::bigint * octet_length(part) > {MAX_SEARCH}",
            "pg_catalog.strpos(a, part)",
        )
        for name in ("position", "strpos")
    ),
)
_IN_DOUBLE_PRECISION = ("exp", "ln", "log", "log10", "sqrt")
_POWERS = ("pow", "power")
_OPERATORS = (
    ("||", "text", "text", "textcat"),
    ("||", "text", "anynonarray", "textanycat"),
    ("||", "anynonarray", "text", "anytextcat"),
    ("*", "numeric", "numeric", "numeric_mul"),
    ("/", "numeric", "numeric", "numeric_div"),
    ("%", "numeric", "numeric", "numeric_mod"),
    ("^", "numeric", "numeric", "power"),
)
_AGGREGATES = (
    f"""CREATE FUNCTION {BOUNDED}.string_agg_step(state text, value text, delimiter text)
    RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN
    IF value IS NULL THEN RETURN state; END IF;
    IF state IS NULL THEN RETURN {BOUNDED}.textcat(value, ''); END IF;
    IF octet_length(state) + octet_length(value) + coalesce(octet_length(delimiter), 0)
        > {MAX_TEXT} THEN {_LIMIT}; END IF;
    RETURN pg_catalog.concat(state, delimiter, value); END $$""",
    f"""CREATE AGGREGATE {BOUNDED}.string_agg(text, text)
    (SFUNC = {BOUNDED}.string_agg_step, STYPE = text)""",
    f"""CREATE FUNCTION {BOUNDED}.array_agg_step(state anyarray, value anynonarray)
    RETURNS anyarray LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN
    IF cardinality(state) >= {MAX_ELEMENTS} OR coalesce(pg_column_size(state), 0)
        + coalesce(pg_column_size(value), 0) > {MAX_TEXT} THEN {_LIMIT}; END IF;
    RETURN array_append(state, value); END $$""",
    f"""CREATE AGGREGATE {BOUNDED}.array_agg(anynonarray)
    (SFUNC = {BOUNDED}.array_agg_step, STYPE = anyarray)""",
)


def statements() -> tuple[str, ...]:
    """The statements that make the schema."""
    return (
        f"DROP SCHEMA IF EXISTS {BOUNDED} CASCADE",
        f"CREATE SCHEMA {BOUNDED}",
        *map(_function, _BOUNDED),
        *(
            f"CREATE FUNCTION {BOUNDED}.{name}(a numeric) RETURNS double precision "
            f"LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS "
            f"$$ SELECT pg_catalog.{name}(a::double precision) $$"
            for name in _IN_DOUBLE_PRECISION
        ),
        f"CREATE FUNCTION {BOUNDED}.log(a numeric, b numeric) RETURNS double precision "
        "LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT "
        "pg_catalog.ln(b::double precision) / pg_catalog.ln(a::double precision) $$",
        *(
            f"CREATE FUNCTION {BOUNDED}.{name}(a numeric, b numeric) RETURNS double precision "
            "LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS "
            "$$ SELECT pg_catalog.power(a::double precision, b::double precision) $$"
            for name in _POWERS
        ),
        *(
            f"CREATE OPERATOR {BOUNDED}.{sign} "
            f"(PROCEDURE = {BOUNDED}.{function}, LEFTARG = {left}, RIGHTARG = {right})"
            for sign, left, right, function in _OPERATORS
        ),
        *_AGGREGATES,
    )


def _function(one: tuple[str, str, str, str]) -> str:
    signature, result, refused, value = one
    # Dates are written as the session's settings say.
    volatility = "STABLE" if "anynonarray" in signature else "IMMUTABLE"
    check = f"IF {refused} THEN {_LIMIT}; END IF; " if refused else ""
    return (
        f"CREATE FUNCTION {BOUNDED}.{signature} RETURNS {result} LANGUAGE plpgsql "
        f"{volatility} STRICT PARALLEL SAFE AS $$ BEGIN {check}RETURN {value}; END $$"
    )


def version() -> str:
    """A hash of the statements; the schema has it as its comment."""
    return hashlib.sha256("\n".join(statements()).encode()).hexdigest()[:32]
