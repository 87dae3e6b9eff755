"""Applications of the dashboard: templates and addresses are compiled once in a process.

Otherwise each application compiles its two hundred addresses, a tenth of a second of a core.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule

from jobs.settings import Settings
from tests.helpers import contract
from webui.app import Dashboard, create_app


class _Compiled(BytecodeCache):
    """Compiled templates in memory; an application's own cache is empty at its start."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        self._codes[bucket.key, bucket.checksum] = bucket.code


_builders: dict[object, Callable[..., Any]] = {}
_compile_builder = Rule._compile_builder


def _compiled_builder(rule: Rule, append_unknown: bool = True) -> Callable[..., Any]:
    """The function that builds a rule's addresses; it finds the rule's converters when called."""
    key = (*rule._trace, repr(rule.defaults), append_unknown)
    if key not in _builders:
        _builders[key] = _compile_builder(rule, append_unknown)
    return _builders[key]


Dashboard.jinja_options = {"bytecode_cache": _Compiled()}
Rule._compile_builder = _compiled_builder  # type: ignore[method-assign]


def new_app(settings: Settings) -> Flask:
    """The application on these settings; what it answers under /api is held to its document."""
    app = create_app(settings)
    contract.watch(app)
    return app
