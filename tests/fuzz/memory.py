"""Memory of the process that fuzzes."""

from __future__ import annotations

from pathlib import Path


def peak_mb() -> int:
    """The largest memory of this process since it was started.

    Not ru_maxrss, which begins with the memory of the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024
