"""The manifest of a backup: what its copy is compared with, now and when it is put back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from db.transaction import Transaction
from jobs.errors import HeadwiseError, refuse

NAME = "manifest.json"
FORMAT = 1
_RESULTS = "SELECT id, result_hash FROM job WHERE result_hash IS NOT NULL ORDER BY id"
TABLES = {
    "sqlite": """
        SELECT name, name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
    """,
    # A table with partitions counts as one.
    "postgresql": """
        SELECT c.relname, coalesce(r.relname, c.relname) FROM pg_class c
        LEFT JOIN pg_class r ON c.relispartition AND r.oid = pg_partition_root(c.oid)
        WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
    """,
}
"""The names of all tables and partitions, and the table that each is or is a part of."""


class CopyError(HeadwiseError):
    """A copy that is not what was copied."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The contents of a database, as far as a copy is compared with them."""

    rows: dict[str, int]
    """Number of rows of every table."""
    results: dict[str, str]
    """The hash of the results of every job that has one, by the job's number."""

    def compare(self, copied: Content) -> None:
        """Raise CopyError if a copy differs."""
        for table in sorted(self.rows.keys() | copied.rows.keys()):
            has, wanted = copied.rows.get(table, 0), self.rows.get(table, 0)
            if has != wanted:
                raise CopyError(f"The copy has {has:,} rows of {table}, the original {wanted:,}.")
        for job in sorted(self.results.keys() | copied.results.keys(), key=int):
            if self.results.get(job) != copied.results.get(job):
                raise CopyError(f"The results of job {job} differ between copy and original.")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of a backup."""

    format: int
    made_at: str
    """UTC, ISO 8601."""
    release: str
    """Release of Headwise that made it."""
    dialect: str
    revision: str
    """Revision of the schema."""
    schema: str
    """PostgreSQL: the name of the schema that the tables are in."""
    tool: int
    """PostgreSQL: major version of pg_dump."""
    content: Content
    files: dict[str, str]
    """SHA-256 of every other file of the backup, by its path in it."""

    @property
    def database(self) -> str:
        """Name of the file with the database."""
        return "database.sqlite" if self.dialect == "sqlite" else "database.dump"

    def write(self, folder: Path) -> None:
        """Write it into the folder of a backup."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")

    def check_files(self, folder: Path, progress: Progress) -> None:
        """Raise CopyError if a file of the backup is missing or has changed."""
        for path, digest in self.files.items():
            try:
                found = sha256(folder / path, progress)
            except OSError as error:
                raise CopyError(f"{folder / path} cannot be read: {error.strerror}.") from None
            if found != digest:
                raise CopyError(f"{folder / path} has changed since the backup was made.")


Progress = Callable[[str, int], None]
"""Called with a step of the work, and how many bytes of it are done."""


def read(folder: Path) -> Manifest:
    """Read the manifest of a backup. Raises InputError."""
    try:
        raw = json.loads((folder / NAME).read_text(encoding="utf-8"))
        found = Manifest(**{**raw, "content": Content(**raw["content"])})
    except OSError as error:
        reason = f"is not a backup: its {NAME} cannot be read: {error.strerror}"
        raise refuse("FROM", str(folder), reason, "Name a folder of `headwise backup`.") from None
    except (ValueError, TypeError, KeyError):
        reason = f"is not a backup that this release knows: its {NAME} has another form"
        raise refuse("FROM", str(folder), reason, "Use the release that made it.") from None
    if any(".." in Path(path).parts or Path(path).is_absolute() for path in found.files):
        raise refuse("FROM", str(folder), f"is not a backup: its {NAME} names files outside of it")
    if found.format != FORMAT:
        reason = f"has format {found.format}, this release knows {FORMAT}"
        raise refuse("FROM", str(folder), reason, "Use the release that made it.")
    return found


def content(tx: Transaction) -> Content:
    """Count the rows of all tables, and read the hashes of jobs' results, in one transaction."""
    tables = sorted(set(parts(tx).values()))
    rows = {name: int(tx.run_as_is(_count(name)).scalar_one()) for name in tables}
    results = (
        {str(job): str(digest) for job, digest in tx.run_as_is(_RESULTS)} if "job" in rows else {}
    )
    return Content(rows=rows, results=results)


def _count(table: str) -> str:
    return f"SELECT COUNT(*) FROM {quoted(table)}"  # noqa: S608 - quoted


def parts(tx: Transaction) -> dict[str, str]:
    """Every table and partition, and the table that it belongs to."""
    return dict(map(tuple, tx.run_as_is(TABLES[tx.dialect])))


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def sha256(path: Path, progress: Progress) -> str:
    """Hash a file."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            done += len(block)
            progress(f"checking {path.name}", done)
    return digest.hexdigest()
