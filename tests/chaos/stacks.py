"""The stacks: servers of their own on free ports, two schedulers, two workers."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.arena import Arena
from tests.chaos.forge import Forge
from tests.chaos.network import Network, NoNetworkError
from tests.chaos.verdict import judge
from tests.helpers import services

STACKS = ("sqlite-embedded", "postgresql-redis", "postgresql-rabbitmq")


def missing_for(name: str) -> str:
    """The programs that a stack needs and this machine lacks."""
    needed = {
        "sqlite-embedded": (),
        "postgresql-redis": (services.PostgreSQL, services.Redis),
        "postgresql-rabbitmq": (services.PostgreSQL, services.RabbitMQ),
    }[name]
    return ", ".join(filter(None, (server.missing() for server in needed)))


@contextlib.contextmanager
def arena(name: str, folder: Path, forge: Forge) -> Iterator[Arena]:
    """A stack that runs: its servers on free ports, two schedulers, two workers."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        home, disk = folder / "home", Path(tempfile.mkdtemp(prefix="headwise-disk-"))
        home.mkdir()
        stack.callback(shutil.rmtree, disk, ignore_errors=True)
        disk.chmod(0o755)  # the user postgres must get in
        small = stack.enter_context(services.small_disk(disk, 128 if "postgres" in name else 24))
        more: dict[str, object] = {"queue": "chaos"}
        server = broker = None
        network: Network | str = "servers: SQLite and the embedded broker are files"
        if name == "sqlite-embedded":
            database = f"sqlite:///{disk / 'headwise.sqlite'}"
        else:
            (folder / "broker").mkdir()
            kind = services.Redis if name == "postgresql-redis" else services.RabbitMQ
            server, broker = services.PostgreSQL(disk), kind(folder / "broker")
            network = stack.enter_context(_network())
            for one in (server, broker):
                one.addresses += (network.here,) if isinstance(network, Network) else ()
                one.create()
                one.start()
                stack.callback(one.stop)
            more["broker_url"] = broker.url
            database = server.url
        made = Arena(home, forge, database_url=database, **more)
        stack.callback(made.stop)
        made.name, made.server, made.broker, made.network = name, server, broker, network
        made.disk = disk if small else None
        made.tend()
        yield made


@contextlib.contextmanager
def _network() -> Iterator[Network | str]:
    """A network to be cut; where there can be none, what is missing."""
    try:
        network = Network()
    except NoNetworkError as error:
        yield str(error)
        return
    with contextlib.closing(network):
        yield network


def undisturbed(made: Arena, shapes: dict[str, dict[int, str]]) -> None:
    """Remember the hash of a job of each shape that nothing happened to."""
    for shape, bad in shapes.items():
        job = made.begin(bad)
        made.finish(job)
        found = judge(made, job, shape)
        assert not found.broken, found.broken
        made.hashes[shape] = made.rows(f"SELECT result_hash FROM job WHERE id = {job}")[0][0]
    made.logs.read()


def seeded(name: str, seed: int) -> random.Random:
    """Chance of a stack's own, the same for the same seed."""
    return random.Random(f"{name}:{seed}")
