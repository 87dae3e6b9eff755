"""Applications of the dashboard that compile every template once for all tests."""

from __future__ import annotations

from types import CodeType

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache

from jobs.settings import Settings
from tests.helpers import contract
from webui.app import create_app


class _Compiled(BytecodeCache):
    """Compiled templates in memory; an application's own cache is empty at its start."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        self._codes[bucket.key, bucket.checksum] = bucket.code


_compiled = _Compiled()


def new_app(settings: Settings) -> Flask:
    """The application on these settings; what it answers under /api is held to its document."""
    app = create_app(settings)
    contract.watch(app)
    app.jinja_env.bytecode_cache = _compiled
    return app
