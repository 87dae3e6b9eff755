"""Time and peak memory of a block of work, on a CPU or a GPU."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
_RESET = Path("/proc/self/clear_refs")


class PeakMemory:
    """Peak memory of a block: the GPU's if there is one, else the process's where Linux counts it.

    bytes: above the use before the block; 0 where it is not counted
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._base = torch.cuda.memory_allocated()
        elif sys.platform == "linux":
            # What an earlier row freed must not hide what this one takes.
            ctypes.CDLL(None).malloc_trim(0)
            # The kernel counts the peak itself: a thread that samples would slow a busy machine.
            _RESET.write_text("5")
            self._base = _peak()
        return self

    def __exit__(self, *_: object) -> None:
        if self._cuda:
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._base
        elif sys.platform == "linux":
            self.bytes = _peak() - self._base


def timed(device: torch.device, work: Callable[[], T]) -> tuple[T, float]:
    """Return the result of the work and its seconds, including pending work of a GPU."""
    synchronize(device)
    start = time.perf_counter()
    result = work()
    synchronize(device)
    return result, time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait for a GPU to finish; return at once on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak() -> int:
    """Peak memory of the process since the count was reset, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
