"""The API asked for all that its document allows, and for what it does not, by schemathesis.

A real server answers: no 5xx, no answer that the document does not describe, none that takes what
the document forbids, no page. Operations follow each other where one names what another made.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from db.console.postgresql.role import create_console_role
from db.database import Database
from jobs.settings import load_settings
from tests.fuzz.report import Report
from tests.fuzz.siege import serving
from tests.helpers.databases import PostgresDatabases, sqlalchemy_url
from tests.helpers.inputs import model_folder
from tests.webui.seed import seed_job

PHASES = "examples,coverage,fuzzing,stateful"
UNCHECKED = "positive_data_acceptance,ensure_resource_availability"
"""A request that fits the document may still name a file or a job that is not there; and what a
number in an answer is the number of, schemathesis guesses."""
START_SECONDS = 600
"""For schemathesis to begin and to end, beyond the time it is given."""
REFUSED = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 428, 429, 431, 503]
"""Statuses that refuse a request; schemathesis by itself does not count what is too large."""
REQUEST_SECONDS = 120
"""For an answer, which a busy machine delays."""
CONFIG = f"""
[checks.negative_data_rejection]
expected-statuses = {REFUSED}

[dictionaries.numbers]
values = [1, 2, 3]

[parameters]
"""
NAMED = ("job_id", "example_no", "study", "number", "trigger_no", "layer", "head")
"""Parts of paths that are numbers of something that is there."""


@contextmanager
def served(folder: Path, database_url: str = "") -> Iterator[int]:
    """A dashboard over a database with jobs of every kind of state; gives its port."""
    folder.mkdir(exist_ok=True)
    more = {"database_url": database_url} if database_url else {}
    database = Database(load_settings({}, home=folder, **more).database)
    database.migrate()
    model_folder(folder / "model")
    seed_job(database)
    seed_job(database, done=6, state="running")
    database.close()
    environment = {}
    if database_url:
        environment = {
            "HEADWISE_DATABASE_URL": database_url,
            "HEADWISE_CONSOLE_URL": create_console_role(database_url, secrets.token_hex(8)),
        }
    with serving(folder, HF_HUB_OFFLINE="1", **environment) as (port, _):
        yield port


def fuzz(
    report: Report,
    port: int,
    folder: Path,
    seed: int,
    seconds: float,
    document: Mapping[str, Any] | None = None,
    phases: str = PHASES,
) -> None:
    """Let schemathesis ask a dashboard for some seconds; without the phases that repeat, for less.

    document: what is held against its answers, if not its own document
    """
    config, found = folder / "schemathesis.toml", folder / "report.json"
    bound = (f'"path.{name}" = {{ dictionary = "numbers", probability = 0.8 }}' for name in NAMED)
    config.write_text(CONFIG + "\n".join(bound) + "\n", encoding="utf-8")
    address = f"http://127.0.0.1:{port}"
    where = [f"{address}/api/v1/openapi.json"]
    if document is not None:
        (folder / "document.json").write_text(json.dumps(document), encoding="utf-8")
        where = [str(folder / "document.json"), "--url", address]
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"),
        *where,
        *("--max-time", str(max(1, round(seconds))), "--seed", str(seed), "--phases", phases),
        *("--request-timeout", str(REQUEST_SECONDS)),
        *("--exclude-checks", UNCHECKED, "--continue-on-failure", "--no-color"),
        *("--report", "json", "--report-json-path", str(found)),
    ]
    ended = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds + START_SECONDS,
        check=False,
    )
    if not found.exists():
        report.broken.append(
            f"schemathesis did not run: {ended.stdout[-2000:]}{ended.stderr[-500:]}"
        )
        return
    outcome = json.loads(found.read_text(encoding="utf-8"))
    report.inputs += outcome["test_cases"]["generated"]
    report.outcomes["operations asked"] += outcome["operations"]["tested"]
    report.outcomes["operations not asked"] += (
        outcome["operations"]["total"] - outcome["operations"]["tested"]
    )
    report.broken += [json.dumps(one)[:2000] for one in outcome["failures"]]
    if ended.returncode and not report.broken:
        report.broken.append(ended.stdout[-3000:])


def run(seed: int, seconds: float) -> Report:
    """Ask over SQLite for half of the time, and over PostgreSQL where `TEST_POSTGRES` names one."""
    report = Report(part="contract")
    server = os.environ.get("TEST_POSTGRES", "").replace("postgresql+psycopg:", "postgresql:")
    server = server.removesuffix("/postgres")
    with tempfile.TemporaryDirectory(prefix="headwise-fuzz-") as made:
        folder = Path(made)
        with served(folder / "sqlite") as port:
            fuzz(report, port, folder, seed, seconds / 2 if server else seconds)
        if server:
            with postgresql(server) as url, served(folder / "postgresql", url) as port:
                fuzz(report, port, folder, seed, seconds / 2)
    return report


@contextmanager
def postgresql(server: str) -> Iterator[str]:
    """The address of a database of its own on a server."""
    databases = PostgresDatabases(server)
    try:
        with databases.migrated() as name:
            yield sqlalchemy_url(server, name)
    finally:
        databases.close()
