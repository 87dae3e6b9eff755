"""Measuring how much memory a piece of work needs, and finding how much there is."""

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
    """bytes: most memory that tensors made inside a ``measuring`` block had at a time"""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def measuring(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of the tensors that a block makes on this thread.

    On a GPU the allocator's own count, with what is inside of its operators; elsewhere the sizes
    of what operators return, forward and backward.
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
    """Adds up the storages that operators make, until nobody holds them any more."""

    def __init__(self, peak: Peak) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._peak, self._bytes = peak, 0
        self._known: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for tensor in _tensors((args, kwargs)):  # what it is given may be from before
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
    """Bytes that may still be allocated on a device; None where nobody tells.

    On a CPU the least of what the machine has left and of the limits of the control groups that
    this process is in (containers, systemd units, batch jobs): beyond those, Linux kills it.
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
    """What is left of every limit of cgroup v2 on the way from this process to the root."""
    own = _OWN_CGROUP.read_text() if _OWN_CGROUP.exists() else ""
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    group = _CGROUPS / path.strip().lstrip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(_CGROUPS):
            return
        limit, used, parts = (folder / f"memory.{name}" for name in ("max", "current", "stat"))
        if not (limit.exists() and used.exists() and limit.read_text().strip() != "max"):
            continue
        # Pages of files that nobody has touched for long make room when it is needed.
        stat = dict(line.split() for line in parts.read_text().splitlines() if " " in line)
        taken = int(used.read_text()) - int(stat.get("inactive_file", 0))
        yield max(0, int(limit.read_text()) - taken)
