"""Space on the disks of this machine that Headwise writes to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.formatting import size
from jobs.settings import Settings

LEAST_BYTES = 500_000_000
LEAST_INODES = 1_000


@dataclass(frozen=True, kw_only=True)
class Space:
    """The space that is left on a disk for files in a folder."""

    folder: Path
    free: int
    """Bytes."""
    inodes: int | None
    """Files that can still be made; None on file systems that do not count them."""

    @property
    def shortage(self) -> str | None:
        """A sentence if there is too little for the next files; else None."""
        if self.free < LEAST_BYTES:
            return f"The disk of {self.folder} is full: {size(self.free)} are left."
        if self.inodes is not None and self.inodes < LEAST_INODES:
            return f"The disk of {self.folder} is full: {self.inodes:,} more files fit on it."
        return None


def space(folder: Path) -> Space:
    """Measure the space of an existing folder. Raises OSError."""
    found = os.statvfs(folder)
    return Space(
        folder=folder,
        free=found.f_bavail * found.f_frsize,
        inodes=found.f_favail if found.f_files else None,
    )


def spaces(settings: Settings) -> Iterator[Space]:
    """Measure the data folder, SQLite's file and temporary files, each disk once."""
    folders = [settings.home, Path(tempfile.gettempdir())]
    if settings.database.startswith("sqlite:///"):
        folders.append(Path(settings.database.removeprefix("sqlite:///")).parent)
    seen: set[int] = set()
    for folder in folders:
        try:
            disk = folder.stat().st_dev
            if disk not in seen:
                yield space(folder)
        except OSError:  # a folder that is not there yet
            continue
        seen.add(disk)
