"""Lines of Python and libraries on standard error become log lines, one JSON object each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
BEGIN = """
import logging, sys, threading, traceback, warnings
from jobs.processes.logs import configure_service_logs
from jobs.settings import load_settings
configure_service_logs(load_settings())
"""


def lines(code: str, log_format: str = "json") -> list[dict[str, Any]]:
    """The lines that a process logs."""
    ran = subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        cwd=ROOT,
        env={"HEADWISE_LOG_FORMAT": log_format, "PATH": "", "HEADWISE_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == ""
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_an_uncaught_error_is_one_line() -> None:
    (line,) = lines("raise RuntimeError('out of\\nluck')")
    assert (line["event"], line["level"]) == ("uncaught error", "critical")
    assert "Traceback" in line["exception"]
    assert "RuntimeError: out of\nluck" in line["exception"]


def test_so_is_one_of_a_thread_and_one_that_nobody_can_catch() -> None:
    code = """
def fail(): raise ValueError("in a thread")
thread = threading.Thread(target=fail, name="worker bee")
thread.start(); thread.join()
class Bad:
    def __del__(self): raise KeyError("in a finalizer")
del_me = Bad(); del del_me
"""
    thread, finalizer = lines(code)
    assert (thread["thread"], thread["level"]) == ("worker bee", "error")
    assert "ValueError: in a thread" in thread["exception"]
    assert "KeyError: 'in a finalizer'" in finalizer["exception"]
    assert lines("threading.Thread(target=lambda: sys.exit(1)).start()") == []


def test_warnings_prints_and_tracebacks_are_lines() -> None:
    code = """
warnings.warn("old", UserWarning)
print("printed\\nin two", file=sys.stderr)
sys.stderr.write("a bar 10%\\ra bar 90%"); sys.stderr.write("\\ra bar 100%\\n\\n")
logging.getLogger("library").warning("of a library")
"""
    warning, *rest = lines(code)
    assert "UserWarning: old" in warning["event"]
    events = [line["event"] for line in rest]
    assert events == ["printed", "in two", "a bar 100%", "of a library"]
    assert all(line["timestamp"] and line["level"] == "warning" for line in rest)
    code = """
try: 1 / 0
except ZeroDivisionError: traceback.print_exc()
"""
    assert lines(code)[-1]["event"] == "ZeroDivisionError: division by zero"


def test_logging_that_fails_does_not_recurse() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", BEGIN + "logging.getLogger('x').warning('%d', 'no number')"],
        cwd=ROOT,
        env={"HEADWISE_LOG_FORMAT": "json", "PATH": "", "HEADWISE_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0
    assert "no number" in ran.stderr
