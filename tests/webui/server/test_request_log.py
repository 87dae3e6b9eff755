"""Every request is a log line, which names it as its answer does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from flask import Flask, Response, g
from structlog.testing import capture_logs

from db.accounts.accounts import Account
from jobs.people import Role
from tests.webui.server.conftest import Reply, Site
from webui.accounts.person import Person

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def logged(site: Site, path: str, method: str = "GET", **options: Any) -> tuple[Reply, Any]:
    """An answer and the line about it, which is logged a moment after the last byte."""
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        reply = site.get(path, method, **options)
        while not (found := [line for line in lines if line["event"] == "request"]):
            pass
    return reply, found[0]


def test_a_line_says_what_was_asked_and_answered(site: Site) -> None:
    reply, line = logged(site, "/jobs/99?secret=hunter2", headers={"Accept": "text/html"})
    assert (line["method"], line["path"], line["status"]) == ("GET", "/jobs/99", 404)
    assert line["bytes"] == len(reply.body)
    assert line["client"] == "127.0.0.1"
    assert 0 < line["seconds"] < 60
    assert line["request"] == reply.headers["x-request-id"]
    assert len(line["request"]) == 32
    assert "hunter2" not in str(line)
    assert {"user", "trace"} & line.keys() == set()


@pytest.mark.parametrize("prefix", ["/welcome/", "/sql/link/", "/api/v1/sql/link/"])
def test_secrets_of_addresses_are_not_in_the_line(site: Site, prefix: str) -> None:
    _, line = logged(site, f"{prefix}hunter2?next=hunter2", headers={"Accept": "text/html"})
    assert line["path"] == f"{prefix}…"
    assert "hunter2" not in str(line)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("7f3a-1.b:c_D", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("two words", False),
        ("-dash", False),
        ("é", False),
        ("", False),
    ],
)
def test_an_id_of_the_client_is_taken_if_it_is_well_formed(
    site: Site, given: str, taken: bool
) -> None:
    headers = {"X-Request-ID": given.encode("latin-1")}
    reply, line = logged(site, "/", headers=headers)
    assert line["request"] == reply.headers["x-request-id"]
    assert (line["request"] == given) is taken


def test_lines_of_the_request_name_it_and_its_trace(make_site: Callable[..., Site]) -> None:
    def add(app: Flask) -> None:
        def stream() -> Response:
            structlog.get_logger().info("from the view")

            def pieces() -> Any:
                structlog.get_logger().info("from the stream")
                yield "x" * 10

            return Response(pieces())

        app.view_functions["jobs.index"] = stream

    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": "mine"}
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        site = make_site(add)
        site.get("/", headers=headers)
        site.get("/", headers={"traceparent": "00-zz-1-1", "X-Request-ID": "other"})
        while sum(line["event"] == "request" for line in lines) < 2:
            pass
    named = [(line["event"], line["request"], line.get("trace")) for line in lines]
    assert set(named) == {
        *((event, "mine", TRACE) for event in ("from the view", "from the stream", "request")),
        *((event, "other", None) for event in ("from the view", "from the stream", "request")),
    }


def test_health_and_assets_are_quiet_unless_they_fail(site: Site) -> None:
    levels = {path: logged(site, path)[1]["log_level"] for path in ("/healthz", "/metrics", "/")}
    assert levels == {"/healthz": "debug", "/metrics": "debug", "/": "info"}
    _, line = logged(site, "/metrics", headers={"Host": "evil.example"})
    assert (line["log_level"], line["status"]) == ("info", 400)


def test_an_internal_error_and_a_refusal_are_lines_too(make_site: Callable[..., Site]) -> None:
    def add(app: Flask) -> None:
        def broken() -> None:
            raise RuntimeError("boom")

        app.view_functions["jobs.index"] = broken

    site = make_site(add)
    _, line = logged(site, "/")
    assert (line["status"], line["log_level"]) == (500, "warning")
    _, line = logged(site, "/api/v1/jobs", "POST", body=b"x" * 3_000_000)
    assert line["status"] == 413


def test_the_signed_in_user_is_named(make_site: Callable[..., Site]) -> None:
    names: dict[str, Any] = {"name": "Ada", "folded": "ada", "role": Role.MEMBER}
    times: dict[str, Any] = {"created_at": 0.0, "signed_in_at": None}
    account = Account(id=1, password=None, disabled=False, **names, **times)

    def add(app: Flask) -> None:
        def mine() -> str:
            g.person = Person(**names, account=account)
            return "hers"

        app.view_functions["jobs.index"] = mine

    site = make_site(add)
    assert logged(site, "/")[1]["user"] == "Ada"
    assert "user" not in logged(site, "/jobs/new")[1]
