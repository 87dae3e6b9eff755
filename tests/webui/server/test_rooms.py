"""Rooms for kinds of requests, and the budget of their bodies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from flask import Flask

from tests.webui.server.conftest import Site
from tests.webui.server.raw_requests import head, wait_until
from webui.accounts.permissions import RULES
from webui.server.gateway import Gateway
from webui.server.rooms import Room
from webui.server.routes import ROOMS, WITH_FILES, RoomName


def test_every_endpoint_of_a_room_is_there(app: Flask) -> None:
    assert set(ROOMS) | WITH_FILES <= app.view_functions.keys()


def test_everything_that_draws_a_figure_shares_a_room(app: Flask) -> None:
    draws = {name for name in app.view_functions if name.startswith("figure_api.get_")}
    assert "figure_api.get_example_figure" in draws
    assert {ROOMS.get(name) for name in draws} == {RoomName.FIGURES}


def test_every_submission_shares_a_room(app: Flask) -> None:
    """It reads a model and tokenizes texts."""
    submitting = {name for name, rule in RULES.items() if rule.action == "submit"}
    assert {ROOMS.get(name) for name in submitting} == {RoomName.CHECKS}


def test_a_full_room_refuses_at_once_and_no_other_room_notices(
    make_site: Callable[..., Site],
) -> None:
    go = threading.Event()

    def add(app: Flask) -> None:
        app.view_functions["job_api.check_job"] = lambda: {"done": go.wait(30)}

    site = make_site(add)
    site.gateway._rooms[RoomName.CHECKS] = Room("few", threads=2, waiting=3, patience=30)
    answers: list[int] = []

    def ask() -> None:
        answers.append(site.get("/api/v1/check", "POST", body=b"{}").status)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: site.gateway._rooms[RoomName.CHECKS]._inside == 5)
    for _ in range(20):
        reply = site.get("/api/v1/check", "POST", body=b"{}")
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert "as many requests" in reply.problem["message"]
    assert site.get("/healthz").status == 200
    assert site.get("/metrics").status == 200
    assert site.get("/api/v1/jobs").status == 200
    go.set()
    for thread in threads:
        thread.join()
    assert answers == [200] * 5


def test_who_waits_too_long_is_refused(make_site: Callable[..., Site]) -> None:
    go = threading.Event()

    def add(app: Flask) -> None:
        app.view_functions["job_api.check_job"] = lambda: {"done": go.wait(30)}

    site = make_site(add)
    site.gateway._rooms[RoomName.CHECKS] = Room("few", threads=1, waiting=3, patience=0.2)
    first = threading.Thread(target=lambda: site.get("/api/v1/check", "POST", body=b"{}"))
    first.start()
    wait_until(lambda: site.gateway._rooms[RoomName.CHECKS]._inside == 1)
    assert site.get("/api/v1/check", "POST", body=b"{}").status == 503
    go.set()
    first.join()


def test_healthz_answers_while_every_thread_is_taken(make_site: Callable[..., Site]) -> None:
    go = threading.Event()

    def add(app: Flask) -> None:
        for endpoint in ("jobs.index", "ops.readyz", "ops.metrics"):
            app.view_functions[endpoint] = lambda: {"done": go.wait(30)}

    site = make_site(add)
    threads = [
        threading.Thread(target=site.get, args=(path,))
        for path in ("/", "/readyz", "/metrics")
        for _ in range(15)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: site.gateway._rooms[RoomName.OPERATORS]._inside == 30)
    wait_until(lambda: site.gateway._rooms[RoomName.PAGES]._inside == 15)
    for _ in range(10):
        assert site.get("/healthz").status == 200
    go.set()
    for thread in threads:
        thread.join()


def test_bodies_together_are_bounded(site: Site) -> None:
    site.gateway._bodies._left = 1 << 20
    held = []
    for _ in range(2):
        one = site.connect()
        one.sendall(head("POST", "/api/v1/uploads", b"Content-Length: 1500000\r\n"))
        one.sendall(b"x" * 600_000)
        held.append(one)
    (answer,) = [one for one in held if _has_answer(one)]
    assert answer.recv(12) == b"HTTP/1.1 503"
    for one in held:
        one.close()
    wait_until(lambda: site.gateway._bodies._left == 1 << 20)


def _has_answer(one: socket.socket) -> bool:
    one.settimeout(3)
    try:
        return bool(one.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False


def test_the_gateway_closes_its_rooms(app: Flask) -> None:
    Gateway(app).close()
