"""Uploaded data files: stored by the hash of their content, with the name that they had.

The folder of uploads holds `<hash>/<name>`. A job's texts are in the database from its submission
on, so an upload is needed only to check a submission and to submit it again. One that no job
refers to is removed after a day; reading one counts as use.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from jobs.errors import InputError, refuse
from jobs.inputs.data.examples import preview
from jobs.inputs.data.formats import SUFFIXES, known_suffix
from jobs.settings import Settings

UNUSED_SECONDS = 86_400.0
IN_PATH = re.compile(r"uploads/([0-9a-f]{32})\b")
"""An upload in the path or the specification that names it, and its hash."""
_PARTIAL, _REMOVING = "partial-", "removing-"
_LONGEST_STEM = 150
"""Bytes of a name without its suffix; file systems allow 255 for the whole."""


def save_upload(stream: BinaryIO, filename: str, settings: Settings) -> Path:
    """Store an upload and return its path. A half-written file never has its final name."""
    suffix = known_suffix(filename)
    if suffix is None:
        known = ", ".join(SUFFIXES)
        raise refuse("file", filename, "has an unknown format", f"Known: {known}, also with .gz.")
    settings.uploads.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=settings.uploads, prefix=_PARTIAL)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _copy(stream, file, filename, settings)
        try:
            preview(Path(temporary), settings, filename, rows=1)
        except InputError as error:
            # The user knows the file by the name it had.
            problems = [replace(p, field="file", value=filename) for p in error.problems]
            raise InputError(problems) from None
        return _name(Path(temporary), settings.uploads / digest / _safe_name(filename, suffix))
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def stored_uploads(settings: Settings) -> list[Path]:
    """The uploads with the names they had, the latest used first."""
    stored = [path for digest, path in _stored(settings.uploads) if digest]
    return sorted((path for path in stored if original_name(str(path))), key=_used, reverse=True)


def original_name(path: str) -> str | None:
    """The name that an upload had, None for other files and uploads of earlier releases."""
    digest, _, name = path.rpartition("/")
    return name if IN_PATH.search(digest) else None


def remove_unused(settings: Settings, in_use: Callable[[], set[str]]) -> list[str]:
    """Remove uploads that were not used for a day and are not `in_use`; returns their hashes.

    in_use: reads the hashes of the uploads that jobs refer to
    """
    before = time.time() - UNUSED_SECONDS
    old = [(digest, path) for digest, path in _stored(settings.uploads) if _used(path) < before]
    used = in_use() if old else set()
    return [digest for digest, path in old if digest not in used and _remove(path, before)]


def _copy(stream: BinaryIO, file: BinaryIO, filename: str, settings: Settings) -> str:
    digest, size = hashlib.sha256(), 0
    while block := stream.read(1 << 20):
        size += len(block)
        if size > settings.upload_megabytes << 20:
            raise refuse(
                "file",
                filename,
                f"is larger than {settings.upload_megabytes} MB",
                "Put it into an allowed folder, or raise HEADWISE_UPLOAD_MEGABYTES.",
            )
        digest.update(block)
        file.write(block)
    return digest.hexdigest()[:32]


def _safe_name(filename: str, suffix: str) -> str:
    """The last part of a name, without characters that are not printable, with its suffix."""
    suffix += ".gz" if filename.lower().endswith(".gz") else ""
    last = filename.replace("\\", "/").rsplit("/", 1)[-1][: -len(suffix)]
    words = ("".join(c for c in word if c.isprintable()) for word in last.split())
    stem = " ".join(words).lstrip(" .-")
    stem = stem.encode(errors="ignore")[:_LONGEST_STEM].decode(errors="ignore").strip()
    return (stem or "data") + suffix


def _name(temporary: Path, target: Path) -> Path:
    for _ in range(3):
        target.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # the folder was found empty and removed meanwhile
            temporary.replace(target)
            return target
    raise FileNotFoundError(target)


def _stored(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file of the folder that uploading made, with its hash: empty for a broken-off one."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((_PARTIAL, _REMOVING)):
            yield "", entry
        elif found := re.fullmatch(r"([0-9a-f]{32})((\.[a-z]+)*)", entry.name):
            files = sorted(entry.iterdir()) if entry.is_dir() else [entry]
            yield from ((found[1], file) for file in files)


def _used(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return time.time()  # it is gone


def _remove(path: Path, before: float) -> bool:
    """Remove a file unless it was used meanwhile: it is looked at once nobody can open it."""
    folder = path.parent
    uploads = folder.parent if IN_PATH.search(f"uploads/{folder.name}") else folder
    aside = uploads / f"{_REMOVING}{os.getpid()}-{time.monotonic_ns()}"
    with suppress(OSError):  # another scheduler was faster, or the folder is read-only
        path.rename(aside)
        if _used(aside) >= before:
            aside.rename(path)
            return False
        aside.unlink()
        if folder != uploads:
            with suppress(OSError):
                folder.rmdir()
        return True
    return False
