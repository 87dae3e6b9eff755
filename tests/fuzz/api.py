"""Every route of the dashboard and its API with every method and hostile requests.

Paths come from the route map, names of parameters and fields from the code that reads them, so a
new page is attacked at once. The database has jobs, so that most requests reach their reads. The
same seed gives the same requests.
"""

from __future__ import annotations

import logging
import math
import random
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib import import_module
from io import BytesIO
from pathlib import Path
from pkgutil import iter_modules
from typing import Any
from urllib.parse import quote

from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from db.database import Database
from jobs.kinds import SPECS
from jobs.settings import load_settings
from tests.fuzz.memory import peak_mb
from tests.fuzz.report import Report
from tests.helpers.apps import new_app
from tests.webui.seed import seed_job
from webui.api import models
from webui.contract.models import Query

HANG_SECONDS = 10.0
"""A request may take this long; the limit of queries and data files is below it."""
WEB_MB = 400
EVERY = 300
"""Requests after which the database is as it was."""
SEEDED = "seeded"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
WEBUI = Path(__file__).parents[2] / "webui"
_ASKED = re.compile(r"""(?:integer|choice|words|args\.get|form\.get|values\.get)\(\s*"(\w+)\"""")


def _queries(model: type[Query]) -> Iterator[str]:
    """Fields of a model of a query string and of all that are made of it."""
    yield from model.model_fields
    for one in model.__subclasses__():
        yield from _queries(one)


for _module in iter_modules(models.__path__, f"{models.__name__}."):
    import_module(_module.name)  # a model is known once its module is
PARAMETERS = sorted(
    {name for file in WEBUI.rglob("*.py") for name in _ASKED.findall(file.read_text("utf-8"))}
    | {*_queries(Query)}
)
FIELDS = sorted({field for spec in SPECS.values() for field in spec.model_fields})
TEXTS = (
    *("", " ", "0", "1", "-1", "2147483647", "2147483648", "9" * 400, "1e309", "nan", "-0", "１"),
    *("\0", "a\0b", "\ud800", "\u202e", "é∑日本", "%", "%00", "%s%n", "{}", "{0}", "{{7*7}}"),
    *("../../etc/passwd", "/etc/passwd", "~root", "~nobody/x", "file:///etc/passwd", "a" * 5_000),
    *("<script>alert(1)</script>", "' OR 1=1 --", '"; DROP TABLE job; --', "\r\nX-A: b", "[", "]"),
    *("true", "null", "[]", "{}", "a,b", ",", "*", "**/*", "\\", "\x7f", "\x1b[0m", "$(id)", "|id"),
    *("running", "succeeded", "attribution", "attattr", "encoder", "pause", "cancel", "rerun"),
)
HEADERS: Mapping[str, tuple[str, ...]] = {
    "Host": ("localhost", "evil.example", "[::1]", "[", "[::1", "localhost:99999", "a@b", "", "é"),
    "Origin": ("null", "http://localhost", "http://evil", "http://[", "://", "a" * 9_000, "é"),
    "Accept": ("*/*", "text/html", "application/json", "a/b;q=nan", ";;;", "text/html;q=-1", "é"),
    "Content-Type": (
        *("application/json", "application/x-www-form-urlencoded", "text/plain", "a", "é;;="),
        *("multipart/form-data", "multipart/form-data; boundary=", "application/json; charset=x"),
    ),
    "Content-Length": ("0", "5", "-1", "99999999999999999999", "a", "1e3"),
    "Authorization": ("Basic", "Basic !!!", "Basic OjpB", "Bearer x", "Digest a=", "Basic /w=="),
    "If-None-Match": ("*", '"a"', "W/", '"', "a" * 9_000, "é"),
    "If-Modified-Since": ("x", "Thu, 99 Foo 2026 99:99:99 GMT"),
    "Range": ("bytes=0-", "bytes=9-1", "lines=x", "bytes=" + "0-1," * 500),
    "Sec-Fetch-Site": ("cross-site", "same-origin", "x"),
    "X-Forwarded-For": ("x", "1.2.3.4", "'"),
    "Cookie": ("a=b; " * 500, "=", "\x7f"),
    "Transfer-Encoding": ("chunked", "x"),
}
Random = random.Random


class Requests:
    """Hostile requests, for routes in turn."""

    def __init__(self, rules: list[Rule], seed: int) -> None:
        self._rules = rules
        self._random = Random(seed)
        self._number = 0

    def next(self) -> tuple[str, dict[str, Any]]:
        """A path, and the arguments of the test client."""
        rule = self._rules[self._number % len(self._rules)]
        self._number += 1
        own = sorted(rule.methods or {"GET"})
        method = self._random.choice(own if self._random.random() < 0.7 else METHODS)
        request: dict[str, Any] = {"method": method, "headers": self._headers()}
        if method not in ("GET", "HEAD") or self._random.random() < 0.05:
            request |= self._body()
        return self._path(rule), request

    def _text(self) -> str:
        text = self._random.choice(TEXTS)
        if self._random.random() < 0.2:
            text += self._random.choice(TEXTS)
        return text

    def _path(self, rule: Rule) -> str:
        def part(found: re.Match[str]) -> str:
            if found[1].startswith("int") and self._random.random() < 0.8:
                return str(self._random.choice((1, 1, 1, 2, 3, 0, 99, 32767, 2147483647)))
            return _quoted(self._text())

        path = re.sub(r"<([^>]+)>", part, rule.rule)
        asked = [
            f"{_quoted(self._random.choice((*PARAMETERS, *PARAMETERS, 'x[]', '')))}"
            f"={_quoted(self._text())}"
            for _ in range(self._random.choice((0, 1, 1, 2, 4)))
        ]
        return path + ("?" + "&".join(asked) if asked else "")

    def _headers(self) -> list[tuple[str, str]]:
        names = self._random.sample(sorted(HEADERS), self._random.choice((0, 0, 1, 2)))
        return [(name, self._random.choice(HEADERS[name])) for name in names]

    def _body(self) -> dict[str, Any]:
        make: Callable[[], dict[str, Any]] = self._random.choice(
            (self._json, self._json, self._json, self._broken_json, self._form, self._file)
        )
        return make()

    def _json(self) -> dict[str, Any]:
        return {"json": self._submission()}

    def _broken_json(self) -> dict[str, Any]:
        bodies = (
            *(b"", b"{", b"nul", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 9_000, b"1e999999"),
            *(b'"\\ud800"', b'{"a": "\\u0000"}', b"NaN", b"-Infinity", b"1" * 10_000, b"[]", b"{}"),
            *(b'{"spec": ' + b"9" * 5_000 + b"}", b'{"a": 1, "a": 2}', b" " * 1_100_000),
        )
        return {"data": self._random.choice(bodies), "content_type": "application/json"}

    def _form(self) -> dict[str, Any]:
        names = (*PARAMETERS, *FIELDS, "text", "data.path", "model.path", "spec", "")
        fields = {self._random.choice(names): self._text() for _ in range(6)}
        return {"data": {k: _encodable(v) for k, v in fields.items()}}

    def _file(self) -> dict[str, Any]:
        contents = (b"", b"text,label\na,b\n", b"PAR1PAR1", b"\x1f\x8b", b'{"text": 1}', b"\0" * 99)
        name = self._random.choice(
            ("a.csv", "a.parquet", "a.jsonl.gz", "../a.json", "", "a", "é\n")
        )
        file = (BytesIO(self._random.choice(contents)), name)
        return {"data": {"file": file}, "content_type": "multipart/form-data"}

    def _submission(self) -> object:
        """Something like a submission, with some values replaced."""
        kind = self._random.choice(sorted(SPECS))
        spec: dict[str, Any] = {
            "kind": kind,
            "model": {"path": "model", "revision": None},
            "data": {"inline": True, "text_columns": ["text"], "label_column": "label"},
            **{self._random.choice(FIELDS): self._value(2) for _ in range(2)},
        }
        whole: dict[str, Any] = {
            "spec": spec,
            "rows": [{"text": "A cat sleeps.", "label": 0}],
            "name": "a",
            "user_name": "ada",
            "queue": "default",
            "priority": 0,
            "jobs": {"a": {"spec": spec}},
            "path": "a.csv",
            "cron": "0 3 * * *",
            "submission": {"spec": spec},
        }
        for _ in range(self._random.choice((0, 1, 2, 3))):
            target = self._random.choice((whole, spec, spec["model"], spec["data"]))
            if isinstance(target, dict) and target:
                name = self._random.choice(sorted(target))
                if self._random.random() < 0.2:
                    target.pop(name)
                else:
                    target[name] = self._value(3)
            spec["model"] = spec.get("model", {})
            spec["data"] = spec.get("data", {})
        return whole if self._random.random() < 0.8 else self._value(4)

    def _value(self, depth: int) -> object:
        kinds: list[Callable[[], object]] = [
            self._text,
            lambda: self._random.choice((None, True, False, 0, -1, 2**31, 2**63, 10**30, 1e308)),
            lambda: self._random.choice((0.1, -0.0, float("nan"), float("inf"), 1, 2, 3)),
        ]
        if depth:
            kinds += [
                lambda: [self._value(depth - 1) for _ in range(self._random.randrange(4))],
                lambda: {
                    self._random.choice((*FIELDS, *TEXTS)): self._value(depth - 1)
                    for _ in range(self._random.randrange(4))
                },
            ]
        return self._random.choice(kinds)()


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


class Errors(logging.Handler):
    """Keeps the exception that a request ended with."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if record.exc_info and (error := record.exc_info[1]):
            self.last = f"{type(error).__name__}: {str(error)[:200]}"


@contextmanager
def made(folder: Path) -> Iterator[Flask]:
    """The dashboard over a database with two jobs."""
    settings = load_settings({}, home=folder, sql_seconds=2.0, data_seconds=5.0)
    database = Database(settings.database)
    database.migrate()
    seed_job(database)
    seed_job(database, done=6, state="running")
    database.close()
    shutil.copy(folder / "headwise.sqlite", folder / SEEDED)
    app = new_app(settings)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with closing(app.extensions["headwise"].database):
        yield app


def restore(app: Flask) -> None:
    """Bring back what requests have deleted."""
    context = app.extensions["headwise"]
    context.database.close()
    home = context.settings.home
    for suffix in ("-wal", "-shm"):
        (home / f"headwise.sqlite{suffix}").unlink(missing_ok=True)
    shutil.copy(home / SEEDED, home / "copy")
    (home / "copy").replace(home / "headwise.sqlite")


def fuzz(report: Report, app: Flask, requests: Requests, until: float) -> None:
    """Send requests until the time has come or there were enough."""
    errors = Errors()
    logging.getLogger("webui.app").addHandler(errors)
    client = app.test_client()
    while report.goes_on(until):
        path, request = requests.next()
        if report.inputs % EVERY == 0:
            restore(app)
        report.inputs += 1
        shown = f"{request['method']} {path[:300]} {str(request)[:600]}"
        errors.last = ""
        began = time.monotonic()
        try:
            answer = client.open(path, **request)
            looked_at(report, answer, shown, errors.last)
            answer.close()
        except Exception as error:  # noqa: BLE001 - the finding itself
            if request_is_no_request(error):
                report.outcomes["not sent"] += 1
            else:
                report.broken.append(f"raised {type(error).__name__}: {error}: {shown}")
        if (taken := time.monotonic() - began) > HANG_SECONDS:
            report.broken.append(f"hang of {taken:.0f} s: {shown}")
        report.peak("web", peak_mb())
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    report.peak("child", child)
    if report.peaks["web"] > WEB_MB:
        report.broken.append(f"memory of the dashboard: {report.peaks['web']} MB")
    logging.getLogger("webui.app").removeHandler(errors)


def request_is_no_request(error: Exception) -> bool:
    """The test client itself could not write the request."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        if frame.tb_frame.f_code.co_name in ("wsgi_app", "__call__"):
            return False
        frame = frame.tb_next
    return True


def looked_at(report: Report, answer: TestResponse, shown: str, error: str) -> None:
    """Count an answer, and what must not be in it."""
    report.outcomes[f"http {answer.status_code}"] += 1
    body = answer.get_data()
    if answer.status_code >= 500 and answer.status_code != 503:
        report.broken.append(f"status {answer.status_code}, {error}: {shown}")
    if b"Traceback (most recent call last)" in body:
        report.broken.append(f"a traceback in the answer: {shown}")
    if b"<script>alert(1)" in body and answer.mimetype == "text/html":
        report.broken.append(f"a script in a page: {shown}")


def run(seed: int, seconds: float, most: float = math.inf) -> Report:
    """Fuzz all routes for some seconds, with so many requests at most."""
    report = Report(part="api", most=most)
    with (
        tempfile.TemporaryDirectory(prefix="headwise-fuzz-") as folder,
        made(Path(folder)) as app,
    ):
        rules = sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)
        fuzz(report, app, Requests(rules, seed), time.monotonic() + seconds)
    return report
