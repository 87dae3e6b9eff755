"""The allowed parts of a console query on PostgreSQL: nodes, types, functions, operators.

A function is here when its result is no longer than its arguments, and when it takes time that is
about linear in them, or looks at interrupts. Those that make long values have a bounded version in
`db.console.postgresql.bounded`, which a query gets by the same name.
"""

from __future__ import annotations

from enum import IntEnum

BOUNDED = "headwise_console"
"""Schema of the bounded functions and operators."""


class Type(IntEnum):
    """OIDs of the types that an expression may have; PostgreSQL never changes them."""

    BOOL = 16
    BYTEA = 17
    INT8 = 20
    INT2 = 21
    INT4 = 23
    TEXT = 25
    JSON = 114
    POINT = 600
    FLOAT4 = 700
    FLOAT8 = 701
    UNKNOWN = 705
    VARCHAR = 1043
    DATE = 1082
    TIME = 1083
    TIMESTAMP = 1114
    TIMESTAMPTZ = 1184
    INTERVAL = 1186
    TIMETZ = 1266
    NUMERIC = 1700
    RECORD = 2249
    UUID = 2950
    JSONB = 3802
    BOOLS = 1000
    INT2S = 1005
    INT4S = 1007
    TEXTS = 1009
    VARCHARS = 1015
    INT8S = 1016
    FLOAT4S = 1021
    FLOAT8S = 1022
    TIMESTAMPS = 1115
    DATES = 1182
    TIMESTAMPTZS = 1185


NUMERIC, RECORD = Type.NUMERIC, Type.RECORD
TYPES = frozenset(Type)
TEXTS = (Type.TEXT, Type.VARCHAR, Type.UNKNOWN)
ARRAYS = tuple(one for one in Type if one.name.endswith("S"))

NODES = frozenset(
    # queries
    "QUERY RANGETBLENTRY RTEPERMISSIONINFO ALIAS FROMEXPR JOINEXPR RANGETBLREF RANGETBLFUNCTION "
    "TARGETENTRY SORTGROUPCLAUSE WINDOWCLAUSE GROUPINGSET GROUPINGFUNC SETOPERATIONSTMT "
    "COMMONTABLEEXPR "
    # expressions, some with the names of PostgreSQL 15 and before
    "VAR CONST PARAM FUNCEXPR OPEXPR DISTINCTEXPR NULLIFEXPR SCALARARRAYOPEXPR BOOLEXPR SUBLINK "
    "AGGREF WINDOWFUNC COERCEVIAIO RELABELTYPE ARRAYCOERCEEXPR COLLATEEXPR NAMEDARGEXPR CASE WHEN "
    "CASEEXPR CASEWHEN CASETESTEXPR COALESCE COALESCEEXPR MINMAX MINMAXEXPR NULLTEST BOOLEANTEST "
    "ARRAY ARRAYEXPR ROW ROWEXPR ROWCOMPARE ROWCOMPAREEXPR SQLVALUEFUNCTION SUBSCRIPTINGREF".split()
)

AGGREGATES = frozenset(
    "avg bit_and bit_or bool_and bool_or corr count covar_pop covar_samp every max min mode "
    "percentile_cont percentile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2 "
    "regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp sum var_pop var_samp "
    "variance cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank "
    "rank row_number".split()
)

FUNCTIONS = frozenset(
    # mathematics
    "abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos "
    "cosd cosh cot cotd degrees exp floor gcd lcm ln log log10 mod pi pow power radians random "
    "round sign sin sind sinh sqrt tan tand tanh trunc width_bucket "
    # text
    "ascii bit_length btrim char_length character_length chr initcap left length like_escape lower "
    "ltrim md5 octet_length regexp_count regexp_instr regexp_like regexp_match "
    "regexp_matches regexp_split_to_array regexp_split_to_table regexp_substr reverse right rtrim "
    "similar_to_escape split_part starts_with string_to_array string_to_table substr "
    "substring to_char translate upper "
    # dates
    "age clock_timestamp date_bin date_part date_trunc extract isfinite justify_days "
    "justify_hours justify_interval make_date make_interval make_time make_timestamp "
    "make_timestamptz now statement_timestamp timezone to_date to_timestamp transaction_timestamp "
    # JSON
    "json_array_elements json_array_elements_text json_array_length json_each "
    "json_each_text json_extract_path json_extract_path_text json_object_keys json_typeof "
    "jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_each jsonb_each_text "
    "jsonb_extract_path jsonb_extract_path_text jsonb_object_keys jsonb_typeof "
    # arrays and rows
    "array_length array_lower array_position array_upper cardinality generate_series "
    "generate_subscripts unnest "
    # casts
    "bool date float4 float8 int2 int4 int8 interval numeric point text time timestamp "
    "timestamptz timetz varchar".split()
)

NUMERIC_FUNCTIONS = frozenset(
    "abs avg ceil ceiling extract float4 float8 floor generate_series int2 int4 int8 max min "
    "numeric round sign stddev stddev_pop stddev_samp sum to_char trunc var_pop var_samp "
    "variance".split()
)
"""Functions that may take or return a numeric; others have a version for double precision."""
RECORD_FUNCTIONS = frozenset("json_each json_each_text jsonb_each jsonb_each_text".split())
"""Functions that return rows of a key and a value."""

COMPARISONS = frozenset(("=", "<>", "<", "<=", ">", ">="))
OPERATORS = frozenset(
    "+ - * / % ^ @ |/ ||/ & | # << >> ~~ !~~ ~~* !~~* ~ !~ ~* !~* "
    "-> ->> #> #>> @> <@ ? ?| ?&".split()
)
"""Operators of PostgreSQL itself, beside the comparisons."""
WITHOUT_JSON = frozenset(("->", "->>", "#>", "#>>", "@>", "<@", "?", "?|", "?&"))
ANY_TEXT = frozenset(
    "date_part date_trunc extract first_value json_extract_path json_extract_path_text "
    "jsonb_extract_path jsonb_extract_path_text lag last_value lead max min nth_value "
    "timezone concat concat_ws lpad position rpad starts_with string_agg strpos textcat".split()
)
"""Functions whose texts need not be constants: they take time linear in the texts' lengths."""
