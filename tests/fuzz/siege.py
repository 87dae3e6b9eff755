"""A siege: hostile queries, uploads and slow sockets at once, while pages are asked for in turn.

Unlike in the other parts, the dashboard is a process of its own behind its real server. What is
measured: the peak of its memory, and how long each page takes to answer. The seed chooses what
attackers send.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from db.database import Database
from jobs.settings import load_settings
from tests.fuzz.memory import peak_mb
from tests.fuzz.report import Report
from tests.helpers.apps import new_app
from tests.helpers.inputs import LABELS, model_folder
from tests.helpers.ports import free_port
from tests.webui.seed import seed_job
from webui.server.routes import ROOMS, RoomName

QUERIES, UPLOADS, SOCKETS = 8, 8, 200
"""Attackers of each kind."""
WEB_MB = 400
PAGE_SECONDS = 1.0
"""Pages should take less; how many do not depends on the machine, so they are told, not counted."""
HANG_SECONDS = 60.0
FILE_MB = 48
"""Size of the largest files, below the limit of an upload."""
LONG_TEXT = "A cat sleeps. " * 70_000
SQL = (
    "SELECT COUNT(*) FROM examples a, examples b, examples c, examples d, examples e, examples f",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900) "
    "SELECT i, printf('%.*c', 33000, 'x') FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900) "
    "SELECT i, printf('%.*c', 95000, 'x') FROM n",
    "SELECT group_concat(printf('%.*c', 1000000, 'x')) FROM examples a, examples b, examples c",
    "SELECT a.text_a, b.text_a FROM examples a, examples b ORDER BY random()",
)
SLOW_PATHS = (
    *("/", "/sql", "/jobs/1", "/jobs/1/export/examples.csv", "/api/v1/jobs/3/examples?limit=500"),
    f"/sql.csv?q={quote(SQL[2])}",
)


class Files:
    """Data files to upload: many rows, long texts, and what unpacks to far more."""

    def __init__(self, megabytes: int, draw: random.Random) -> None:
        self._bytes = megabytes << 20
        self._draw = draw

    def next(self) -> tuple[str, bytes]:
        """A name and the content; each differs from those before."""
        make: Callable[[str], tuple[str, bytes]] = self._draw.choice(
            (self._rows, self._long, self._packed, self._array)
        )
        return make(f"{self._draw.random()}")

    def _rows(self, word: str) -> tuple[str, bytes]:
        lines = "".join(f"{word} {n},{LABELS[n % 3]}\n" for n in range(1_000)).encode()
        return "rows.csv", b"text,label\n" + lines * (self._bytes // len(lines))

    def _long(self, word: str) -> tuple[str, bytes]:
        line = json.dumps({"text": word + LONG_TEXT[:900_000], "label": "yes"}).encode() + b"\n"
        return "long.jsonl", line * max(1, self._bytes // len(line))

    def _packed(self, word: str) -> tuple[str, bytes]:
        line = json.dumps({"text": word + LONG_TEXT[:900_000], "label": "no"}).encode() + b"\n"
        return "packed.jsonl.gz", gzip.compress(line) * (4 * self._bytes // len(line))

    def _array(self, word: str) -> tuple[str, bytes]:
        row = json.dumps({"text": word, "label": "maybe"}).encode()
        return "array.json", b"[" + (row + b",") * (self._bytes // 2 // len(row)) + row + b"]"


class Siege:
    """The attackers of a running dashboard, and who asks for its pages meanwhile."""

    def __init__(self, report: Report, port: int, seed: int, megabytes: int, home: Path) -> None:
        self.report = report
        self.slowest: dict[str, float] = {}
        """The longest time that each page took, in seconds."""
        self._port = port
        self._seed = seed
        self._megabytes = megabytes
        self._model = str(home / "model")
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start the attackers."""
        attacks = [self._query] * QUERIES + [self._upload] * UPLOADS + [self._slow] * SOCKETS
        for number, attack in enumerate(attacks):
            draw = random.Random(self._seed + number)
            self._threads.append(threading.Thread(target=self._repeat, args=(attack, draw)))
            self._threads[-1].start()

    def look(self, pages: list[str], until: float) -> None:
        """Ask for each page in turn, each at least once, until the time has come."""
        while True:
            for page in pages:
                self._look(page)
            if time.monotonic() > until:
                return

    def end(self) -> None:
        """End the attackers; what they wait for has ended before."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _look(self, page: str) -> None:
        began, status = time.monotonic(), 503
        while status == 503 and time.monotonic() - began < HANG_SECONDS:
            try:
                status, _ = self._ask("GET", page)
            except OSError as error:
                self._broken(f"{page}: {type(error).__name__}: {error}")
                return
            self._count(f"page {status}")
        taken = time.monotonic() - began
        self.slowest[page] = max(taken, self.slowest.get(page, 0))
        if status >= 500:
            self._broken(f"{page}: status {status}")

    def _repeat(self, attack: Callable[[random.Random], None], draw: random.Random) -> None:
        while not self._over.is_set():
            # A connection may be refused, closed or cut: that is how the dashboard defends itself.
            with suppress(OSError, http.client.HTTPException):
                attack(draw)

    def _query(self, draw: random.Random) -> None:
        sql, path = draw.choice(SQL), draw.choice(("/sql", "/sql", "/sql.csv"))
        status, _ = self._ask("GET", f"{path}?q={quote(sql)}")
        self._count(f"query {status}")
        self._over.wait(0.05)

    def _upload(self, draw: random.Random) -> None:
        name, content = Files(self._megabytes, draw).next()
        mark = f"{draw.getrandbits(64):x}"
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        status, answer = self._ask("POST", "/api/v1/uploads", body, kind)
        self._count(f"upload {status}")
        if status != 201:
            self._over.wait(0.05)
            return
        sample = draw.choice((None, None, 100))
        data = {"path": json.loads(answer)["path"], "text_columns": ["text"], "sample": sample}
        raw = {"spec": {"model": {"name": self._model}, "data": {**data, "label_column": "label"}}}
        for path in ("/api/v1/check", "/api/v1/jobs"):
            status, _ = self._ask("POST", path, json.dumps(raw).encode(), "application/json")
            self._count(f"{path} {status}")

    def _slow(self, draw: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=1) as one:
            # A small window, so that little of an answer is on its way.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            self._count("slow socket")
            behave: Callable[[socket.socket, random.Random], None] = draw.choice(
                (self._send_head, self._send_body, self._read)
            )
            behave(one, draw)

    def _send_head(self, one: socket.socket, draw: random.Random) -> None:
        for letter in b"GET / HTTP/1.1\r\nX-Long: " + b"a" * draw.randrange(9_000):
            one.sendall(bytes([letter]))
            if self._over.wait(1):
                return

    def _send_body(self, one: socket.socket, draw: random.Random) -> None:
        head = (
            "POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: multipart/form-data; boundary=a\r\nContent-Length: 50000000\r\n\r\n"
        )
        one.sendall(head.encode())
        while not self._over.wait(1):
            one.sendall(b"a" * draw.choice((1, 100, 100_000)))

    def _read(self, one: socket.socket, draw: random.Random) -> None:
        path = draw.choice(SLOW_PATHS)
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while not self._over.wait(1):
            with suppress(TimeoutError):
                if not one.recv(100):
                    return

    def _ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = ""
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HANG_SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.report.inputs += 1
            self.report.outcomes[outcome] += 1

    def _broken(self, what: str) -> None:
        with self._lock:
            self.report.broken.append(what)


def prepare(home: Path) -> list[str]:
    """Write a model and a database with jobs; returns the paths of all pages."""
    model_folder(home / "model")
    database = Database(load_settings({}, home=home).database)
    database.migrate()
    seed_job(database)
    seed_job(database, done=6, state="running")
    seed_job(database, examples=150)
    database.close()
    app = new_app(load_settings({}, home=home))
    found = {
        re.sub(r"<[^>]*\bexample_no>", "0", rule.rule)
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ())
        and rule.endpoint != "assets.serve"
        and ROOMS.get(rule.endpoint, RoomName.PAGES) in (RoomName.PAGES, RoomName.HEALTH)
    }
    app.extensions["headwise"].database.close()
    return sorted({re.sub(r"<[^>]+>", "1", path) for path in found})


@contextmanager
def serving(home: Path, **more: str) -> Iterator[tuple[int, int]]:
    """A dashboard on the data folder; gives its port and its process id.

    more: of its environment
    """
    port = free_port()
    plain = {k: v for k, v in os.environ.items() if not k.startswith("HEADWISE_")}
    environment = {**plain, "HEADWISE_HOME": str(home), "HEADWISE_PORT": str(port), **more}
    command = [sys.executable, "-m", "cli.main", "web"]
    root = Path(__file__).parents[2]
    with (home / "web.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=root, start_new_session=True
        )
    try:
        while not _listens(port):
            if process.poll() is not None:
                raise RuntimeError((home / "web.log").read_text(encoding="utf-8"))
            time.sleep(0.05)
        yield port, process.pid
    finally:
        # Its queries, too: they would go on until their time limit.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def besiege(
    report: Report, home: Path, seed: int, seconds: float, megabytes: int = FILE_MB
) -> Siege:
    """Start a dashboard, attack it for some seconds and report its memory and times."""
    pages = prepare(home)
    with serving(home) as (port, pid):
        siege = Siege(report, port, seed, megabytes, home)
        siege.begin()
        try:
            siege.look(pages, time.monotonic() + seconds)
            report.peak("web", peak_mb(pid))
            report.broken += [f"a temporary file: {one}" for one in _strays(pid, home)]
        finally:
            os.killpg(pid, signal.SIGKILL)
            siege.end()
    if report.peaks["web"] > WEB_MB:
        report.broken.append(f"memory of the dashboard: {report.peaks['web']} MB")
    return siege


def _strays(pid: int, home: Path) -> list[str]:
    """Open temporary files outside the data folder: the system's folder may be in memory."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(descriptor.readlink()))
    temporary = tempfile.gettempdir()
    return [one for one in found if one.startswith(temporary) and not one.startswith(str(home))]


def run(seed: int, seconds: float) -> Report:
    """Besiege a dashboard for some seconds."""
    report = Report(part="siege")
    with tempfile.TemporaryDirectory(prefix="headwise-fuzz-") as folder:
        siege = besiege(report, Path(folder), seed, seconds)
    slowest = sorted(siege.slowest.items(), key=lambda one: -one[1])
    slow = sum(taken > PAGE_SECONDS for _, taken in slowest)
    report.notes.append(
        f"{slow} of {len(slowest)} pages took over {PAGE_SECONDS:g} s at their worst"
    )
    report.notes += [f"{taken:.2f} s  {page}" for page, taken in slowest[:5]]
    return report
