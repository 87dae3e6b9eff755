"""The page of the audit log, for administrators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, render_template, request, url_for

from db.accounts import audit
from db.accounts.audit import AuditFilter
from jobs.errors import refuse
from webui.context import choice, database, integer, settings, words

PAGE = 50

blueprint = Blueprint("audit", __name__)


@blueprint.get("/audit")
def index() -> str:
    """Entries, newest first; filters by user, action, object and first day, ?before= a number."""
    actions = audit.list_actions(database())
    wanted = AuditFilter(
        user=words("user"),
        action=choice("action", actions),
        object=words("object"),
        since=_day("since"),
    )
    before = integer("before", 0)
    found = audit.list_entries(database(), wanted, before=before, limit=PAGE + 1)
    entries = found[:PAGE]
    given = ((name, request.args.get(name, "")) for name in ("user", "action", "object", "since"))
    filters: dict[str, Any] = {name: value for name, value in given if value}
    older = url_for(".index", before=entries[-1].id, **filters) if len(found) > PAGE else None
    return render_template(
        "audit.html",
        entries=entries,
        actions=actions,
        filters=filters,
        older=older,
        newest=url_for(".index", **filters) if before else None,
        days=settings().audit_days,
    )


def _day(name: str) -> float:
    """The beginning of a day of the query string, in UTC; 0 without one. Raises InputError."""
    raw = words(name)
    if not raw:
        return 0.0
    try:
        day = datetime.strptime(raw, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise refuse(name, raw, "is not a day", "Write it as 2026-11-30.") from None
    return max(0.0, (day - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))
