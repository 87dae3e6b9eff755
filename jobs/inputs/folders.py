"""The allowed folders and the uploads, as a file picker and a list of models show them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from jobs.errors import InputError, refuse
from jobs.inputs.data.examples import allowed_path
from jobs.inputs.data.formats import known_suffix
from jobs.inputs.data.uploads import stored_uploads
from jobs.settings import Settings

MOST_ENTRIES = 200
"""Entries of a folder that are shown."""
MOST_LOOKED_AT = 5_000
"""Entries of a folder, or of all folders of a search for models, that are looked at."""
MOST_MODELS, DEPTH = 50, 3
CONFIG, WEIGHTS = "config.json", ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file or folder that can be chosen or opened."""

    name: str
    path: str
    folder: bool = False
    model: bool = False
    """A folder with a model in it."""
    size: int | None = None
    """Bytes of a file."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The data files, models and folders in a folder."""

    path: str
    """Empty for the list of the allowed folders and the uploads."""
    above: tuple[Entry, ...]
    """The folders that lead to it, from an allowed one down."""
    entries: tuple[Entry, ...]
    more: bool
    """There are entries that are not shown."""


def list_folder(given: str, settings: Settings) -> Listing:
    """List a folder within the allowed ones; all of those, and uploads, if none is given.

    Links that lead outside and hidden files are left out. Raises InputError.
    """
    if not given:
        roots = [_folder(folder, str(folder)) for folder in settings.readable_folders]
        uploads = [
            Entry(name=path.name, path=str(path), size=path.stat().st_size)
            for path in islice(stored_uploads(settings), MOST_ENTRIES)
        ]
        return Listing(path="", above=(), entries=(*roots, *uploads), more=False)
    folder = allowed_path("folder", given, settings)
    if not folder.is_dir():
        raise refuse("folder", given, "no such folder", "Open one that is listed.")
    try:
        found = sorted(
            islice(_entries(folder, settings), MOST_LOOKED_AT),
            key=lambda entry: (not entry.folder, entry.name.casefold()),
        )
    except OSError as error:
        raise refuse("folder", given, f"cannot be listed: {error.strerror}") from None
    return Listing(
        path=str(folder),
        above=tuple(_above(folder, settings)),
        entries=tuple(found[:MOST_ENTRIES]),
        more=len(found) > MOST_ENTRIES,
    )


def list_models(settings: Settings) -> list[str]:
    """Find folders with models in the allowed folders, a few levels deep."""
    left = [(folder, 0) for folder in settings.readable_folders]
    found: list[str] = []
    looked_at = 0
    while left and len(found) < MOST_MODELS and looked_at < MOST_LOOKED_AT:
        folder, depth = left.pop(0)
        if _is_model(folder):
            found.append(str(folder))
            continue
        with suppress(OSError):
            for entry in islice(os.scandir(folder), MOST_LOOKED_AT - looked_at):
                looked_at += 1
                # Links are not followed: they may lead outside, or round in a circle.
                if depth < DEPTH and _is_open(entry.name) and entry.is_dir(follow_symlinks=False):
                    left.append((Path(entry.path), depth + 1))
    return sorted(found)


def _entries(folder: Path, settings: Settings) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        for entry in found:
            if not _is_open(entry.name):
                continue
            with suppress(InputError, OSError):
                path = allowed_path("folder", entry.path, settings)
                if path.is_dir():
                    yield _folder(path, entry.name)
                elif path.is_file() and known_suffix(entry.name):
                    yield Entry(name=entry.name, path=entry.path, size=path.stat().st_size)


def _folder(path: Path, name: str) -> Entry:
    return Entry(name=name, path=str(path), folder=True, model=_is_model(path))


def _above(folder: Path, settings: Settings) -> Iterator[Entry]:
    roots = [root for root in settings.readable_folders if folder.is_relative_to(root)]
    root = min(roots, key=lambda one: len(one.parts))
    yield _folder(root, str(root))
    for count in range(len(root.parts) + 1, len(folder.parts) + 1):
        part = Path(*folder.parts[:count])
        yield _folder(part, part.name)


def _is_open(name: str) -> bool:
    return not name.startswith(".")


def _is_model(folder: Path) -> bool:
    try:
        return (folder / CONFIG).is_file() and any((folder / one).is_file() for one in WEIGHTS)
    except OSError:
        return False
