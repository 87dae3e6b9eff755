"""E-mail through a real mail server: what arrives, and what the person sees where it does not."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from email.header import decode_header, make_header
from pathlib import Path
from urllib.parse import quote

import pytest

from db.database import Database
from db.ops import notifications
from db.ops.notifications import MAX_TRIES, Notification
from jobs.notifications import parse_recipient
from jobs.settings import Settings
from scheduler.notifications import sending
from scheduler.notifications.delivery import Notifier
from tests.helpers.apps import new_app
from tests.helpers.databases import execute, sqlite_database
from tests.helpers.mail_server import ANSWERS, HANGS, PASSWORD, SPAM, USER, mail_server

SENDER = "headwise@example.org"
TEXT = "This is a test: ann will be notified of every job and study."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A mail server's folder and port."""
    folder = tmp_path_factory.mktemp("mail")
    with mail_server(folder) as port:
        yield folder, port


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = sqlite_database(tmp_path / "headwise.sqlite")
    yield database
    database.close()


@pytest.fixture
def settings(
    settings: Settings,
    database: Database,
    served: tuple[Path, int],
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """No network is allowed: the mail server is the administrator's own."""
    folder, port = served
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    url = mail_url(port)
    return settings.model_copy(update={"mail_url": url, "database_url": database.url})


def mail_url(port: int, password: str = PASSWORD, scheme: str = "mailtos") -> str:
    return f"{scheme}://{USER}:{quote(password, safe='')}@127.0.0.1:{port}?from={SENDER}"


def told(settings: Settings, database: Database, name: str) -> Notification:
    """The outcome of a test message to NAME@example.org."""
    new = parse_recipient({"name": name, "address": f"{name}@example.org"})
    shown = sending.describe(new, settings)
    assert shown == ("E-mail", f"{name}@example.org")
    notifications.write_test(database, notifications.add(database, new, "", *shown))
    return again(settings, database)


def again(settings: Settings, database: Database) -> Notification:
    """The outcome of the next try, which is due now."""
    execute(database, "UPDATE notification SET due_at = 0 WHERE state = 'waiting'")
    assert Notifier(settings, database).round() == 1
    return notifications.list_notifications(database)[0]


def page(settings: Settings) -> str:
    return new_app(settings).test_client().get("/notifications").text


def arrived(folder: Path, name: str) -> list[mailbox.MaildirMessage]:
    """The messages that the server keeps for a recipient."""
    box = mailbox.Maildir(folder / "mail", create=False)
    return [one for one in box if one["X-RcptTo"] == f"{name}@example.org"]


def test_mail_is_sent_over_tls_with_a_password(
    settings: Settings, database: Database, served: tuple[Path, int]
) -> None:
    row = told(settings, database, "ann")
    assert (row.state, row.tries, row.error) == ("sent", 1, None)
    [mail] = arrived(served[0], "ann")
    assert (mail["X-MailFrom"], mail["To"]) == (SENDER, "ann@example.org")
    assert str(make_header(decode_header(mail["Subject"]))) == f"Headwise: {TEXT}"
    assert mail.get_content_type() == "text/plain"
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert body.decode().splitlines()[:2] == [TEXT, settings.address]
    assert ">sent</span>" in page(settings)


def test_a_recipient_that_the_server_refuses_is_final(
    settings: Settings, database: Database
) -> None:
    row = told(settings, database, "nobody")
    error = f"the mail server refused nobody@example.org: {ANSWERS['nobody']}"
    assert (row.state, row.tries, row.error) == ("failed", 1, error)
    assert error in page(settings)


def test_a_message_that_the_server_refuses_is_final(settings: Settings, database: Database) -> None:
    row = told(settings, database, SPAM)
    error = "the mail server answered 554 5.7.1 This looks like spam"
    assert (row.state, row.tries, row.error) == ("failed", 1, error)


def test_a_busy_server_is_tried_again(settings: Settings, database: Database) -> None:
    row = told(settings, database, "busy")
    error = f"the mail server refused busy@example.org: {ANSWERS['busy']}"
    assert (row.state, row.tries, row.error) == ("waiting", 1, error)
    row = again(settings, database)
    assert (row.state, row.tries, row.error) == ("waiting", 2, error)


def test_a_wrong_password_is_told_and_mended(
    settings: Settings, database: Database, served: tuple[Path, int]
) -> None:
    wrong = settings.model_copy(update={"mail_url": mail_url(served[1], "secret")})
    row = told(wrong, database, "bob")
    assert (row.state, row.tries) == ("waiting", 1)
    assert row.error is not None
    assert row.error.startswith("the mail server refused user or password: 535 5.7.8")
    assert "secret" not in row.error
    shown = page(wrong)
    assert "refused user or password" in shown
    assert "again at" in shown
    row = again(settings, database)
    assert (row.state, row.tries, row.error) == ("sent", 2, None)
    assert len(arrived(served[0], "bob")) == 1


def test_a_server_that_hangs_is_left_and_tried_again_until_given_up(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 1.0)
    row = told(settings, database, HANGS)
    assert (row.state, row.tries) == ("waiting", 1)
    assert row.error is not None
    assert row.error.startswith("the mail server cannot be used: ")
    assert row.error.endswith("timed out")
    assert row.error in page(settings)
    execute(database, "UPDATE notification SET tries = :n", n=MAX_TRIES - 1)
    row = again(settings, database)
    assert (row.state, row.tries) == ("failed", MAX_TRIES)


def test_a_process_that_does_not_end_is_killed(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.1)
    row = told(settings, database, HANGS)
    assert (row.state, row.error) == ("waiting", "there was no answer within 0.1 s")


def test_passwords_are_not_sent_to_a_server_without_a_trusted_certificate(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    row = told(settings, database, "ann")
    assert (row.state, row.tries) == ("waiting", 1)
    assert row.error is not None
    assert "certificate verify failed" in row.error


def test_a_server_that_wants_tls_is_told_so_without_it(
    settings: Settings, database: Database, served: tuple[Path, int]
) -> None:
    open_url = mail_url(served[1], scheme="mailto")
    row = told(settings.model_copy(update={"mail_url": open_url}), database, "ann")
    assert row.state == "waiting"
    assert row.error is not None
    assert row.error.startswith("the mail server")


def test_a_mail_server_that_a_person_names_is_held_to_the_allowed_networks(
    settings: Settings, database: Database, served: tuple[Path, int]
) -> None:
    address = f"{mail_url(served[1])}&to=eve@example.org"
    new = parse_recipient({"name": "eve", "address": address})
    shown = sending.describe(new, settings)
    assert "p%40ss" not in shown[1]
    notifications.write_test(database, notifications.add(database, new, "", *shown))
    row = again(settings, database)
    assert row.state == "failed"
    assert "127.0.0.1 is a private address" in (row.error or "")
    assert arrived(served[0], "eve") == []
