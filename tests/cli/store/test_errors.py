"""Errors between a command and a server: one line each that says what to do."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.serving import make_server

from cli.store import remote
from db.accounts import accounts, tokens
from db.accounts.tokens import Scope
from db.database import Database
from jobs.settings import load_settings
from tests.cli.conftest import Headwise, finished_job
from tests.helpers.apps import new_app
from tests.helpers.databases import execute
from tests.helpers.jobs import planned_job
from tests.helpers.ports import free_port
from tests.webui.accounts.people import Lab, open_lab

Application = Callable[[dict[str, Any], Any], Any]


def refused(headwise: Headwise, address: str, *arguments: str) -> str:
    """The one line in which a command refuses."""
    ran = headwise("--server", address, *arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    assert ran.err.startswith("headwise: ")
    assert "Traceback" not in ran.err
    return ran.err


@contextmanager
def serving(application: Application) -> Iterator[str]:
    """A server in a thread; yields its address."""
    server = make_server("127.0.0.1", 0, application, threaded=True)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def application(store: Database) -> Iterator[Application]:
    """The dashboard on the database of this machine, without sign-in."""
    app = new_app(load_settings())
    yield app
    app.extensions["headwise"].database.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with open_lab(tmp_path_factory.mktemp("lab")) as lab:
        lab.add("Ada")
        yield lab


def token(lab: Lab, scope: str) -> str:
    account = accounts.get(lab.database, "ada")
    return tokens.make(lab.database, account, "test", Scope(scope), 1)[1]


def test_a_server_that_is_away(headwise: Headwise) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert refused(headwise, address, "jobs") == (
        f"headwise: {address} does not answer: nothing listens there. Check the address, or start "
        "`headwise web` there.\n"
    )
    line = refused(headwise, "http://no-such-host.invalid", "jobs")
    assert line.endswith("its name is unknown. Check the address.\n")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("headwise.example.org", "is not the address of a server"),
        ("ftp://headwise.example.org", "is not the address of a server"),
        ("http://h:99999", "is not the address of a server"),
        ("https://", "is not the address of a server"),
        ("htp://ada:secret@h.example", "is not the address of a server"),
        ("https://ada:secret@h.example", "has more than host, port and path"),
        ("https://h.example/?token=secret", "has more than host, port and path"),
    ],
)
def test_what_is_no_address(headwise: Headwise, address: str, words: str) -> None:
    line = refused(headwise, address, "jobs")
    assert line.startswith("headwise: --server: ")
    assert words in line
    assert "secret" not in line


def test_a_server_that_is_silent(headwise: Headwise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = refused(headwise, f"http://127.0.0.1:{silent.getsockname()[1]}", "jobs")
    assert "does not answer: it takes too long. Try again" in line


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody has signed but itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "headwise test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    places = tmp_path / "own.pem", tmp_path / "own.key"
    places[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    places[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return places


def test_a_certificate_that_is_not_trusted(
    headwise: Headwise,
    application: Application,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = make_server(
        "127.0.0.1",
        0,
        application,
        threaded=True,
        ssl_context=context,  # type: ignore[arg-type]
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"https://127.0.0.1:{server.server_port}"
    line = refused(headwise, address, "jobs")
    assert "its certificate is not trusted (" in line
    assert "name its certificate in SSL_CERT_FILE" in line
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert headwise("--server", address, "jobs", "--json").json == []
    server.shutdown()
    server.server_close()


def test_tls_to_a_server_without_it(headwise: Headwise, lab: Lab) -> None:
    line = refused(headwise, lab.address.replace("http://", "https://"), "jobs")
    assert "TLS failed (" in line
    assert "Check https:// and the port." in line


def test_tokens_that_are_missing_wrong_or_expired(
    headwise: Headwise, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedy = f"Make a token on your account's page there, and `headwise login {lab.address}`.\n"
    line = refused(headwise, lab.address, "jobs")
    assert line == f"headwise: {lab.address}: you are not signed in. {remedy}"
    expired = token(lab, "read")
    execute(lab.database, "UPDATE token SET expires_at = created_at - 1")
    for given in (expired, "hw_" + "x" * 43):
        monkeypatch.setenv("HEADWISE_TOKEN", given)
        line = refused(headwise, lab.address, "jobs")
        said = "the token is unknown, revoked or expired"
        assert line == f"headwise: {lab.address}: {said}. {remedy}"


def test_a_token_whose_scope_is_too_small(
    headwise: Headwise, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = lab.job("ada"), lab.job("root")
    monkeypatch.setenv("HEADWISE_TOKEN", token(lab, "read"))
    assert refused(headwise, lab.address, "delete", str(own)) == (
        "headwise: The token has the scope read, and this needs submit. Make another one on your "
        "account's page.\n"
    )
    monkeypatch.setenv("HEADWISE_TOKEN", token(lab, "submit"))
    line = refused(headwise, lab.address, "delete", str(other))
    assert line.startswith(f"headwise: Job {other} belongs to root; ")
    assert headwise("--server", lab.address, "delete", str(own)).status == 0


def test_a_server_of_an_older_release(
    headwise: Headwise, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lacks an address, a method, and a key of an answer."""
    from webui.contract import document

    def older(environ: dict[str, Any], start: Any) -> Any:
        path = environ["PATH_INFO"]
        if path.endswith("/recurring"):
            environ["PATH_INFO"] = "/api/v1/newer"
        if path.endswith("/recipients"):
            environ["PATH_INFO"] = "/api/v1/sql"
        if not path.endswith("/why"):
            return application(environ, start)
        start("200 OK", [("Content-Type", "application/json")])
        return [b'{"cause": "workers"}']

    monkeypatch.setattr(document, "version", lambda _name: "0.0.9")
    store = application.extensions["headwise"].database  # type: ignore[attr-defined]
    job = planned_job(store)
    with serving(older) as address:
        for arguments in (("recurring", "list"), ("notify", "list")):
            assert refused(headwise, address, *arguments) == (
                f"headwise: {address} does not know this request: it runs Headwise 0.0.9, and this "
                f"is {version('headwise')}. Use the same release on both sides.\n"
            )
        line = refused(headwise, address, "why", str(job))
        assert "The server's answer has no 'message': it runs an older release" in line


def answering(status: int, body: bytes, **headers: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (answering(200, b"<html>Welcome</html>"), "answered 200 OK as no Headwise server does"),
        (answering(404, b"<h1>Not here</h1>"), "answered 404 Not Found as no Headwise server does"),
        (answering(502, b"Bad gateway"), "answered 502 Bad Gateway as no Headwise server does"),
        (
            answering(301, b"", Location="https://headwise.example.org/api/v1/jobs"),
            "leads to https://headwise.example.org/api/v1/jobs. Use the address there.",
        ),
        (
            answering(200, b"ARROW1", Content_Length="1000"),
            "does not answer: ",
        ),
    ],
)
def test_something_else_answers(
    headwise: Headwise, handler: type[http.server.BaseHTTPRequestHandler], words: str
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert words in refused(headwise, address, "jobs")
        assert headwise("--server", address, "export", "1").status == 2
        server.shutdown()


def test_a_download_that_breaks_off_is_no_file(
    headwise: Headwise, application: Application, store: Database
) -> None:
    job = finished_job(store)

    def breaking(environ: dict[str, Any], start: Any) -> Any:
        whole = b"".join(application(environ, start))
        return [whole[: len(whole) // 2]]

    with serving(breaking) as address:
        line = refused(headwise, address, "export", str(job), "--table", "head_scores",
                       "--to", "rows.jsonl")  # fmt: skip
        assert "broke off in the middle" in line


def test_files_and_models_of_this_machine(
    headwise: Headwise, application: Application, home: Path, tmp_path: Path
) -> None:
    with serving(application) as address:
        asked = ("submit", "--text", "premise", "--check")
        line = refused(headwise, address, *asked, "--model", "./home/model", "--data", "x")
        assert line.startswith("headwise: --model: is a folder of this machine, and ")
        model = ("--model", str(home / "model"))
        line = refused(headwise, address, *asked, *model, "--data", "gone.jsonl")
        assert line == (
            "headwise: data.path: no such file here (given: 'gone.jsonl'). A file of "
            f"{address} is given by its whole path, from /.\n"
        )
        line = refused(headwise, address, *asked, *model, "--data", str(home / "gone.jsonl"))
        assert "data.path: no such file" in line
        (tmp_path / "no table.txt").write_text("nothing")
        line = refused(headwise, address, *asked, *model, "--data", "no table.txt")
        assert "no table.txt" in line
        line = refused(headwise, address, "notify", "add", "x", "https://h.example.org",
                       "--user", "ada")  # fmt: skip
        assert "--user: is not for" in line


@pytest.mark.parametrize(
    "command", ["up", "web", "doctor", "migrate", "backup", "user", "token", "schema"]
)
def test_commands_of_this_machine_alone(headwise: Headwise, command: str) -> None:
    line = refused(headwise, "http://127.0.0.1:1", command)
    assert f"--server: `headwise {command}` works on this machine alone" in line
    both = headwise("--server", "http://127.0.0.1:1", "--local", "jobs")
    assert (both.status, "cannot be combined with --local" in both.err) == (2, True)


def test_a_watched_server_may_restart(
    headwise: Headwise, application: Application, store: Database
) -> None:
    job = finished_job(store)
    execute(store, "UPDATE job SET state = 'running'")
    asked = iter(range(9))

    def restarting(environ: dict[str, Any], start: Any) -> Any:
        number = next(asked)
        if number == 1:
            start("502 Bad Gateway", [])
            return [b"the proxy finds nobody"]
        if number == 2:
            execute(store, "UPDATE job SET state = 'succeeded'")
        return application(environ, start)

    with serving(restarting) as address:
        ran = headwise("--server", address, "watch", str(job))
    assert (ran.status, "succeeded" in ran.out) == (0, True)
    assert next(asked) == 3


def test_ctrl_c_ends_watching_and_leaves_the_job(
    application: Application, store: Database, home: Path
) -> None:
    job = planned_job(store)
    asked_again = threading.Event()
    asked = iter(range(1_000))

    def counting(environ: dict[str, Any], start: Any) -> Any:
        if next(asked):
            asked_again.set()
        return application(environ, start)

    with serving(counting) as address:
        watching = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "--server", address, "watch", str(job)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        assert asked_again.wait(120)
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=60)
    assert (watching.returncode, said) == (130, "")
    assert store.rows("SELECT state, control FROM job") == [{"state": "running", "control": "run"}]
