"""Commands that maintain an installation: doctor, migrate, purge, compact."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Annotated, ClassVar
from urllib.parse import unquote, urlsplit

import typer

from cli.context import make_home, opened, out, print_json
from cli.options import MAX_ID, AsJson, with_groups
from db.console.postgresql.role import console_role, create_console_role
from db.database import Database
from db.ops import deletion, retention
from db.ops.conditions import Level
from db.ops.retention import Due
from jobs.errors import refuse
from jobs.formatting import counted, size
from jobs.settings import Retention, Settings, load_settings

MARKS = {
    Level.OK: "[green]ok  [/green]",
    Level.NOTE: "[cyan]note[/cyan]",
    Level.WARN: "[yellow]warn[/yellow]",
    Level.FAIL: "[red]FAIL[/red]",
}
NEVER = Retention(keep_days=0, keep_details_days=0)


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """Days to keep jobs and their details, in place of the settings'."""

    panel: ClassVar[str | None] = None

    keep_days: Annotated[
        float | None,
        typer.Option(help="Days in place of HEADWISE_KEEP_DAYS; 0 keeps them for ever."),
    ] = None
    keep_details_days: Annotated[
        float | None,
        typer.Option(help="Days in place of HEADWISE_KEEP_DETAILS_DAYS; 0 keeps them for ever."),
    ] = None

    def on_top_of(self, kept: Retention) -> Retention:
        """The settings' limits, with those that were given. Raises InputError."""
        given = {name: days for name, days in vars(self).items() if days is not None}
        for name, days in given.items():
            if not 0 <= days <= 36_500:
                option = f"--{name.replace('_', '-')}"
                raise refuse(option, days, "must be from 0 to 36,500", "0 keeps them for ever.")
        return replace(kept, **given)


def doctor(
    as_json: AsJson = False,
    create_role: Annotated[
        bool,
        typer.Option("--create-console-role", help="PostgreSQL: create the SQL console's role."),
    ] = False,
) -> int:
    """Check the installation: settings, folders, database, broker, device, packages."""
    from cli.doctor import examine

    settings = load_settings()
    if create_role:
        name = urlsplit(settings.console_url).username
        role = unquote(name) if name else None
        url = create_console_role(settings.database, secrets.token_urlsafe(24), role)
        out.print(f"HEADWISE_CONSOLE_URL={url}")
        return 0
    findings = examine(settings)
    if as_json:
        checks = [{**asdict(one), "ok": one.ok} for one in findings]
        print_json({"version": version("headwise"), "checks": checks})
    else:
        for finding in findings:
            out.print(f"{MARKS[finding.level]} {finding.name}: ", end="", markup=True)
            out.print(finding.detail)
    return 0 if all(finding.ok for finding in findings) else 1


def migrate(
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Migrate even if live workers are too old for the new schema."
        ),
    ] = False,
    console_role: Annotated[
        bool,
        typer.Option(
            "--console-role",
            help="PostgreSQL: also create the SQL console's role, with the name and the password "
            "in HEADWISE_CONSOLE_URL.",
        ),
    ] = False,
) -> None:
    """Migrate the database to this release, if it is older."""
    settings = load_settings()
    make_home(settings)
    database = Database(settings.database)
    try:
        database.migrate(force=force)
        if console_role:
            role, password = console_login(settings)
            create_console_role(settings.database, password, role)
        out.print(f"The database is ready: {database.describe_schema()}.")
    finally:
        database.close()


def console_login(settings: Settings) -> tuple[str, str]:
    """The role and the password in HEADWISE_CONSOLE_URL. Raises InputError."""
    url = urlsplit(settings.console_url)
    if not url.username or not url.password:
        role = console_role(unquote(urlsplit(settings.database).path.strip("/")) or "headwise")
        remedy = f"Write postgresql://{role}:password@host:5432/name."
        raise refuse("HEADWISE_CONSOLE_URL", None, "has no role and password", remedy)
    return unquote(url.username), unquote(url.password)


@with_groups
def purge(
    limits: LimitOptions,
    job: Annotated[
        int | None, typer.Option(help="Purge the details of this job, due or not.", max=MAX_ID)
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Remove what is listed. Without this option it is only listed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which jobs are due to be deleted and whose details to be purged; --yes does it."""
    with opened() as (settings, database):
        kept = limits.on_top_of(settings.retention)
        if job is not None:
            found = [retention.find_details(database, job)]
        else:
            found = retention.find_due(database, kept)
        if yes and job is not None:
            from scheduler.submission.control import control

            control(database, job, "purge")
        if yes:
            _remove(database, kept if job is None else NEVER)
    if as_json:
        print_json({"removed": yes, "jobs": [asdict(one) for one in found]})
    else:
        _show_due(found, removed=yes)


def compact() -> None:
    """Rewrite SQLite's file without free space; nothing else can write meanwhile."""
    with opened() as (_, database):
        before, after = deletion.compact(database)
    out.print(f"The database file shrank from {size(before)} to {size(after)}.")


def _remove(database: Database, kept: Retention) -> None:
    while retention.retain(database, kept, seconds=5.0):
        pass
    while deletion.is_pending(database):
        deletion.empty_jobs(database, seconds=5.0)
    while deletion.give_back(database, time.monotonic() + 5.0):
        pass


def _show_due(found: Sequence[Due], *, removed: bool) -> None:
    for one in found:
        what = "whole job" if one.whole else "details"
        name = f" {json.dumps(one.name, ensure_ascii=False)}" if one.name else ""
        out.print(f"job {one.job_id}{name}: {what}, {_amount([one])}")
    if not found:
        out.print("Nothing is due.")
    elif removed:
        out.print(f"Removed {_amount(found)}.")
    else:
        out.print(f"{_amount(found)}. Nothing was removed; --yes removes it.")


def _amount(found: Sequence[Due]) -> str:
    rows, bytes_ = sum(one.rows for one in found), sum(one.size for one in found)
    return f"{counted(rows, 'row')}, about {size(bytes_)}"
