"""`headwise health`, for containers and probes: check this host's scheduler or worker.

The dashboard answers /healthz and /readyz itself.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Annotated

import typer

from cli.context import out
from db.database import Database
from db.ops import checks, fleet
from db.ops.checks import Health
from db.ops.fleet import Scheduler, Worker
from jobs.errors import UnavailableError, nearest, refuse
from jobs.settings import Settings, load_settings

ROLES = ("scheduler", "worker")


def health(
    role: Annotated[str, typer.Argument(help="scheduler or worker.", metavar="ROLE")],
) -> int:
    """Check this host's scheduler or worker: exit status 0 if it is healthy, else 1.

    A worker is healthy if it can claim shards and finish them: it has looked for a shard, or made
    progress with one, within HEADWISE_STALL_SECONDS. So is a scheduler whose rounds end.

    If the database does not answer, the exit status is 0: a restart would not help. The command
    ends within a few seconds, whatever the database does.
    """
    if role not in ROLES:
        raise refuse("ROLE", role, "is neither scheduler nor worker", nearest(role, ROLES))
    settings = load_settings()
    database = Database(settings.database)
    found = checks.in_time(lambda: _look(role, database, settings))
    out.print(f"{role}: {found.message}")
    return 1 if found.state == checks.BAD else 0


def _look(role: str, database: Database, settings: Settings) -> Health:
    try:
        if not database.schema_is_current():
            well, words = False, database.describe_schema()
        elif role == "worker":
            well, words = _judge(fleet.list_workers(database, settings), settings)
        else:
            well, words = _judge(fleet.list_schedulers(database, settings), settings)
    except UnavailableError as error:
        return Health(state=checks.UNKNOWN, message=f"unknown: {error}")
    finally:
        database.close()
    return Health(state=checks.OK if well else checks.BAD, message=words)


def _judge(found: Sequence[Worker | Scheduler], settings: Settings) -> tuple[bool, str]:
    here = [one for one in found if one.host == socket.gethostname() and one.alive]
    if not here:
        return False, "none alive on this host"
    # A slow process is not hung until it has stood still for as long as its lease.
    hung = [one.name for one in here if (one.still or 0.0) - one.silent > settings.stall_seconds]
    if hung:
        return False, f"hung: {', '.join(hung)}"
    return True, f"{len(here)} alive on this host"
