"""Say which tests this machine skips, and how to get what they need: `make test` begins with it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

from tests.helpers import services

ROOT = Path(__file__).parents[1]
SERVERS = (
    (services.PostgreSQL, "TEST_POSTGRES", "postgresql"),
    (services.Redis, "TEST_REDIS", "redis-server"),
    (services.RabbitMQ, "TEST_RABBITMQ", "rabbitmq-server"),
)
PROGRAMS = {
    "chromium": ("the pages in a browser", "chromium"),
    "chromedriver": ("the pages in a browser", "chromium-driver"),
    "promtool": ("the rules of alerts", "prometheus"),
    "curl": ("the blocks of code on pages", "curl"),
    "git": ("the history of the repository", "git"),
}


def lacking() -> Iterator[tuple[str, str]]:
    """Return what is skipped, and the package of Debian that brings it, where there is one."""
    for server, variable, package in SERVERS:
        if variable not in os.environ and server.missing():
            yield f"{server.__name__} (or a server at {variable})", package
    for program, (what, package) in PROGRAMS.items():
        if shutil.which(program) is None:
            yield what, package
    if find_library("pangoft2-1.0") is None:
        yield "PDFs of reports", "libpangoft2-1.0-0"
    if not Path(os.environ.get("TEST_SHARED", ROOT.parent / "shared")).is_dir():
        yield "real models and datasets (a folder at TEST_SHARED)", ""


def main() -> None:
    """Print what is skipped, and the command that installs what Debian has."""
    found = list(lacking())
    if not found:
        return
    skipped = list(dict.fromkeys(what for what, _ in found))
    lines = ["Skipped, since this machine lacks it:", *(f"  - {what}" for what in skipped)]
    if packages := [package for _, package in found if package]:
        sudo = "" if os.geteuid() == 0 else "sudo "
        lines.append(f"All but the last need: {sudo}apt-get install {' '.join(packages)}")
        if all(package for _, package in found):
            lines[-1] = lines[-1].replace("All but the last need", "They need")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
