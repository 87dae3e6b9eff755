"""The errors in the log lines of a stack's processes."""

from __future__ import annotations

import json
import re
from pathlib import Path

TROUBLE = re.compile(r"Traceback|Unrecoverable|Error\b|Fatal|Exception ignored|^Timeout \(", re.M)
"""The mark of a suspicious line that is not the logger's."""


_DIED = re.compile(r"Process .* exited with ")
"""billiard says with a line of its own that a computing process has died."""
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Panic)\b.*", re.M)
"""The line of a traceback that says what was raised."""


class LogLines:
    """The logs of a folder, read on from where they were read last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, int] = {}

    def read(self) -> list[str]:
        """The errors in the lines that were written since the last call."""
        return [error for file in sorted(self.folder.glob("*.log")) for error in self._errors(file)]

    def _errors(self, file: Path) -> list[str]:
        with file.open("rb") as stream:
            stream.seek(self._read.get(file, 0))
            text = stream.read()
        text = text[: text.rfind(b"\n") + 1]
        self._read[file] = self._read.get(file, 0) + len(text)
        found, plain = list[str](), list[str]()
        for line in [*text.decode("utf-8", "replace").splitlines(), "{}"]:
            event = _event(line)
            if event is None:
                (found if _DIED.match(line) else plain).append(line)
                continue
            if TROUBLE.search("\n".join(plain)):
                found.append("\n".join(plain)[-1500:])
            plain.clear()
            if event.get("level") in ("error", "critical"):
                raised = _RAISED.findall(str(event.get("exception", "")))
                found.append(f"{event.get('event')} {raised or ''}".strip())
        return found


def _event(line: str) -> dict[str, object] | None:
    """A line of the logger's; None for any other."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
