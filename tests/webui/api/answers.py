"""Problems in an answer of the API."""

from __future__ import annotations

import json
from typing import Any


def problems(answer: Any, status: int) -> list[dict[str, Any]]:
    """The problems of an answer that must have this status and at least one problem."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    body = json.loads(answer.text)
    assert set(body) == {"type", "title", "status", "detail", "problems"}
    assert body["status"] == status
    found = body["problems"]
    assert found
    for problem in found:
        assert set(problem) == {"field", "value", "message", "remedy"}
        assert problem["field"]
        assert problem["message"]
    return list(found)
