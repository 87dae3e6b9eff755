"""Answers of the server over real sockets: pages, streams, and requests with limits."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request

from jobs.errors import NotFoundError
from tests.webui.server.conftest import Site
from tests.webui.server.raw_requests import JSON, chunked, head
from webui.server.routes import SMALL_BODY
from webui.server.serve import compile_templates


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

    assert make_site(add, reads=["stream"]).get("/stream").body == b"".join(pieces)


def test_a_stream_that_fails_ends_abnormally(make_site: Callable[..., Site]) -> None:
    """As when its job is deleted meanwhile: what arrived is no whole file."""

    def add(app: Flask) -> None:
        @app.get("/stream")
        def stream() -> Response:
            def pieces() -> Iterator[bytes]:
                yield b"a,b\r\n" * 20_000
                raise NotFoundError("There is no job 1.")

            return Response(pieces(), mimetype="text/csv")

    site = make_site(add, reads=["stream"])
    with pytest.raises(http.client.IncompleteRead):
        site.get("/stream")
    assert site.get("/healthz").status == 200


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
    reply = make_site(add, reads=["echo"]).get(
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
    for path in ("/sql", "/jobs/new", "/lab"):
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


def test_pages_are_compiled_before_they_are_asked_for(app: Flask) -> None:
    compile_templates(app)
    assert app.jinja_env.cache is not None
    compiled = {name for _, name in app.jinja_env.cache}
    assert compiled == set(app.jinja_env.list_templates())
    assert "new_job.html" in compiled


def test_kept_connections_answer_again(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    for _ in range(20):
        connection.request("GET", "/api/v1/jobs")
        assert connection.getresponse().read()
    connection.close()


HEAD = b"POST /api/v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET /api/v1/jobs?q=" + b"a" * 20_000, 414, id="long address"),
        pytest.param(
            b"GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 20_000,
            431,
            id="long headers",
        ),
        pytest.param(CHUNKS + b"-5\r\nabcde\r\n0\r\n\r\n", 400, id="chunk of negative size"),
        pytest.param(CHUNKS + b"5\r\nabcde\r\nzz\r\n", 400, id="second chunk without a size"),
        pytest.param(CHUNKS + b"f" * 30 + b"\r\nabcde\r\n", 400, id="chunk of a huge size"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400, id="unknown encoding"),
        pytest.param(HEAD + b"Content-Length: -3\r\n\r\n", 400, id="negative length"),
        pytest.param(HEAD + b"Host: localhost\r\n\r\n", 400, id="two hosts"),
        pytest.param(b"NONSENSE\r\n\r\n", 400, id="no request line"),
        pytest.param(b"\x16\x03\x01\x00\xff\r\n\r\n", 400, id="TLS"),
    ],
)
def test_what_is_no_request_is_refused_as_the_api_refuses(
    site: Site, sent: bytes, status: int
) -> None:
    head, _, body = site.raw(sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json" in head
    details = json.loads(body)
    assert (details["status"], bool(details["problems"])) == (status, True)
    assert site.get("/healthz").status == 200


def test_headers_change_no_address(site: Site) -> None:
    for name in ("SCRIPT_NAME", "Script-Name", "PATH_INFO", "Upgrade"):
        assert site.get("/api/v1/jobs", headers={name: "/x, websocket"}).status == 200


def test_an_absolute_address_is_that_of_its_path(site: Site) -> None:
    sent = b"GET http://localhost/api/v1/jobs?limit=0 HTTP/1.1\r\nHost: localhost\r\n"
    head, _, body = site.raw(sent + b"Connection: close\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["problems"][0]["field"] == "limit"
