"""A copy taken while jobs run is consistent, and its jobs go on to the same results."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.database import Database
from db.ops.backup import backup
from jobs.errors import InputError, UnavailableError
from tests.chaos.arena import EXAMPLES, Arena, arena, missing_for, undisturbed
from tests.chaos.forge import Forge
from tests.helpers import services
from tests.helpers.environment import missing


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    forge = Forge(tmp_path_factory.mktemp("forge"))
    yield forge
    forge.close()


def in_the_middle(made: Arena, job: int) -> bool:
    """Some shards are done, some are not."""
    query = f"SELECT COUNT(DISTINCT state) FROM shard WHERE job_id = {job} AND state <> 'leased'"
    return made.during(lambda: made.rows(query) == [(2,)])


@pytest.mark.parametrize(
    "name", ["sqlite-embedded", pytest.param("postgresql-redis", marks=pytest.mark.services)]
)
def test_a_copy_taken_in_mid_job_goes_on_to_the_same_result(
    name: str, forge: Forge, tmp_path: Path
) -> None:
    if lacks := missing_for(name):
        missing(lacks)
    with arena(name, tmp_path / "stack", forge) as made:
        undisturbed(made, {"plain": {}})
        job = made.begin()
        assert in_the_middle(made, job)
        copy = take(made, tmp_path)
        made.finish(job)
        stopped(made)
        restore(made, copy)
        # The copy is of the middle, and holds.
        assert made.state(job) in ("running", "finalizing")
        half = made.rows(f"SELECT COUNT(*) FROM example_result WHERE job_id = {job}")[0][0]
        assert 0 < half < EXAMPLES
        made.wanted = (2, 2)
        assert made.finish(job) == "succeeded"
        found = made.verdict(job)
        assert not found.broken
        assert (found.lost, found.doubled, found.equal) == (0, 0, True)


def take(made: Arena, folder: Path) -> Path:
    """The copy, as docs/reliability.md says."""
    if made.server is None:
        copy = folder / "copy.sqlite"
        pid = made.fork("backup", "--to", str(copy))
        assert made.during(copy.exists), pid
        return copy
    copy = folder / "copy.dump"
    command = [services.binary("pg_dump") or "", "--format=custom", f"--file={copy}"]
    subprocess.run([*command, plain(made.server.url)], check=True)
    return copy


def stopped(made: Arena) -> None:
    """Nobody writes while a copy is put back."""
    made.wanted = (0, 0)
    for pid in [*made.workers, *made.schedulers]:
        made.signal(pid, 15)
    assert made.during(lambda: not made.workers and not made.schedulers, 60)
    made.database.close()


def restore(made: Arena, copy: Path) -> None:
    """Put the copy in the place of the database, as docs/reliability.md says."""
    if made.server is None:
        file = Path(made.settings.database.removeprefix("sqlite:///"))
        for name in (f"{file.name}-wal", f"{file.name}-shm"):
            file.with_name(name).unlink(missing_ok=True)
        file.write_bytes(copy.read_bytes())
        return
    command = [
        services.binary("pg_restore") or "",
        "--clean",
        "--if-exists",
        "--single-transaction",
    ]
    subprocess.run([*command, f"--dbname={plain(made.server.url)}", str(copy)], check=True)


def plain(url: str) -> str:
    """The address as PostgreSQL's own programs take it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def test_a_copy_is_refused_where_it_cannot_be_whole(database: Database, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for to in (taken, tmp_path / "no such folder/copy"):
        with pytest.raises((InputError, UnavailableError)):
            backup(database, to)
    assert taken.read_text() == "mine"
    if database.dialect == "sqlite":
        assert backup(database, tmp_path / "copy") > 0
        assert Database(f"sqlite:///{tmp_path / 'copy'}").schema_is_current()
        assert not list(tmp_path.glob("*.part"))
    else:
        with pytest.raises(InputError, match="pg_dump"):
            backup(database, tmp_path / "copy")
