"""Processes that read what others supply: their start, their request and their end.

They limit themselves, see `jobs.processes.limits`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PROGRAM = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); "
    "importlib.import_module(sys.argv[2]).main()"
)


def start(
    module: str,
    *,
    stderr: int | None = None,
    environment: Mapping[str, str] | None = None,
    files: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Run the `main` of a module of this project, with pipes and little of the environment.

    files: descriptors that it inherits besides
    """
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "LANG")}
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _PROGRAM, str(Path(__file__).parents[2]), module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=kept | dict(environment or {}),
        pass_fds=files,
    )


def ask(child: subprocess.Popen[bytes], request: Mapping[str, Any], *, last: bool = True) -> None:
    """Write the request as a line of JSON to its standard input, and close it after the last."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        if last:
            child.stdin.close()


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill the process, wait for its end and close its pipes."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()  # type: ignore[union-attr]
