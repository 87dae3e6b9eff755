"""PostgreSQL's own programs: pg_dump, pg_restore and psql, found on PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from sqlalchemy import make_url

from jobs.errors import UnavailableError

_INSTALL = (
    "Install PostgreSQL's client programs of version {version} or newer, or put them on PATH."
)


def find(name: str, *, at_least: int) -> tuple[str, int]:
    """Return a program and its major version. Raises UnavailableError if it is missing or older."""
    install = _INSTALL.format(version=at_least)
    path = shutil.which(name)
    if path is None:
        raise UnavailableError(f"{name} is not installed. {install}")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", said)
    version = int(found[1]) if found else 0
    if version < at_least:
        raise UnavailableError(f"{path} is of version {version}, too old. {install}")
    return path, version


def address(url: str) -> tuple[str, dict[str, str]]:
    """The address of a database for the programs, and the environment with its password."""
    parsed = make_url(url)
    plain = parsed.set(drivername="postgresql")._replace(password=None)
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "headwise-backup"}
    if parsed.password:
        environment["PGPASSWORD"] = str(parsed.password)
    return plain.render_as_string(hide_password=False), environment


@contextmanager
def running(command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, and end it if the block is left before."""
    process: subprocess.Popen[bytes] = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        process.wait()


def complaint(errors: IO[bytes]) -> str:
    """The first error that a program wrote, on one line."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    marked = [line for line in lines if re.search(r"\b(error|ERROR|FATAL|fatal):", line)]
    return re.sub(r"^.*?\b(error|ERROR|FATAL):\s*", "", (marked or lines or ["it said nothing"])[0])
