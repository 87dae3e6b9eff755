"""What a worker uses: memory and processor time of the process, memory and use of its GPU."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import torch

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Vitals:
    """Reads them at every beat. Asks nothing that would wait for a busy or hung device."""

    def __init__(self) -> None:
        self._at, self._used = time.monotonic(), time.process_time()

    def read(self) -> str:
        """A JSON object; bytes, and shares of one core and of the device. What is unknown lacks."""
        now, used = time.monotonic(), time.process_time()
        found: dict[str, float] = {"threads": torch.get_num_threads(), **_resident()}
        if now > self._at:
            found["cpu"] = round((used - self._used) / (now - self._at), 3)
        self._at, self._used = now, used
        # Only where a job has begun to use it: asking would be what makes a context.
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            found |= _device()
        return json.dumps(found)


def _resident() -> dict[str, float]:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):  # no Linux
        return {}
    return {"memory": pages * PAGE_BYTES}


def _device() -> dict[str, float]:
    number = torch.cuda.current_device()
    stats = torch.cuda.memory_stats(number)
    found: dict[str, float] = {
        "device_allocated": stats.get("allocated_bytes.all.current", 0),
        "device_reserved": stats.get("reserved_bytes.all.current", 0),
        "device_peak": stats.get("allocated_bytes.all.peak", 0),
        "device_memory": torch.cuda.get_device_properties(number).total_memory,
    }
    # NVML's Python package, or its driver, may not be there.
    with contextlib.suppress(ModuleNotFoundError, RuntimeError):
        found["device_use"] = torch.cuda.utilization(number) / 100
    return found
