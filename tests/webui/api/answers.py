"""What an answer of the API refuses."""

from __future__ import annotations

from typing import Any


def problems(answer: Any, status: int) -> list[dict[str, Any]]:
    """The problems of an answer that must have this status and at least one problem."""
    assert answer.status_code == status, answer.text
    found = answer.get_json()["problems"]
    assert found
    for problem in found:
        assert set(problem) == {"field", "value", "message", "remedy"}
        assert problem["field"]
        assert problem["message"]
    return list(found)
