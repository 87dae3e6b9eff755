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
SQLITE = "sqlite:///"


@dataclass(frozen=True, kw_only=True)
class Space:
    """The space that is left on a disk for files in a folder."""

    place: str
    """data, database or temporary."""
    folder: str
    disk: int
    """Number of the disk on its machine: two folders may be on one."""
    free: int
    """Bytes."""
    inodes: int | None
    """Files that can still be made; None on file systems that do not count them."""

    def shortage(self, host: str = "") -> str | None:
        """A sentence if there is too little for the next files; else None. Names another host."""
        where = f"{self.folder} on {host}" if host else self.folder
        if self.free < LEAST_BYTES:
            return f"The disk of {where} is full: {size(self.free)} are left."
        if self.inodes is not None and self.inodes < LEAST_INODES:
            return f"The disk of {where} is full: {self.inodes:,} more files fit on it."
        return None


def spaces(settings: Settings) -> Iterator[Space]:
    """Measure the data folder, the folders of temporary files, and that of SQLite's file."""
    folders = [("data", settings.home), ("temporary", Path(tempfile.gettempdir()))]
    if settings.database.startswith(SQLITE):
        folders.append(("database", Path(settings.database.removeprefix(SQLITE)).parent))
    for place, folder in folders:
        try:
            found = os.statvfs(folder)
            yield Space(
                place=place,
                folder=str(folder),
                disk=folder.stat().st_dev,
                free=found.f_bavail * found.f_frsize,
                inodes=found.f_favail if found.f_files else None,
            )
        except OSError:  # a folder that is not there yet
            continue
