"""The sentences of the validation library, which no user should read."""

from __future__ import annotations

import re
from functools import cache

from pydantic_core._pydantic_core import list_all_errors

ERRORS = {str(one["type"]): one for one in list_all_errors()}
"""The words of the library for each type of error."""


@cache
def raw_sentence() -> re.Pattern[str]:
    """Matches every message of the library, whatever stands in its places."""
    templates = set()
    for one in ERRORS.values():
        templates |= {one["message_template_python"], one.get("message_template_json", "")}
    places = re.compile(r"\\\{\w+\\\}")
    parts = [places.sub(".*", re.escape(text)) for text in sorted(templates) if text]
    return re.compile("|".join(parts), re.IGNORECASE | re.DOTALL)
