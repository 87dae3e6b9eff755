"""Compose's PostgreSQL: the role that Headwise connects as is made by its script, no superuser."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml

from db.console.console import Console
from db.console.postgresql.role import create_console_role
from db.database import Database
from jobs.settings import Settings
from tests.helpers.services import PostgreSQL, binary, running

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docker/postgres-init.sql"


@pytest.mark.services
def test_headwise_works_as_the_role_that_the_script_makes(tmp_path: Path) -> None:
    if missing := PostgreSQL.missing():
        pytest.skip(missing)
    secret = tmp_path / "postgres-password"
    secret.write_text("a'b\n")
    script = SCRIPT.read_text(encoding="utf-8")
    assert "/run/secrets/postgres-password" in script
    prepared = tmp_path / "init.sql"
    prepared.write_text(script.replace("/run/secrets/postgres-password", str(secret)))
    with running(PostgreSQL) as server:
        plain = server.replace("+psycopg", "")
        psql = [binary("psql") or "psql", plain, "--file", str(prepared)]
        subprocess.run(psql, check=True, capture_output=True)
        url = server.replace("//postgres@", "//headwise:a%27b@").replace("/postgres", "/headwise")
        database = Database(url)
        database.migrate()
        console = create_console_role(url, "secret")
        settings = Settings(home=tmp_path, database_url=url, console_url=console)
        assert Console(settings).run("SELECT COUNT(*) FROM jobs").rows == [(0,)]
        with psycopg.connect(plain) as connection:
            rights = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s"
            assert connection.execute(rights, ["headwise"]).fetchone() == (False, False, True)
            owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'headwise'"
            assert connection.execute(owner).fetchone() == ("headwise",)
        database.close()


def test_compose_runs_the_script_and_gives_headwise_its_role_only() -> None:
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
    postgres = compose["services"]["postgres"]
    place = "/docker-entrypoint-initdb.d/headwise.sql:ro"
    assert f"./{SCRIPT.name}:{place}" in postgres["volumes"]
    assert "POSTGRES_USER" not in postgres["environment"]
    for name, service in compose["services"].items():
        assert ("postgres-superuser" in service.get("secrets", [])) == (name == "postgres")
