"""Time and peak memory of a block of work, on a CPU or a GPU."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")


class PeakMemory:
    """Peak memory of a block: the GPU's if there is one, else the process's, by sampling.

    bytes: above what was in use before
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        if sys.platform == "linux":
            # What an earlier row freed must not hide what this one takes.
            ctypes.CDLL(None).malloc_trim(0)
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._base = torch.cuda.memory_allocated() if self._cuda else _resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._cuda and not self._stop.wait(0.005):
            self.bytes = max(self.bytes, _resident() - self._base)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._cuda:
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._base


def timed(device: torch.device, work: Callable[[], T]) -> tuple[T, float]:
    """What the work gives, and its seconds, until a GPU has done it all."""
    synchronize(device)
    start = time.perf_counter()
    result = work()
    synchronize(device)
    return result, time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait for a GPU; nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
