"""Deprecation by header (RFC 9745, RFC 8594): what still works, and until when."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from flask import Response, g
from pydantic import BaseModel

from webui.contract.models import DEPRECATED
from webui.contract.problems import REFERENCE

SINCE = datetime(2026, 11, 29, tzinfo=UTC)
SUNSET = datetime(2027, 11, 29, tzinfo=UTC)
"""Deprecated parameters may be refused from then on."""


def note(query: BaseModel) -> None:
    """Remember that a request uses a deprecated parameter."""
    fields = type(query).model_fields
    if any(fields[name].json_schema_extra == DEPRECATED for name in query.model_fields_set):
        g.deprecated = True


def add_headers(response: Response) -> None:
    """Say so in the answer."""
    if g.get("deprecated"):
        response.headers["Deprecation"] = f"@{SINCE.timestamp():.0f}"
        response.headers["Sunset"] = format_datetime(SUNSET, usegmt=True)
        response.headers.add("Link", f'<{REFERENCE}#deprecated>; rel="deprecation"')
