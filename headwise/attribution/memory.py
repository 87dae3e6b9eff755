"""Measuring the memory that work needs, and the memory that is free."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

_MEMINFO = Path("/proc/meminfo")
_OWN_CGROUP, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


class Peak:
    """The peak memory of the tensors created inside a ``measuring`` block, in ``bytes``."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def measuring(device: torch.device) -> Iterator[Peak]:
    """Measure the peak memory of the tensors that this thread creates in the context.

    On a GPU by the count of the allocator, which includes buffers inside operators; elsewhere by
    the sizes of the tensors that operators return, forward and backward.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    with _Counting(peak):
        yield peak


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operators create, until these are freed."""

    def __init__(self, peak: Peak) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._peak, self._bytes = peak, 0
        self._known: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for tensor in _tensors((args, kwargs)):  # arguments may be older than the block
            self._known.setdefault(tensor.untyped_storage(), True)
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage not in self._known:
                self._known[storage] = True
                self._bytes += storage.nbytes()
                weakref.finalize(storage, self._freed, storage.nbytes())
        self._peak.bytes = max(self._peak.bytes, self._bytes)
        return result

    def _freed(self, count: int) -> None:
        self._bytes -= count


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def available(device: torch.device) -> int | None:
    """Return the bytes that can still be allocated on a device, or None if unknown.

    On a CPU, the smallest of the free memory of the machine and of the control groups that this
    process is in (containers, systemd units, batch jobs), beyond which Linux kills it.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu" or not _MEMINFO.exists():
        return None
    kilobytes = next(
        line.split()[1] for line in _MEMINFO.read_text().splitlines() if "MemAvailable" in line
    )
    return min([1024 * int(kilobytes), *_left_in_groups()])


def _left_in_groups() -> Iterator[int]:
    """Bytes left under each memory limit of cgroup v2, from this process up to the root."""
    own = _OWN_CGROUP.read_text() if _OWN_CGROUP.exists() else ""
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    group = _CGROUPS / path.strip().lstrip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(_CGROUPS):
            return
        limit, used, parts = (folder / f"memory.{name}" for name in ("max", "current", "stat"))
        if not (limit.exists() and used.exists() and limit.read_text().strip() != "max"):
            continue
        # Pages of files that have not been used for long are dropped when memory is needed.
        stat = dict(line.split() for line in parts.read_text().splitlines() if " " in line)
        taken = int(used.read_text()) - int(stat.get("inactive_file", 0))
        yield max(0, int(limit.read_text()) - taken)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is a failed allocation, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
