"""Resource usage of a worker: memory and processor time, and memory and utilisation of its GPU."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import torch

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ResourceUsage:
    """Measures the process at every heartbeat, without a call that would wait for a busy GPU."""

    def __init__(self) -> None:
        self._at, self._used = time.monotonic(), time.process_time()

    def read(self) -> str:
        """A JSON object of bytes, and shares of one core and of the GPU.

        Unknown values are omitted.
        """
        now, used = time.monotonic(), time.process_time()
        found: dict[str, float] = {"threads": torch.get_num_threads(), **_process_memory()}
        if now > self._at:
            found["cpu"] = round((used - self._used) / (now - self._at), 3)
        self._at, self._used = now, used
        # Only after a job has used CUDA: asking would create a context on the GPU.
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            found |= _gpu()
        return json.dumps(found)


def _process_memory() -> dict[str, float]:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):  # not Linux
        return {}
    return {"memory": pages * PAGE_BYTES}


def _gpu() -> dict[str, float]:
    number = torch.cuda.current_device()
    stats = torch.cuda.memory_stats(number)
    found: dict[str, float] = {
        "device_allocated": stats.get("allocated_bytes.all.current", 0),
        "device_reserved": stats.get("reserved_bytes.all.current", 0),
        "device_peak": stats.get("allocated_bytes.all.peak", 0),
        "device_memory": torch.cuda.get_device_properties(number).total_memory,
    }
    # NVML's Python package or its driver may be missing.
    with contextlib.suppress(ModuleNotFoundError, RuntimeError):
        found["device_use"] = torch.cuda.utilization(number) / 100
    return found
