"""Shared parts of the benchmarks' runners: marked sections of pages, databases, the machine."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers

PAGE = Path(__file__).parents[1] / "docs/explanation/benchmarks.md"
POSTGRES = os.environ.get("TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
MARK = "<!-- {}: written by `benchmarks` -->"


def publish(section: str, text: str, *, page: Path = PAGE, write: bool = True) -> None:
    """Print a section and, with ``write``, put it between its marks in the page."""
    say(text)
    if not write:
        return
    start, end = MARK.format(section), MARK.format(f"end of {section}")
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def machine(device: torch.device | None = None) -> str:
    """A description of the machine and the library versions."""
    gpu = torch.cuda.is_available() and (device is None or device.type == "cuda")
    name = torch.cuda.get_device_name(device) if gpu else "no GPU"
    return (
        f"{_cpu()}, {os.cpu_count()} cores, {name}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}"
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name} with {torch.backends.cpu.get_cpu_capability()}"


@contextmanager
def postgres() -> Iterator[str | None]:
    """A fresh PostgreSQL database; None, with a message printed, where there is no server."""
    import psycopg  # only here: a GPU's machine may have the library alone

    name = f"headwise_bench_{uuid.uuid4().hex[:8]}"
    try:
        admin = psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        say("no PostgreSQL here (TEST_POSTGRES): SQLite only")
        yield None
        return
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{POSTGRES}/{name}".replace("postgresql://", "postgresql+psycopg://")
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def say(line: str) -> None:
    """Print without buffering: a benchmark takes minutes."""
    print(line, flush=True)
