"""Processes of Headwise with faults at exact points of their code.

A *forge* imports everything once and then forks one process per request: each runs an ordinary
`headwise` command, and starts in a tenth of a second instead of in ten. In those processes the
functions below are wrapped. A wrapped function passes *points*; where a file of the point's name
lies in the folder of faults, the first process to come by takes it away and does what it says.
The product's code knows nothing of this.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import celery.worker.request
import numpy as np
import structlog
import torch
import transformers
from sqlalchemy import event

import cli.main
import db.database
import headwise
import scheduler.loop
import workers.executor
import workers.heartbeat
import workers.worker
from db.queue import claims, lifecycle, planning
from db.results import bulk, commit
from jobs.kinds.attribution import AttributionResult
from jobs.results.base import ExampleResult, SiteInfo
from scheduler.broker import WAKE

STEPPED: dict[str, tuple[Any, str]] = {
    "claim": (claims, "claim"),
    "heartbeat": (claims, "renew"),
    "commit": (commit, "commit_shard"),
    "error": (claims, "record_error"),
    "handback": (claims, "hand_back"),
    "plan": (planning, "write_plan"),
    "expire": (lifecycle, "expire_leases"),
    "sweep": (lifecycle, "sweep_jobs"),
    "finish": (lifecycle, "finish_jobs"),
    "mark": (lifecycle, "mark_dispatched"),
}
"""Functions that make transitions. Points: NAME.0 at the beginning, NAME.1 and on before each
statement, NAME.commit before the COMMIT, NAME.after when it is stored and nobody knows yet."""

POISON, DEADLY = "poison", "deadly"
"""Words of texts: the example raises, and kills its process."""

NEW_NETWORK = 0x40000000
"""Linux's number for a network namespace, CLONE_NEWNET."""

_here = threading.local()
_forge: dict[str, Any] = {"skew": 0.0, "folder": Path(), "pace": 0.0}


def point(name: str) -> str:
    """Pass a point: take the fault that is laid there, if any, and do it.

    Returns what the caller is to do itself: "skip", "double", "later", "corrupt" or nothing.
    """
    laid = _forge["folder"] / name
    taken = laid.with_name(f"{name}.taken.{os.getpid()}")
    try:
        laid.rename(taken)
    except OSError:
        return ""
    action, _, value = taken.read_text().partition(":")
    structlog.get_logger().warning("fault", at=name, action=action)
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill-parent":
            laid.with_name(f"{name}.taken.{os.getppid()}").write_text("kill")
            os.kill(os.getppid(), signal.SIGKILL)
        case "stop" | "stop-then-kill" | "stop-for-good":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            time.sleep(float(value))
        case "memory":
            exhaust_memory()
        case "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        case "raise":
            raise RuntimeError(value or "a fault of the test suite")
        case _:
            return action
    return ""


def exhaust_memory() -> None:
    """Ask the system for more than this process may have."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    room = pages * resource.getpagesize() + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, before[1]))
    try:
        bytearray(1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def stepped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with points at each of its steps."""

    def run(*arguments: Any, **named: Any) -> Any:
        point(f"{name}.0")
        _here.name, _here.step = name, 0
        try:
            result = function(*arguments, **named)
        finally:
            _here.name = ""
        if result is not None and result is not False:
            point(f"{name}.after")
        return result

    return run


def step(*_: Any, **__: Any) -> None:
    """A statement is about to run."""
    if name := getattr(_here, "name", ""):
        _here.step += 1
        point(f"{name}.{_here.step}")


def end(*_: Any) -> None:
    """A transaction is about to be committed."""
    if name := getattr(_here, "name", ""):
        point(f"{name}.commit")


def before(module: Any, name: str, what: Callable[..., None]) -> None:
    """Call `what` before a function of a module."""
    original = getattr(module, name)

    def run(*arguments: Any, **named: Any) -> Any:
        what()
        return original(*arguments, **named)

    setattr(module, name, run)


def made_up(block: workers.executor.Block[Any]) -> AttributionResult:
    """Results of a shard that follow from its texts alone, in as much time as the test wants."""
    texts, done = block.inputs, []
    for number, pair in enumerate(texts):
        if number in block.kept:
            continue
        point("example")
        text = "".join(pair)
        if DEADLY in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if POISON in text:
            raise ValueError("this example is poison")
        time.sleep(_forge["pace"])
        done.append(sum(ord(letter) * (place + 1) for place, letter in enumerate(text)) % 9973)
        block.partial.finished.add(number)
        try:
            block.progress()
        except block.partial.stops_on as stop:
            block.partial.stopped = stop
            break
    return made_up_result(np.array(done))


def made_up_result(seeds: np.ndarray[Any, Any]) -> AttributionResult:
    """Different numbers for every example, the same ones whichever shard it is in."""
    sites, heads, edges, count = 2, 4, 4, len(seeds)
    grid = np.arange(sites * heads).reshape(sites, heads)
    score = np.abs(np.sin(seeds[:, None, None] * (1.0 + grid))).astype(np.float32)
    per_site = np.repeat(seeds[:, None].astype(float), sites, axis=1)
    cells = np.tile(np.arange(edges, dtype=np.int32), (count, 1))
    return AttributionResult(
        sites=tuple(
            SiteInfo(layer=n, attention_type="encoder", heads=heads, name=f"layer.{n}")
            for n in range(sites)
        ),
        examples=tuple(
            ExampleResult(predicted=int(seed) % 3, target=int(seed) % 3, probabilities=(0.25, 0.5))
            for seed in seeds
        ),
        score=score,
        total=score * 2,
        query=np.ones((count, sites, heads), dtype=np.int32),
        key=np.full((count, sites, heads), 2, dtype=np.int32),
        attention_max=score / 2,
        attention_mean=score / 4,
        f0=per_site,
        f1=per_site + 1,
        residual=per_site * 0,
        points=np.full((count, sites), 5, dtype=np.int32),
        converged=np.ones((count, sites), dtype=bool),
        edge_site=cells % sites,
        edge_head=cells % heads,
        edge_query=cells,
        edge_key=cells[:, ::-1],
        edge_value=cells.astype(np.float32) / 8,
        edge_attention=cells.astype(np.float32) / 16,
    )


def wake(app: Any, queue: str) -> None:
    """Publish a wake-up; or lose, double, delay or garble it."""
    action, plain = point("wake"), _forge["wake"]
    if action == "later":
        late = threading.Timer(2.0, quietly, (plain, app, queue))
        late.daemon = True
        late.start()
    elif action == "corrupt":
        garble(app, queue)
    elif action != "skip":
        plain(app, queue)
        if action == "double":
            plain(app, queue)


def quietly(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function that may find the broker gone."""
    with contextlib.suppress(Exception):
        function(*arguments)


def garble(app: Any, queue: str) -> None:
    """Publish what is no wake-up: broken JSON, another serializer, an unknown task, no headers."""
    headers = {"task": WAKE, "id": "1", "lang": "py"}
    bodies: list[tuple[Any, dict[str, Any]]] = [
        (b"{not json", {"content_type": "application/json", "content_encoding": "utf-8"}),
        (b"\x80\x04", {"content_type": "application/x-python-serialize"}),
        ([[], {}, {}], {"headers": {**headers, "task": "no.such.task"}}),
        ({"what": "ever"}, {}),
        ([1, 2, 3], {"headers": headers}),
    ]
    with app.connection_for_write() as connection:
        for body, options in bodies:
            connection.Producer().publish(
                body, exchange="", routing_key=queue, declare=[app.amqp.queues[queue]], **options
            )


class SkewedDatetime(datetime):
    """A wrong wall clock."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) + timedelta(seconds=_forge["skew"])


def lay_points() -> None:
    """Wrap what is wrapped, once, before anything is forked."""
    for name, (module, attribute) in STEPPED.items():
        setattr(module, attribute, stepped(name, getattr(module, attribute)))
    before(bulk, bulk._insert.__name__, step)
    before(bulk, bulk._cursor.__name__, step)
    original = db.database.Database.__init__

    def opened(self: Any, url: str) -> None:
        original(self, url)
        event.listen(self.engine, "before_cursor_execute", step)
        event.listen(self.engine, "commit", end)

    db.database.Database.__init__ = opened  # type: ignore[method-assign]
    _forge["wake"] = scheduler.loop.wake
    scheduler.loop.wake = wake
    workers.executor.COMPUTE["attribution"] = made_up
    before(headwise, headwise.load.__name__, lambda: point("load"))
    # Waits that are half a minute in production would be most of a round.
    scheduler.loop.ANNOUNCE_SECONDS = 3.0
    db.database.BUSY_SECONDS = 1
    right = time.time
    time.time = lambda: right() + _forge["skew"]
    celery.worker.request.datetime = SkewedDatetime


def serve() -> None:
    """Fork a process per line of standard input; answer with its number."""
    lay_points()
    # What a worker imports when it loads its first model.
    transformers.AutoModelForSequenceClassification, transformers.AutoTokenizer  # noqa: B018
    transformers.BertForSequenceClassification, transformers.BertTokenizer  # noqa: B018
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are reaped by the kernel
    answer("ready")
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(request)
        answer(str(pid))


def answer(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def enter(namespace: str) -> None:
    """Move this process into a network namespace."""
    with Path("/run/netns", namespace).open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}")


def become(request: dict[str, Any]) -> None:
    """Turn this fork into a `headwise` process; never returns."""
    status = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if request["namespace"]:
            enter(request["namespace"])
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for key in [key for key in os.environ if key.startswith("HEADWISE_")]:
            del os.environ[key]
        os.environ.update(request["environment"])
        _forge.update(folder=Path(request["faults"]), skew=request["skew"], pace=request["pace"])
        sys.argv = ["headwise", *request["arguments"]]
        cli.main.main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - the end of a process
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    # Pickled and patched under its real name, not as __main__.
    from tests.chaos import process

    process.serve()
