"""Files that commands write with `--to`: checked before any work, whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import refuse


def form_of(to: Path, forms: Collection[str]) -> str:
    """The format that a file's name ends with.

    Raises InputError for an unknown one, and for a folder that does not exist.
    """
    form = to.suffix.removeprefix(".").lower()
    if form not in forms:
        known = ", ".join(f".{one}" for one in forms)
        raise refuse("--to", str(to), "is of an unknown format", f"Known: {known}.")
    if not to.absolute().parent.is_dir():
        message = "is in a folder that does not exist"
        raise refuse("--to", str(to), message, "Make it, or choose another.")
    return form


@contextmanager
def writing(to: Path) -> Iterator[Path]:
    """Write a file to the path that this gives: it gets its name once it is whole.

    An error leaves what was there before. Raises InputError if the file cannot be written.
    """
    special = to.exists() and not to.is_file()  # as /dev/stdout, which has no second name
    target = to if special else to.resolve()
    part = to if special else target.with_name(f".headwise-{os.getpid()}.part")
    try:
        yield part
        if not special:
            part.replace(target)
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise refuse("--to", str(to), reason, "Choose another.") from None
    finally:
        if not special:
            part.unlink(missing_ok=True)


def write(to: Path, pieces: Iterable[bytes]) -> None:
    """Write a file. Raises InputError if that fails."""
    with writing(to) as part, part.open("wb") as file:
        file.writelines(pieces)
