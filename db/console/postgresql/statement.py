"""A query as PostgreSQL understood it, and whether it may run.

With `debug_print_parse` a server sends the tree that it made of a statement, in which every table,
function, operator and type is resolved. So the check needs no grammar of its own, and cannot be
misled by names. It is an allow-list: of nodes, types, functions and operators.

It refuses what the role and the timeouts cannot limit: functions of the catalogue, which every role
may call, and whatever makes long values or runs long without looking at interrupts. Growing values
are made by the functions of `db.console.postgresql.bounded` only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from db.console.child import Refused
from db.console.postgresql.allowed import (
    AGGREGATES,
    ANY_TEXT,
    ARRAYS,
    BOUNDED,
    COMPARISONS,
    FUNCTIONS,
    NODES,
    NUMERIC,
    NUMERIC_FUNCTIONS,
    OPERATORS,
    RECORD,
    RECORD_FUNCTIONS,
    TEXTS,
    TYPES,
    WITHOUT_JSON,
    Type,
)

LONGEST_TREE = 4_000_000
"""Characters of a tree; a query of a few kB has a hundredth of it."""
LINE = 78
"""Width at which PostgreSQL breaks the lines of a tree."""
LONGEST_NUMBER = 100
"""Bytes of a numeric constant."""

_TOKEN = re.compile(r"[{}()]|(?:\\.|[^\s{}()\\])+", re.DOTALL)
_NAMES = frozenset(("aliasname", "ctename", "enrname", "name", "refname", "resname"))
"""Fields whose value is one name, which may look like a field itself."""
_SELECT = "1"
_RELATION, _SUBQUERY, _JOIN, _FUNCTION, _VALUES, _CTE = "0", "1", "2", "3", "5", "6"
_SOURCES = (_RELATION, _SUBQUERY, _JOIN, _FUNCTION, _VALUES, _CTE, "8", "9")
_UNION = "1"
_NEVER = "2"
_ESCAPES = ("like_escape", "similar_to_escape")
_SUBLINKS = ("0", "1", "2", "3", "4")
_EXPRESSION_SUBLINK = "4"


@dataclass
class Node:
    """A node of the tree: its label, and its fields, each a list of values."""

    label: str
    fields: dict[str, list[object]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A field's value that is a word; empty where it is null or absent."""
        values = self.fields.get(name) or [""]
        return values[0] if isinstance(values[0], str) and values[0] != "<>" else ""

    def number(self, name: str) -> int:
        """A field's value that is a number; 0 where it is absent."""
        text = self.text(name)
        return int(text) if text else 0

    def nodes(self, name: str) -> list[Node]:
        """The nodes in a field, directly or in a list."""
        found: list[Node] = []
        for value in self.fields.get(name, ()):
            values = value if isinstance(value, list) else [value]
            found += [one for one in values if isinstance(one, Node)]
        return found

    def numbers(self, name: str) -> list[int]:
        """The numbers in a field's list of OIDs."""
        return [
            int(one)
            for value in self.fields.get(name, ())
            if isinstance(value, list)
            for one in value
            if isinstance(one, str) and one.isdigit()
        ]

    def children(self) -> Iterator[Node]:
        """The nodes directly below."""
        todo: list[object] = [value for values in self.fields.values() for value in values]
        while todo:
            value = todo.pop()
            if isinstance(value, Node):
                yield value
            elif isinstance(value, list):
                todo += value

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        todo = [self]
        while todo:
            node = todo.pop()
            yield node
            todo += node.children()


def parse(dump: str) -> Node:
    """The tree in the text that PostgreSQL printed. Raises Refused when it is too large."""
    if len(dump) > LONGEST_TREE:
        raise Refused("complex")
    lines = dump.split("\n")
    # A line without a space may be a word that was broken in two: a long name of odd characters.
    if any(len(line.encode()) >= LINE and " " not in line for line in lines):
        raise Refused("sql", "a name in it is too long or has too many special characters")
    stack: list[tuple[Node | list[object], list[object]]] = []
    top: list[object] = []
    values = top
    tokens = iter(_TOKEN.findall(" ".join(lines)))
    for token in tokens:
        match token:
            case "{":
                node = Node(next(tokens))
                values.append(node)
                stack.append((node, values))
                values = node.fields.setdefault("", [])
            case "(":
                inner: list[object] = []
                values.append(inner)
                stack.append((inner, values))
                values = inner
            case "}" | ")":
                _, values = stack.pop()
            case _:
                owner = stack[-1][0] if stack else None
                if isinstance(owner, Node) and token[0] == ":" and not _is_name(owner):
                    values = owner.fields.setdefault(token[1:], [])
                else:
                    values.append(token)
    if stack or len(top) != 1 or not isinstance(top[0], Node):
        raise Refused("complex")
    return top[0]


def _is_name(node: Node) -> bool:
    """The next word is the value of the node's last field, whatever it looks like."""
    name = next(reversed(node.fields))
    return name in _NAMES and not node.fields[name]


class Routine(NamedTuple):
    """A function or an operator of the server."""

    schema: str
    name: str
    arguments: tuple[int, ...]
    result: int


@dataclass(frozen=True, kw_only=True)
class References:
    """Functions and operators that a tree refers to, by OID."""

    relations: frozenset[int]
    functions: frozenset[int]
    operators: frozenset[int]


def references(tree: Node) -> References:
    """Collect the objects to look up before the tree can be checked."""
    relations, functions, operators = set(), set(), set()
    for node in tree.walk():
        relations.add(node.number("relid"))
        functions |= {node.number(name) for name in ("funcid", "aggfnoid", "winfnoid")}
        operators |= {node.number("opno"), *node.numbers("opnos")}
    return References(
        relations=frozenset(relations - {0}),
        functions=frozenset(functions - {0}),
        operators=frozenset(operators - {0}),
    )


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The server's description of the objects that a tree refers to."""

    views: frozenset[int]
    relations: Mapping[int, str]
    functions: Mapping[int, Routine]
    operators: Mapping[int, Routine]


class Checker:
    """Walk over a tree and refuse what is not allowed."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def check(self, tree: Node) -> None:
        """Raise Refused unless every part of the statement is allowed."""
        if tree.label != "QUERY":
            raise Refused("statement")
        for node in tree.walk():  # first, since it is the likeliest mistake
            if node.label == "RANGETBLENTRY":
                self._check_source(node)
        self._check(tree, (), variadic=False)

    def _check(self, node: Node, queries: tuple[Node, ...], *, variadic: bool) -> None:
        if node.label not in NODES:
            raise Refused("construct", name=node.label.lower())
        if node.label == "QUERY":
            queries = (*queries, node)
        check = _CHECKS.get(node.label)
        if check is not None:
            check(self, node, queries)
        if node.label in ("ARRAY", "ARRAYEXPR") and not variadic:
            self._check_array(node)
        bounded = node.label == "FUNCEXPR" and self._function(node, "funcid").schema == BOUNDED
        for child in node.children():
            self._check(child, queries, variadic=bounded)

    def _check_source(self, node: Node) -> None:
        kind = node.text("rtekind")
        if kind not in _SOURCES or node.nodes("tablesample"):
            raise Refused("construct", name="such a source of rows")
        if kind == _RELATION and node.number("relid") not in self._catalogue.views:
            raise Refused("table", name=self._catalogue.relations.get(node.number("relid"), ""))

    def _check_query(self, node: Node, _queries: tuple[Node, ...]) -> None:
        if node.text("commandType") != _SELECT or node.text("utilityStmt"):
            raise Refused("statement")
        if node.nodes("rowMarks"):
            raise Refused("statement", name="FOR UPDATE")

    def _check_cte(self, node: Node, _queries: tuple[Node, ...]) -> None:
        if node.text("ctematerialized") == _NEVER:
            raise Refused("construct", name="NOT MATERIALIZED")
        if node.text("cterecursive") != "true":
            return
        for query in node.nodes("ctequery"):
            for union in query.nodes("setOperations"):
                if union.text("op") == _UNION and union.text("all") != "true":
                    raise Refused("union")

    def _check_var(self, node: Node, _queries: tuple[Node, ...]) -> None:
        if node.text("varattno") == "0":
            raise Refused("construct", name="a whole row")
        _check_type(node.number("vartype"))

    def _check_const(self, node: Node, _queries: tuple[Node, ...]) -> None:
        kind = node.number("consttype")
        _check_type(kind)
        if kind == NUMERIC and node.text("constisnull") != "true" and _is_long(node):
            raise Refused("number")

    def _check_function(self, node: Node, queries: tuple[Node, ...]) -> None:
        function = self._function(node, "funcid")
        if function.schema != BOUNDED and function.name not in FUNCTIONS:
            raise Refused("function", name=function.name)
        self._check_call(function, node, queries)

    def _check_aggregate(self, node: Node, queries: tuple[Node, ...]) -> None:
        field_name = "aggfnoid" if node.label == "AGGREF" else "winfnoid"
        function = self._function(node, field_name)
        if function.schema != BOUNDED and function.name not in AGGREGATES:
            raise Refused("function", name=function.name)
        self._check_call(function, node, queries)

    def _check_call(self, function: Routine, node: Node, queries: tuple[Node, ...]) -> None:
        if function.schema not in ("pg_catalog", BOUNDED):
            raise Refused("function", name=function.name)
        types = (*function.arguments, function.result)
        unbounded = function.name not in NUMERIC_FUNCTIONS or Type.JSONB in types
        if function.schema != BOUNDED and NUMERIC in types and unbounded:
            raise Refused("number", name=function.name)
        if RECORD in types and function.name not in RECORD_FUNCTIONS:
            raise Refused("function", name=function.name)
        if self._type(node, queries) != RECORD:
            _check_type(self._type(node, queries))
        if function.name not in ANY_TEXT:
            self._check_texts(function, node, queries)

    def _check_texts(self, function: Routine, node: Node, queries: tuple[Node, ...]) -> None:
        """A pattern, a format or the text searched for is a constant: then its length is known."""
        for argument in node.nodes("args")[1:]:
            if argument.label == "TARGETENTRY":  # of an aggregate
                continue
            if self._type(argument, queries) in TEXTS and not self._is_constant(argument):
                raise Refused("pattern", name=function.name)

    def _check_operator(self, node: Node, queries: tuple[Node, ...]) -> None:
        operator = self._catalogue.operators.get(node.number("opno"))
        if operator is None or operator.schema not in ("pg_catalog", BOUNDED):
            raise Refused("operator", name=operator.name if operator else "")
        if operator.schema == BOUNDED or operator.name in COMPARISONS:
            return
        if operator.name not in OPERATORS:
            raise Refused("operator", name=operator.name)
        if NUMERIC in operator.arguments and operator.name not in ("+", "-", "@"):
            raise Refused("number", name=operator.name)
        if operator.name not in WITHOUT_JSON:
            self._check_texts(operator, node, queries)

    def _check_io(self, node: Node, queries: tuple[Node, ...]) -> None:
        """A cast by way of text."""
        [argument] = node.nodes("arg")
        source, target = self._type(argument, queries), node.number("resulttype")
        _check_type(source)
        _check_type(target)
        if source in TEXTS and target == NUMERIC:
            raise Refused("number")
        if target == Type.JSONB and not self._is_stored(argument, queries):
            raise Refused("jsonb")
        refused = (RECORD, Type.BYTEA, *ARRAYS)
        if source in refused or target in refused:
            raise Refused("construct", name="such a cast")

    def _check_array(self, node: Node) -> None:
        if node.text("multidims") == "true":
            raise Refused("construct", name="an array of arrays")
        of_texts = node.number("element_typeid") in (*TEXTS, Type.JSON, Type.JSONB, NUMERIC)
        if of_texts and not all(map(self._is_constant, node.nodes("elements"))):
            raise Refused("construct", name="an array of texts that are not constants")

    def _check_row(self, node: Node, queries: tuple[Node, ...]) -> None:
        for argument in node.nodes("args"):
            if self._type(argument, queries) in (RECORD, *ARRAYS):
                raise Refused("construct", name="a row of rows")

    def _check_sublink(self, node: Node, _queries: tuple[Node, ...]) -> None:
        if node.text("subLinkType") not in _SUBLINKS:
            raise Refused("construct", name="ARRAY(SELECT ...)")

    def _check_param(self, node: Node, _queries: tuple[Node, ...]) -> None:
        if node.text("paramkind") != "2":  # of a sublink
            raise Refused("sql", "a query takes no parameters")

    def _check_result(self, node: Node, queries: tuple[Node, ...]) -> None:
        _check_type(self._type(node, queries))

    def _is_constant(self, node: Node) -> bool:
        while node.label in ("RELABELTYPE", "NAMEDARGEXPR", "COLLATEEXPR"):
            [node] = node.nodes("arg")
        if node.label == "FUNCEXPR" and self._function(node, "funcid").name in _ESCAPES:
            return all(map(self._is_constant, node.nodes("args")))
        return node.label == "CONST"

    def _function(self, node: Node, name: str) -> Routine:
        function = self._catalogue.functions.get(node.number(name))
        if function is None:
            raise Refused("function")
        return function

    def _type(self, node: Node, queries: tuple[Node, ...]) -> int:
        """The type of an expression."""
        if node.label == "SUBLINK":
            if node.text("subLinkType") != _EXPRESSION_SUBLINK:
                return Type.BOOL
            [query] = node.nodes("subselect")
            return self._type(query.nodes("targetList")[0], (*queries, query))
        if node.label in ("TARGETENTRY", "NAMEDARGEXPR"):
            return self._type(
                node.nodes("expr" if node.label == "TARGETENTRY" else "arg")[0], queries
            )
        if node.label == "COLLATEEXPR":
            return self._type(node.nodes("arg")[0], queries)
        return node.number(_TYPE_FIELDS[node.label]) if node.label in _TYPE_FIELDS else Type.BOOL

    def _is_stored(self, node: Node, queries: tuple[Node, ...]) -> bool:
        """The expression is a constant, or a column of a view with nothing done to it."""
        if self._is_constant(node):
            return True
        level = node.number("varlevelsup")
        if node.label != "VAR" or level >= len(queries):
            return False
        queries = queries[: len(queries) - level]
        source = queries[-1].nodes("rtable")[node.number("varno") - 1]
        place = node.number("varattno") - 1
        match source.text("rtekind"):
            case "0":
                return True
            case "1":
                [query] = source.nodes("subquery")
                target = query.nodes("targetList")[place].nodes("expr")[0]
                return self._is_stored(target, (*queries, query))
            case "2":
                return self._is_stored(source.nodes("joinaliasvars")[place], queries)
            case _:
                return False


_TYPE_FIELDS = {
    "VAR": "vartype",
    "CONST": "consttype",
    "PARAM": "paramtype",
    "AGGREF": "aggtype",
    "WINDOWFUNC": "wintype",
    "FUNCEXPR": "funcresulttype",
    "OPEXPR": "opresulttype",
    "DISTINCTEXPR": "opresulttype",
    "NULLIFEXPR": "opresulttype",
    "RELABELTYPE": "resulttype",
    "COERCEVIAIO": "resulttype",
    "ARRAYCOERCEEXPR": "resulttype",
    "CASE": "casetype",
    "CASEEXPR": "casetype",
    "CASETESTEXPR": "typeId",
    "COALESCE": "coalescetype",
    "COALESCEEXPR": "coalescetype",
    "MINMAX": "minmaxtype",
    "MINMAXEXPR": "minmaxtype",
    "ARRAY": "array_typeid",
    "ARRAYEXPR": "array_typeid",
    "ROW": "row_typeid",
    "ROWEXPR": "row_typeid",
    "SQLVALUEFUNCTION": "type",
    "SUBSCRIPTINGREF": "refrestype",
}
_CHECKS = {
    "QUERY": Checker._check_query,
    "COMMONTABLEEXPR": Checker._check_cte,
    "VAR": Checker._check_var,
    "CONST": Checker._check_const,
    "PARAM": Checker._check_param,
    "FUNCEXPR": Checker._check_function,
    "AGGREF": Checker._check_aggregate,
    "WINDOWFUNC": Checker._check_aggregate,
    "OPEXPR": Checker._check_operator,
    "DISTINCTEXPR": Checker._check_operator,
    "NULLIFEXPR": Checker._check_operator,
    "SCALARARRAYOPEXPR": Checker._check_operator,
    "COERCEVIAIO": Checker._check_io,
    "ROW": Checker._check_row,
    "ROWEXPR": Checker._check_row,
    "SUBLINK": Checker._check_sublink,
    **dict.fromkeys(
        (
            "RELABELTYPE",
            "ARRAYCOERCEEXPR",
            "SQLVALUEFUNCTION",
            "SUBSCRIPTINGREF",
        ),
        Checker._check_result,
    ),
}


def _check_type(oid: int) -> None:
    if oid not in TYPES:
        raise Refused("type", name=str(oid))


def _is_long(node: Node) -> bool:
    """A numeric constant with many digits, or with an exponent that will give it many."""
    size, stored = node.fields["constvalue"][0], node.fields["constvalue"]
    data = [int(str(byte)) & 0xFF for byte in stored[2:-1]]
    # The short form has at most 64 groups of four digits before the point and 63 digits after it;
    # NaN and the infinities look like it.
    return int(str(size)) > LONGEST_NUMBER or not data[5] & 0x80
