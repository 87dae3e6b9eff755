"""A real dashboard with sign-in, and browsers that speak with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from db.accounts import accounts
from db.accounts.accounts import Account
from db.database import Database
from db.queue import recurring
from jobs.people import Role, fold
from tests.helpers.databases import execute
from tests.helpers.services import await_port
from tests.helpers.stack import Stack
from tests.webui import seed

PASSWORD = "correct horse battery"


class Lab:
    """A dashboard in a process of its own; its settings ask people to sign in."""

    def __init__(self, home: Path, *, database_url: str = "", **settings: object) -> None:
        given = {"auth": "password", **settings}
        self.stack = Stack(home, database_url=database_url, **given)
        self.database = self.stack.database
        self.address = f"http://127.0.0.1:{self.stack.settings.port}"
        self.clients: list[httpx2.Client] = []
        self.stack.start("web")
        await_port(self.stack.settings.port)

    def add(self, name: str, role: str = "member", password: str = PASSWORD) -> Account:
        """An account with a password."""
        account = accounts.add(self.database, name, Role(role))
        accounts.set_password(self.database, account, password)
        return accounts.get(self.database, name)

    def browser(self, **headers: str) -> httpx2.Client:
        """A browser that nobody has signed in with; redirects are not followed."""
        own = {"Origin": self.address, "Accept": "text/html", **headers}
        return self._client(own)

    def signed_in(self, name: str, password: str = PASSWORD) -> httpx2.Client:
        """A browser in which somebody is signed in."""
        browser = self.browser()
        answer = sign_in(browser, name, password)
        assert answer.status_code == 303, answer.text
        return browser

    def program(self, token: str) -> httpx2.Client:
        """A program with a token."""
        return self._client({"Authorization": f"Bearer {token}"})

    def _client(self, headers: dict[str, str]) -> httpx2.Client:
        client = httpx2.Client(base_url=self.address, headers=headers, timeout=60, trust_env=False)
        self.clients.append(client)
        return client

    def close_clients(self) -> None:
        """Close the connections of every client."""
        while self.clients:
            self.clients.pop().close()

    def job(self, user: str, state: str = "succeeded") -> int:
        """A job of this user."""
        return owned_job(self.database, user, state)

    def recurring(self, user: str) -> int:
        """A recurring job of this user, which is not due for long."""
        values = {"name": "r", "user_name": user, "cron": "0 0 1 1 *", "zone": "UTC"}
        times = {"paused": False, "next_at": 4e9, "retry_at": 0.0}
        return recurring.add(self.database, {**values, "submission": "{}", **times})

    def log(self, action: str) -> list[Any]:
        """User, object and detail of the audit log's entries of an action."""
        query = f"SELECT user_name, object, detail FROM audit WHERE action = '{action}' ORDER BY id"
        return self.stack.rows(query)


@contextmanager
def open_lab(home: Path, **settings: Any) -> Iterator[Lab]:
    """A dashboard until the end of the block."""
    lab = Lab(home, **settings)
    try:
        yield lab
    finally:
        lab.close_clients()
        lab.stack.stop()


def sign_in(browser: httpx2.Client, name: str, password: str, **form: str) -> httpx2.Response:
    """Send the form of the sign-in page."""
    return browser.post("/sign-in", data={"name": name, "password": password, **form})


def owned_job(database: Database, user: str, state: str = "succeeded") -> int:
    """A job with results, of this user."""
    done = None if state == "succeeded" else 0
    job = seed.seed_job(database, examples=2, done=done, state=state, name=f"of {user}")
    execute(database, "UPDATE job SET user_name = :name WHERE id = :id", name=fold(user), id=job)
    return job
