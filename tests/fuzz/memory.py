"""Memory of processes."""

from __future__ import annotations

from pathlib import Path


def peak_mb(pid: int | str = "self") -> int:
    """The largest memory of a process, by default of this one, since it was started.

    Not ru_maxrss, which begins with the memory of the process that started this one.
    """
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024
