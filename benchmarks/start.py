"""Processor time and memory that commands and processes take to start.

On a fresh data folder with SQLite and the embedded broker. Processor time tells on a busy machine,
too; it is that of the process and of its children.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.request import urlopen

COMMANDS = ("--help", "--version", "whoami", "jobs --help", "jobs")
PAGES = ("/", "/studies", "/studies/new", "/operations", "/lab", "/sql", "/help", "/api/v1/jobs")
PORT = 8699
SECONDS = 120.0
"""Time that a process has to start."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A command, or a process until it is ready."""

    name: str
    seconds: float
    processor: float
    """Seconds of processor time."""
    resident: int | None = None
    """Bytes in memory; not known of a command, which begins as a copy of this process."""


def run(repeats: int = 10) -> list[Start]:
    """Commands take turns, each with its median; processes start once."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWISE_")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled once
        environment |= {"HEADWISE_HOME": folder, "HEADWISE_PORT": str(PORT)}
        rounds = [
            [_ended(_start(name.split(), environment), name) for name in COMMANDS]
            for _ in range(repeats + 1)
        ][1:]  # the first makes the database
        found = [_middle(tries) for tries in zip(*rounds, strict=True)]
        return [*found, _web(environment), _worker(environment)]


def section(repeats: int = 10) -> str:
    """The table as Markdown."""
    lines = [
        "| `headwise` | s | processor time, s | resident, MiB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in run(repeats):
        resident = "" if row.resident is None else f"{row.resident / 2**20:.0f}"
        lines.append(f"| `{row.name}` | {row.seconds:.2f} | {row.processor:.2f} | {resident} |")
    return "\n".join(lines)


def _start(arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.Popen(
        command,
        env=environment,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _ended(process: subprocess.Popen[bytes], name: str) -> Start:
    """Wait for the end of a command that has just started."""
    started = time.perf_counter()
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"headwise {name}: {output.decode()}")
    return Start(
        name=name,
        seconds=time.perf_counter() - started,
        processor=used.ru_utime + used.ru_stime,
    )


def _middle(tries: Sequence[Start]) -> Start:
    return Start(
        name=tries[0].name,
        seconds=median(one.seconds for one in tries),
        processor=median(one.processor for one in tries),
    )


def _web(environment: dict[str, str]) -> Start:
    """The dashboard until it answers; its memory is that after its main pages."""
    started = time.perf_counter()
    with _start(["web"], environment) as process:
        try:
            address = f"http://127.0.0.1:{PORT}"
            while not _answers(f"{address}/healthz"):
                if process.poll() is not None or time.perf_counter() - started > SECONDS:
                    raise RuntimeError("headwise web does not answer")
                time.sleep(0.02)
            seconds, processor = time.perf_counter() - started, _processor(process.pid)
            for page in PAGES:
                if not _answers(address + page):
                    raise RuntimeError(f"headwise web: no {page}")
            resident = _resident(process.pid)
        finally:
            process.terminate()
    return Start(name="web", seconds=seconds, processor=processor, resident=resident)


def _worker(environment: dict[str, str]) -> Start:
    """A worker until it says that it is ready; processor time and memory of both processes."""
    started = time.perf_counter()
    with _start(["worker"], environment) as process:
        try:
            assert process.stdout is not None
            ready = any(b"worker ready" in line for line in process.stdout)
            if not ready:
                raise RuntimeError("headwise worker ended before it was ready")
            seconds = time.perf_counter() - started
            family = [process.pid, *_children(process.pid)]
            processor = sum(map(_processor, family))
            resident = sum(map(_resident, family))
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS)
    return Start(name="worker", seconds=seconds, processor=processor, resident=resident)


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=SECONDS) as answer:
            return bool(answer.read())
    except OSError:
        return False


def _processor(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
