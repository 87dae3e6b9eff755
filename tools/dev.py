"""`make dev`: dashboard, scheduler and one worker, restarted when their code changes.

A change in `webui/` (pages, templates, styles, scripts) restarts the dashboard alone, which takes
a second; any other change of code restarts everything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from cli.commands.processes import check_port, children, prepare
from cli.context import fail, out
from cli.supervisor import Child, Supervisor
from jobs.errors import HeadwiseError
from jobs.settings import load_settings

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "webui"
CODE = [ROOT / name for name in ("headwise", "jobs", "db", "scheduler", "workers", "cli")]
SUFFIXES = {".py", ".html", ".css", ".js"}

log = structlog.get_logger()


def newest(folders: Iterable[Path]) -> tuple[int, float]:
    """The number of source files in these folders, and when the last was changed."""
    times = [
        path.stat().st_mtime
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    ]
    return len(times), max(times, default=0.0)


class DevelopmentSupervisor(Supervisor):
    """Also restarts children whose code has changed."""

    def __init__(self, children: Sequence[Child]) -> None:
        super().__init__(children)
        self.pages, self.code = newest([PAGES]), newest(CODE)
        self.look_at = 0.0

    def check(self) -> None:
        """Restart the children that have died, and once a second those whose code has changed."""
        if time.monotonic() >= self.look_at:
            self.look_at = time.monotonic() + 1
            self.restart_changed()
        super().check()

    def restart_changed(self) -> None:
        pages, code = newest([PAGES]), newest(CODE)
        changed = [
            child
            for child in self.children
            if code != self.code or (pages != self.pages and child.name == "dashboard")
        ]
        self.pages, self.code = pages, code
        for child in changed:
            log.info("code has changed", process=child.name)
            child.restart()


def main() -> int:
    """Run until Ctrl-C; returns the exit status."""
    try:
        settings = prepare(load_settings(), patience=0)
        check_port(settings)
    except HeadwiseError as error:
        return fail(error)
    out.print(f"Dashboard: http://{settings.host}:{settings.port}   Data: {settings.home}")
    return DevelopmentSupervisor(children(1)).run()


if __name__ == "__main__":
    sys.exit(main())
