"""Real sockets against the real server: deadlines, budgets, rooms."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask, Response, request

from tests.webui.server.conftest import Site, read_all
from webui.server import connections, gateway
from webui.server.gateway import Gateway
from webui.server.rooms import Room
from webui.server.routes import ROOMS, SMALL_BODY, WITH_FILES, RoomName
from webui.server.serve import compile_templates

CHUNK = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
JSON = b"Content-Type: application/json\r\n"


def head(method: str, path: str, headers: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers + b"\r\n"


def chunked(site: Site, path: str, first: bytes, headers: bytes = b"") -> bytes:
    """The answer to a chunked body of up to 20 MB, sent until the server has enough."""
    with site.connect() as one:
        one.sendall(head("POST", path, b"Transfer-Encoding: chunked\r\n" + headers))
        one.sendall(f"{len(first):x}\r\n".encode() + first + b"\r\n")
        try:
            for _ in range(640):
                one.sendall(CHUNK)
            one.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the server has closed the connection; its answer is there
        return read_all(one)


def test_every_endpoint_of_a_room_is_there(app: Flask) -> None:
    assert set(ROOMS) | WITH_FILES <= app.view_functions.keys()


def test_pages_assets_and_errors_are_served(site: Site) -> None:
    assert site.get("/healthz").body == b'{"status":"ok"}\n'
    page = site.get("/", headers={"Accept": "text/html"})
    assert page.status == 200
    assert b"Headwise" in page.body
    assert "content-security-policy" in page.headers
    assert site.get("/api/v1/jobs").status == 200
    assert site.get("/nothing").status == 404
    assert site.get("/api/v1/jobs", method="HEAD").body == b""
    assert site.get("/healthz", headers={"Host": "evil.example"}).status == 400


def test_a_stream_arrives_whole(make_site: Callable[..., Site]) -> None:
    pieces = [bytes([65 + i % 26]) * (i * 1000) for i in range(60)]

    def add(app: Flask) -> None:
        @app.get("/stream")
        def stream() -> Response:
            return Response(iter(pieces), mimetype="text/csv")

    assert make_site(add).get("/stream").body == b"".join(pieces)


def test_what_a_request_says_reaches_the_application(make_site: Callable[..., Site]) -> None:
    def add(app: Flask) -> None:
        @app.post("/echo/<path:name>")
        def echo(name: str) -> dict[str, Any]:
            return {
                "name": name,
                "query": request.args["q"],
                "body": request.get_data(as_text=True),
                "length": request.content_length,
                "header": request.headers.get("X-One"),
                "address": request.remote_addr,
                "forged": request.headers.get("X-Two"),
            }

    body = "é" * 100_000
    headers = {"X-One": "1", "X_Two": "2"}
    reply = make_site(add).get(
        "/echo/%C3%A9%2F?q=%C3%BC", "POST", body=body.encode(), headers=headers
    )
    assert json.loads(reply.body) == {
        "name": "é/",
        "query": "ü",
        "body": body,
        "length": 200_000,
        "header": "1",
        "address": "127.0.0.1",
        "forged": None,
    }


@pytest.mark.parametrize(
    ("path", "first", "headers", "limit"),
    [
        ("/api/v1/check", b'{"spec": "', JSON, "1 MB"),
        ("/api/v1/jobs", b'{"spec": "', JSON, "1 MB"),
        ("/api/v1/nothing", b"{", JSON, "1 MB"),
        (
            "/api/v1/uploads",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n',
            b"Content-Type: multipart/form-data; boundary=b\r\n",
            "1 MB that an upload may have",
        ),
    ],
)
def test_chunks_have_the_limit_of_their_address(
    site: Site, path: str, first: bytes, headers: bytes, limit: str
) -> None:
    answer = chunked(site, path, first, headers)
    assert answer.startswith(b"HTTP/1.1 413 ")
    (problem,) = json.loads(answer.partition(b"\r\n\r\n")[2])["problems"]
    assert limit in problem["message"]
    assert problem["remedy"]


def test_a_page_tells_of_a_long_form_in_html(site: Site) -> None:
    for path in ("/sql", "/jobs/new", "/explain"):
        form = b"Content-Type: application/x-www-form-urlencoded\r\nAccept: text/html\r\n"
        answer = chunked(site, path, b"q=", form)
        assert answer.startswith(b"HTTP/1.1 413 "), path
        assert b"text/html" in answer
        assert b" MB that " in answer


def test_a_declared_length_over_the_limit_is_refused_before_the_body(site: Site) -> None:
    declared = f"Content-Length: {SMALL_BODY + 1}\r\n".encode()
    with site.connect() as one:
        one.sendall(head("POST", "/api/v1/check", JSON + declared))
        assert one.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


def test_a_field_over_the_limit_of_fields_is_refused(site: Site) -> None:
    field = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n' + b"x" * (SMALL_BODY + 9)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = site.get("/jobs/new", "POST", body=field + b"\r\n--b--\r\n", headers=headers)
    assert reply.status == 413
    assert b"a field of the form is larger than 1 MB" in reply.body


@pytest.mark.usefixtures("impatient")
def test_a_body_shorter_than_declared_is_timed_out(site: Site) -> None:
    answer = site.raw(head("POST", "/api/v1/check", JSON + b"Content-Length: 100\r\n") + b"{}")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive in time" in answer


@pytest.mark.usefixtures("impatient")
def test_a_body_longer_than_declared_is_no_part_of_it(site: Site) -> None:
    sent = head("POST", "/api/v1/check", JSON + b"Content-Length: 2\r\n") + b"{}" + b"x" * 50
    assert b"413" not in site.raw(sent).partition(b"\r\n")[0]


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"2\r\nContent-Length: 3", b"x"])
def test_a_length_that_is_none_is_refused(site: Site, length: bytes) -> None:
    sent = head("POST", "/api/v1/check", b"Content-Length: " + length + b"\r\n") + b"{}"
    assert site.raw(sent).startswith(b"HTTP/1.1 400 ")


@pytest.mark.usefixtures("impatient")
def test_heads_that_drip_are_closed_and_stop_nobody(site: Site) -> None:
    slow = [site.connect() for _ in range(100)]
    closed = 0
    for byte in b"GET / HTTP/1.1\r\nHost: l"[:22]:
        for one in slow:
            try:
                one.send(bytes([byte]))
            except OSError:
                closed += 1
        assert site.get("/healthz").status == 200
        if closed >= len(slow):
            break
        time.sleep(0.15)
    for one in slow:
        one.settimeout(5)
        with suppress(ConnectionError):
            assert one.recv(1 << 16)[:12] in (b"", b"HTTP/1.1 408")
        one.close()
    assert closed >= len(slow)


@pytest.mark.usefixtures("impatient")
def test_a_connection_without_a_request_is_closed(site: Site) -> None:
    with site.connect() as one:
        assert one.recv(100) in (b"", connections.LATE[:100])


@pytest.mark.usefixtures("impatient")
def test_bodies_that_drip_are_closed_and_stop_nobody(site: Site) -> None:
    slow = [site.connect() for _ in range(80)]
    for one in slow:
        one.sendall(head("POST", "/api/v1/uploads", b"Content-Length: 900000\r\n"))
    for _ in range(12):
        for one in slow:
            try:
                one.send(b"x")
            except OSError:
                continue
        assert site.get("/api/v1/jobs").status == 200
        time.sleep(0.15)
    for one in slow:
        assert one.recv(12) == b"HTTP/1.1 408"
        one.close()


def wait_until(check: Callable[[], bool]) -> None:
    for _ in range(1000):
        if check():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


@pytest.mark.usefixtures("impatient")
def test_slow_readers_hold_no_thread_and_are_closed(make_site: Callable[..., Site]) -> None:
    closed = threading.Semaphore(0)

    def add(app: Flask) -> None:
        @app.get("/stream")
        def stream() -> Response:
            def pieces() -> Iterator[bytes]:
                for _ in range(10_000):
                    yield b"x" * 60_000

            response = Response(pieces(), mimetype="text/csv")
            response.call_on_close(closed.release)
            return response

        @app.get("/large")
        def large() -> bytes:
            return b"x" * 8_000_000

    site = make_site(add)
    slow = []
    for path in ["/stream"] * 4 + ["/large"] * 20:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", site.port))
        one.sendall(head("GET", path))
        one.recv(10)
        slow.append(one)
    assert site.get("/api/v1/jobs").status == 200
    for _ in range(4):
        assert closed.acquire(timeout=20)
    wait_until(lambda: not site.server.server_state.tasks)
    for one in slow:
        one.close()


def test_slow_readers_share_a_space(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "WAITING", 20_000_000)

    def add(app: Flask) -> None:
        app.add_url_rule("/large", "large", lambda: b"x" * 8_000_000)

    site = make_site(add)
    slow = []
    for _ in range(10):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", site.port))
        one.sendall(head("GET", "/large"))
        one.recv(10)
        slow.append(one)
        assert len(site.server.server_state.connections) <= 3
    for one in slow[:8]:  # given up long before their time was over
        one.settimeout(20)
        assert len(read_all(one)) < 8_000_000
    assert len(site.get("/large").body) == 8_000_000  # a fast one is sent whole, nonetheless
    assert len(site.get("/large").body) == 8_000_000
    for one in slow:
        one.close()


def test_pages_are_compiled_before_they_are_asked_for(app: Flask) -> None:
    compile_templates(app)
    assert app.jinja_env.cache is not None
    compiled = {name for _, name in app.jinja_env.cache}
    assert compiled == set(app.jinja_env.list_templates())
    assert "new_job.html" in compiled


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


def test_idle_connections_make_room_for_new_ones(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
    held = [site.connect() for _ in range(60)]
    assert site.get("/healthz").status == 200
    wait_until(lambda: len(site.server.server_state.connections) <= 20)
    for one in held:
        one.close()


def test_kept_connections_answer_again(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    for _ in range(20):
        connection.request("GET", "/api/v1/jobs")
        assert connection.getresponse().read()
    connection.close()


def test_the_gateway_closes_its_rooms(app: Flask) -> None:
    Gateway(app).close()
