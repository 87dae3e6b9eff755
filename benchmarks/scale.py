"""Measure the job system at scale, print the tables, write docs/explanation/scale.md.

    python -m benchmarks.scale [--quick] [--only fleet|scores|device|workers]

TEST_POSTGRES and TEST_REDIS give the addresses of PostgreSQL and Redis; parts whose server is
missing are skipped with a message. The full sizes need one to two hours on two idle cores and 6 GB
of temporary disk space; --quick takes a few minutes and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks import (
    scale_arrays,
    scale_device,
    scale_fleet,
    scale_host,
    scale_pages,
    scale_tables,
    scale_workers,
)
from benchmarks.__main__ import PAIRS
from benchmarks.page import postgres, publish, say
from benchmarks.scale_data import Load, fill, fill_every_kind
from benchmarks.scale_fleet import Fleet
from benchmarks.scale_tables import Scores
from db.database import Database
from db.ops import deletion
from demo.model import build
from scheduler.submission.control import control

PAGE = Path(__file__).parents[1] / "docs/explanation/scale.md"
REDIS = os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379/0")
_KEPT = ("binding", "binding_permanent")
"""Parts of the names under which kombu keeps a queue's bindings."""
PARTS = ("fleet", "scores", "device", "workers")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of all measurements."""

    fleets: tuple[Fleet, Fleet]
    """On PostgreSQL, and on SQLite."""
    examples: int
    """Of the large job; 144 head scores each."""
    deleted: int
    """Of the job that is deleted."""
    device: int
    """Examples of the job on a device that is a clock."""
    shards: int
    """Of the job that runs while pages are asked for."""
    repeats: int
    """Requests per page."""
    pairs: int
    """Jobs that one worker and two workers run."""
    pair_examples: int


FULL = Sizes(
    fleets=(
        Fleet(workers=200, shards=20_000, sleep=4.0),
        Fleet(workers=8, shards=1_000, sleep=0.5),
    ),
    examples=70_000,
    deleted=7_000,
    device=40_000,
    shards=20_000,
    repeats=40,
    pairs=3,
    pair_examples=128,
)
QUICK = Sizes(
    fleets=(Fleet(workers=20, shards=300, sleep=0.5), Fleet(workers=4, shards=60, sleep=0.2)),
    examples=1_500,
    deleted=1_500,
    device=2_000,
    shards=200,
    repeats=5,
    pairs=1,
    pair_examples=48,
)


def main() -> None:
    """Run the selected measurements and rewrite their sections; keep the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing is written")
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    load = os.getloadavg()[0]
    if load > 1:
        say(f"other work is on this machine (load {load:.1f}): times will be too long")
    sections = {"fleet": fleets, "scores": scores, "device": device, "workers": workers}
    for name in PARTS:
        if options.only in (None, name):
            for section, text in sections[name](sizes).items():
                publish(section, text, page=PAGE, write=not options.quick)


def fleets(sizes: Sizes) -> dict[str, str]:
    """Simulated fleets on PostgreSQL with Redis, and on SQLite with the embedded broker."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        queue = f"scale-{uuid.uuid4().hex[:8]}"
        with postgres() as url, redis_queue(queue) as broker:
            if url and broker:
                found.append(_fleet(folder, url, broker, queue, sizes.fleets[0]))
        small = f"sqlite:///{folder / 'fleet.sqlite'}"
        found.append(_fleet(folder, small, "", "default", sizes.fleets[1]))
    return {"fleet": scale_tables.fleets(found)}


def _fleet(folder: Path, url: str, broker: str, queue: str, fleet: Fleet) -> scale_fleet.Report:
    database = Database(url)
    database.migrate()
    database.close()
    return scale_fleet.run(scale_fleet.home(folder, url, broker, queue), fleet)


@contextmanager
def redis_queue(queue: str) -> Iterator[str | None]:
    """The address of Redis, whose queue is removed afterwards; None if unreachable."""
    client = redis.Redis.from_url(REDIS)
    try:
        client.ping()
    except redis.RedisError:
        say("no Redis here (TEST_REDIS): no fleet on PostgreSQL")
        yield None
        return
    try:
        yield REDIS
    finally:
        client.delete(queue, *(f"_kombu.{kind}.{queue}" for kind in _KEPT))
        client.close()


def scores(sizes: Sizes) -> dict[str, str]:
    """10^7 head scores: loading, deleting, pages, and arrays in place of rows."""
    found: list[Scores] = []
    arrays: list[scale_arrays.Variant] = []
    with tempfile.TemporaryDirectory() as folder, postgres() as postgres_url:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'scale.sqlite'}", "PostgreSQL": postgres_url}
        for name, url in urls.items():
            if url is None:
                continue
            database = Database(url)
            database.migrate()
            big = fill(database, sizes.examples)
            if database.dialect == "postgresql":
                scale_arrays.analyze(database)
                arrays = scale_arrays.run(database, big.job_id, sizes.examples)
            found.append(_scores(name, database, big, sizes))
            database.close()
    return {
        "scores": scale_tables.scores(found),
        "pages": scale_tables.pages(found),
        "arrays": scale_tables.arrays(arrays),
    }


def _scores(name: str, database: Database, big: Load, sizes: Sizes) -> Scores:
    whole = _whole_bytes(database)
    deleted = fill(database, sizes.deleted)
    started = time.perf_counter()
    control(database, deleted.job_id, "delete")
    gone = time.perf_counter() - started
    while deletion.empty_jobs(database):
        pass
    emptied = time.perf_counter() - started
    jobs = fill_every_kind(database, big, sizes.examples, sizes.shards)
    if database.dialect == "postgresql":
        scale_arrays.analyze(database)
    return Scores(
        database=name,
        big=big,
        whole_bytes=whole,
        deleted=deleted,
        gone=gone,
        emptied=emptied,
        pages=scale_pages.measure(database, jobs, sizes.repeats),
    )


def _whole_bytes(database: Database) -> int:
    if database.dialect == "sqlite":
        return Path(str(database.engine.url.database)).stat().st_size
    with database.read() as tx:
        query = "SELECT pg_database_size(current_database())"
        return int(tx.run(query).scalar_one())


def device(sizes: Sizes) -> dict[str, str]:
    """Workers with devices that are clocks: a fast one, and one beside which all else is real."""
    with tempfile.TemporaryDirectory() as name:
        model = build(Path(name) / "model")
        shape = scale_host.model_folder(Path(name) / "shape", model)
        short, long = (
            scale_device.short_texts(sizes.device),
            [*scale_host.long_texts(PAIRS, sizes.device // 2)],
        )
        with _databases() as urls:
            fast = scale_device.run(urls, model, short, scale_device.Device())
        with _databases() as urls:
            found = scale_device.run(urls, shape, long, scale_host.Passes())
    return {
        "device": scale_tables.devices(fast, scale_device.SPEED),
        "host": scale_tables.devices(found, 1 / scale_host.SECONDS),
    }


@contextmanager
def _databases() -> Iterator[dict[str, str]]:
    """Empty databases by name; PostgreSQL where there is a server."""
    with tempfile.TemporaryDirectory() as folder, postgres() as postgres_url:
        urls = {"SQLite": f"sqlite:///{folder}/device.sqlite"}
        if postgres_url is not None:
            urls["PostgreSQL"] = postgres_url
        yield urls


def workers(sizes: Sizes) -> dict[str, str]:
    """Two real workers against one."""
    with tempfile.TemporaryDirectory() as folder:
        model = build(Path(folder) / "model")
        found = scale_workers.run(model, PAIRS, examples=sizes.pair_examples, pairs=sizes.pairs)
    return {"workers": scale_tables.workers(found, sizes.pair_examples)}


if __name__ == "__main__":
    main()
