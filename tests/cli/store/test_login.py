"""login, logout and whoami: which server commands speak to, and where its token is kept."""

from __future__ import annotations

import io
import json
import os
import pty
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.store import logins
from db.accounts import accounts, tokens
from db.accounts.tokens import Scope
from db.database import Database
from jobs.settings import load_settings
from tests.cli.conftest import Headwise, Ran
from tests.cli.store.test_errors import serving
from tests.helpers.apps import new_app
from tests.helpers.databases import execute
from tests.webui.accounts.people import Lab, open_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with open_lab(tmp_path_factory.mktemp("lab")) as lab:
        lab.add("Ada")
        yield lab


@pytest.fixture
def secret(lab: Lab) -> str:
    return made(lab, "submit")


def made(lab: Lab, scope: str, days: float | None = 1) -> str:
    account = accounts.get(lab.database, "ada")
    return tokens.make(lab.database, account, "test", Scope(scope), days)[1]


@pytest.fixture
def typed(headwise: Headwise, monkeypatch: pytest.MonkeyPatch) -> Headwise:
    """Runs a command whose standard input has its first argument."""

    def run(given: str, *arguments: str) -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        return headwise(*arguments)

    return run


def test_commands_work_on_the_server_until_logout(
    headwise: Headwise, typed: Headwise, lab: Lab, secret: str, tmp_path: Path
) -> None:
    job = lab.job("ada")
    assert headwise("jobs", "--json").json == []
    assert headwise("whoami").out.startswith("This machine's database, as ")
    ran = typed(f"{secret}\n", "login", f"{lab.address}/", "--token-stdin")
    assert ran.status == 0, ran.err
    first, second = ran.out.splitlines()
    rights = "with the rights of a member, by a token with the scope submit until "
    assert first.startswith(f"{lab.address}: Ada, {rights}")
    assert (
        second == "The Jobs and Results commands now use this server; `headwise logout` ends that."
    )
    assert job in [one["id"] for one in headwise("jobs", "--json").json]
    assert headwise("--local", "jobs", "--json").json == []
    assert headwise("whoami").out == f"{first}\n"
    found = headwise("whoami", "--json").json
    assert (found["server"], found["user"], found["scope"]) == (lab.address, "ada", "submit")
    place = tmp_path / "config/headwise/servers.json"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert [one.name for one in place.parent.iterdir()] == [place.name]
    assert secret not in ran.out + ran.err + headwise("whoami", "--json").out
    ran = headwise("logout")
    assert ran.out.startswith(f"Logged out of {lab.address}.\nIts token is forgotten here")
    assert secret not in place.read_text()
    assert headwise("jobs", "--json").json == []
    assert "URL: you are not logged in" in headwise("logout").err


def test_a_wrong_token_is_not_kept(typed: Headwise, lab: Lab) -> None:
    for given, words in (
        ("hw_wrong\n", "the token is unknown, revoked or expired"),
        ("\n", "token: is missing on standard input"),
        ("hw_ü\n", "token: has characters that no token has"),
    ):
        ran = typed(given, "login", lab.address, "--token-stdin")
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert words in ran.err
        assert "hw_" not in ran.err
    assert not logins.path().exists()
    ran = typed("", "login", lab.address)
    assert "token: is asked for on a terminal. Use --token-stdin" in ran.err


def test_a_token_of_the_environment_is_checked(
    headwise: Headwise, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWISE_TOKEN", "hw_ü")
    ran = headwise("--server", lab.address, "jobs")
    assert ran.err.startswith("headwise: HEADWISE_TOKEN: has characters that no token has")
    assert "hw_" not in ran.err


def test_several_servers(
    headwise: Headwise, typed: Headwise, lab: Lab, secret: str, store: Database
) -> None:
    assert typed(secret, "login", lab.address, "--token-stdin").status == 0
    app = new_app(load_settings())
    with serving(app) as open_to_all:
        ran = headwise("login", open_to_all)  # asks for no token
        assert ran.out.startswith(f"{open_to_all}: sign-in is not required; you are local.\n")
        assert logins.read().tokens == {lab.address: secret, open_to_all: ""}
        assert f"Also logged in to {lab.address}" in headwise("whoami").out
        assert headwise("jobs", "--json").json == []
        assert headwise("login", lab.address).status == 0  # with the token that is known
        assert headwise("whoami", "--json").json["server"] == lab.address
        assert headwise("--server", open_to_all, "whoami", "--json").json["role"] == "admin"
        assert headwise("logout", open_to_all).out == f"Logged out of {open_to_all}.\n"
        assert headwise("whoami", "--json").json["server"] == lab.address
        ran = headwise("logout", open_to_all)
        assert "is not a server that you are logged in to" in ran.err
        assert lab.address in ran.err
    app.extensions["headwise"].database.close()


def test_the_environment_is_for_scripts(
    headwise: Headwise, typed: Headwise, lab: Lab, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWISE_SERVER", f"{lab.address}/")
    monkeypatch.setenv("HEADWISE_TOKEN", secret)
    assert headwise("whoami", "--json").json["scope"] == "submit"
    assert not logins.path().exists()
    monkeypatch.delenv("HEADWISE_SERVER")
    assert typed(made(lab, "read"), "login", lab.address, "--token-stdin").status == 0
    assert headwise("whoami", "--json").json["scope"] == "submit"  # that of the environment
    monkeypatch.delenv("HEADWISE_TOKEN")
    assert headwise("whoami", "--json").json["scope"] == "read"
    monkeypatch.setenv("HEADWISE_SERVER", "lab")
    assert headwise("jobs").err.startswith("headwise: HEADWISE_SERVER: is not the address")
    assert headwise("--local", "jobs").status == 0


def test_a_token_goes_to_its_own_server_alone(
    headwise: Headwise, lab: Lab, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def listening(environ: dict[str, str], start: object) -> list[bytes]:
        sent.append(environ.get("HTTP_AUTHORIZATION"))
        start("301 Moved", [("Location", f"{lab.address}/api/v1/jobs")])  # type: ignore[operator]
        return [b""]

    monkeypatch.setenv("HEADWISE_SERVER", lab.address)
    monkeypatch.setenv("HEADWISE_TOKEN", secret)
    with serving(listening) as other:
        assert "leads to" in headwise("--server", other, "jobs").err
    assert sent == [None]


def test_files_that_others_may_read_or_that_are_broken(
    headwise: Headwise, typed: Headwise, lab: Lab, secret: str
) -> None:
    assert typed(secret, "login", lab.address, "--token-stdin").status == 0
    place = logins.path()
    place.chmod(0o640)
    ran = headwise("jobs")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert f"{place} has tokens, and others may read it: `chmod 600 {place}`" in ran.err
    place.chmod(0o600)
    for broken in ("{", "[]", '{"current": "http://x", "servers": {}}', '{"servers": 1}'):
        place.write_text(broken)
        ran = headwise("jobs")
        assert (ran.status, ran.err.count("\n")) == (2, 1)
        assert "Remove it, and `headwise login` again." in ran.err
    assert headwise("--local", "jobs").status == 0
    place.unlink()
    place.mkdir()
    assert headwise("jobs").status == 2


def test_the_token_is_asked_for_without_an_echo(lab: Lab, secret: str, home: Path) -> None:
    """On a terminal of its own."""
    controller, terminal = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "login", lab.address],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "TERM": "dumb"},
    )
    os.close(terminal)
    shown = b""
    while b"Token" not in shown.rpartition(b"\n")[2]:
        shown += os.read(controller, 1_000)
    assert f"{lab.address}/account".encode() in shown
    while termios.tcgetattr(controller)[3] & termios.ECHO:  # what is typed before is thrown away
        time.sleep(0.01)
    os.write(controller, f"{secret}\n".encode())
    while True:
        try:
            more = os.read(controller, 1_000)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        shown += more
    assert running.wait(60) == 0, shown
    os.close(controller)
    assert secret.encode() not in shown
    assert json.loads(logins.path().read_text())["current"] == lab.address
    execute(lab.database, "DELETE FROM token")
