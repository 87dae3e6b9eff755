"""Small changes of a source file, each of which some test should notice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A source file in which one piece of text is replaced."""

    path: str
    start: int
    end: int
    replacement: str

    @property
    def source(self) -> str:
        """The file without the change."""
        return (ROOT / self.path).read_text(encoding="utf-8")

    @property
    def mutated(self) -> str:
        """The file with the change."""
        source = self.source
        return source[: self.start] + self.replacement + source[self.end :]

    def __str__(self) -> str:
        source = self.source
        line = source.count("\n", 0, self.start) + 1
        first, last = source.rfind("\n", 0, self.start) + 1, source.find("\n", self.end)
        before, after = source[first : self.start], source[self.end : last]
        old = source[self.start : self.end]
        return f"{self.path}:{line}: {before.lstrip()}[{old} -> {self.replacement}]{after}"


def mutants(path: str) -> list[Mutant]:
    """Every small change of a file: of its code, and of the SQL in its strings."""
    source = (ROOT / path).read_text(encoding="utf-8")
    found = {
        Mutant(path=path, start=start, end=end, replacement=new)
        for start, end, new in edits(source)
    }
    return sorted(found, key=lambda mutant: (mutant.start, mutant.end, mutant.replacement))


Edit = tuple[int, int, str]
"""Start and end of the replaced text, and what replaces it."""


def edits(source: str) -> Iterator[Edit]:
    """The small changes of a source text."""
    tree = ast.parse(source)
    text = _Text(source)
    skipped = set(_not_code(tree))
    for node in _walk(tree, skipped):
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            yield from _sql_edits(*text.span(node), source)
        else:
            yield from _code_edits(node, text)


# Code.

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Pow: ("**", "*"),
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


class _Text:
    """Offsets of syntax nodes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        """Offset of a place whose column is counted in bytes."""
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Start and end of a node."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.offset(node.lineno, node.col_offset)
        return start, self.offset(node.end_lineno, node.end_col_offset)

    def between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Iterator[Edit]:
        """Replace the operator between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        if found := re.search(re.escape(old), self.source[start:end]):
            yield start + found.start(), start + found.end(), new


def _walk(node: ast.AST, skipped: set[ast.AST]) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield child
            # The parts of an f-string have no places of their own.
            if not isinstance(child, ast.JoinedStr):
                yield from _walk(child, skipped)


def _not_code(tree: ast.AST) -> Iterator[ast.AST]:
    """Docstrings, annotations, decorators and imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom():
                yield node
            case ast.AnnAssign(annotation=annotation):
                yield annotation
            case ast.arg(annotation=ast.expr() as annotation):
                yield annotation
            case ast.FunctionDef(decorator_list=decorators, returns=annotation):
                yield from decorators
                if annotation is not None:
                    yield annotation
            case ast.ClassDef(decorator_list=decorators):
                yield from decorators
            case _:
                pass


def _code_edits(node: ast.AST, text: _Text) -> Iterator[Edit]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for before, operator, after in zip(
                [left, *comparators], ops, comparators, strict=False
            ):
                yield from text.between(before, after, *COMPARISONS[type(operator)])
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in ARITHMETIC:
            yield from text.between(left, right, *ARITHMETIC[type(operator)])
        case ast.BoolOp(op=operator, values=[left, right, *_]):
            old, new = ("and", "or") if isinstance(operator, ast.And) else ("or", "and")
            yield from text.between(left, right, old, new)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield text.span(node)[0], text.span(operand)[0], ""
        case ast.Constant(value=bool() as value):
            yield (*text.span(node), str(not value))
        case ast.Constant(value=int() | float() as value):
            yield (*text.span(node), repr(value + 1))
        case ast.Call(func=ast.Name(id=name) as function) if name in CALLS:
            yield (*text.span(function), CALLS[name])
        case ast.IfExp(test=(ast.Name() | ast.Attribute() | ast.Call()) as test):
            yield (*text.span(test), f"not {ast.unparse(test)}")
        case ast.If(test=(ast.Name() | ast.Attribute() | ast.Call()) as test):
            yield (*text.span(test), f"not {ast.unparse(test)}")
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield (*text.span(node), "pass")
        case _:
            pass


# SQL.

IS_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT|DELETE|WHERE|EXISTS)\b")
SQL: tuple[tuple[str, str], ...] = (
    (r"(?<![<>=!])<=", "<"),
    (r"(?<![<>=!])<(?![=>])", "<="),
    (r"(?<![<>=!-])>=", ">"),
    (r"(?<![<>=!-])>(?!=)", ">="),
    (r"<>", "="),
    (r"(?<=\bWHERE )[\w.]+ (=)(?= )", "<>"),
    (r"(?<=\bAND )[\w.]+ (=)(?= )", "<>"),
    (r"\bAND\b", "OR"),
    (r"\bOR\b", "AND"),
    (r"\bNOT (?=EXISTS|IN|NULL|\()", ""),
    (r"(?<!NOT )\bEXISTS\b", "NOT EXISTS"),
    (r"(?<!NOT )\bIN (?=[(:])", "NOT IN "),
    (r" DESC\b", ""),
    (r"\bMIN\(", "MAX("),
    (r"\bMAX\(", "MIN("),
    (r"(?<= )\+(?= )", "-"),
    (r"(?<= )-(?= )", "+"),
    (r"(?<= )\*(?= )", "/"),
    (r"(?<= )/(?= )", "*"),
    # A condition less.
    (r" AND [\w.]+ (?:=|<>|<=|>=|<|>) (?:'\w+'|:?\w+|\{\w+\})(?=[\s)])", ""),
)
NUMBER = re.compile(r"(?<![\w.:'])\d+(?![\w.'])")


def _sql_edits(start: int, end: int, source: str) -> Iterator[Edit]:
    sql = source[start:end]
    if not IS_SQL.search(sql):
        return
    for pattern, new in SQL:
        for found in re.finditer(pattern, sql):
            group = found.re.groups  # the last group, or all of it
            yield start + found.start(group), start + found.end(group), new
    for found in NUMBER.finditer(sql):
        yield start + found.start(), start + found.end(), str(int(found[0]) + 1)
