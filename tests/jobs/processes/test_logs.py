"""Lines carry who and what, are kept within bounds, and never hold a password."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from jobs.processes import logs
from jobs.processes.logs import Pending, about_attempt, bind_process, configure_logs, redact
from jobs.settings import Settings

PASSWORD = 'p"ss\\w0rd'
DATABASE = "postgresql://ada:p%22ss%5Cw0rd@db.example:5432/headwise"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pending]:
    """Logging as a process configures it, undone afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    lines = Pending()
    monkeypatch.setattr(logs, "pending", lines)
    monkeypatch.setattr(logs, "_process", {})
    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    logs._secrets.clear()


def lines_of(capsys: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_every_line_of_an_attempt_names_it(fresh: Pending, capsys: Any) -> None:
    configure_logs(Settings(log_format="json"))
    bind_process(worker="w-1")
    with about_attempt(7, 3, 2):
        structlog.get_logger().info("own", examples=4)
        logging.getLogger("library").warning("from %s", "elsewhere")
        thread = threading.Thread(target=lambda: structlog.get_logger().info("other thread"))
        thread.start()
        thread.join()
    structlog.get_logger().info("afterwards")
    first, *others, last = lines_of(capsys)
    assert first["examples"] == 4
    for line in (first, *others):
        named = {key: line[key] for key in ("job", "shard", "attempt", "worker")}
        assert named == {"job": 7, "shard": 3, "attempt": 2, "worker": "w-1"}
    assert (last["worker"], "job" in last) == ("w-1", False)
    kept = fresh.take(100)
    assert [line.event for line in kept] == ["own", "from elsewhere", "other thread"]
    assert {(line.job, line.shard, line.attempt) for line in kept} == {(7, 3, 2)}
    assert [line.level for line in kept] == [20, 30, 20]


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_errors_come_with_their_traceback(fresh: Pending, capsys: Any, log_format: str) -> None:
    configure_logs(Settings(log_format=log_format))
    with about_attempt(1, 0, 1):
        try:
            raise RuntimeError("out of luck")
        except RuntimeError:
            structlog.get_logger().error("shard raised", exc_info=True)
            logging.getLogger("library").exception("also there")
    shown = capsys.readouterr().err
    assert shown.count("Traceback (most recent call last)") == 2
    for line in fresh.take(10):
        assert "RuntimeError: out of luck" in line.details
        assert "test_logs.py" in line.details


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_line_holds_a_password(fresh: Pending, capsys: Any, log_format: str) -> None:
    configure_logs(
        Settings(
            log_format=log_format,
            database_url=DATABASE,
            broker_url="amqp://grace:correct%20horse@mq.example:5672//",
        )
    )
    leaks = (PASSWORD, "p%22ss%5Cw0rd", "correct horse", "correct%20horse", "hunter2")
    with about_attempt(1, 0, 1):
        log = structlog.get_logger()
        log.warning(
            f"cannot open {DATABASE}", url=DATABASE, parts=[PASSWORD], repeated=repr(leaks[:4])
        )
        logging.getLogger("library").error("conninfo password=hunter2 to %s", "correct horse")
        try:
            raise OSError(f"redis://:hunter2@cache.example:6379/0 and {PASSWORD}")
        except OSError:
            log.error("raised", exc_info=True)
    said = capsys.readouterr().err
    kept = [f"{line.event} {line.details}" for line in fresh.take(10)]
    for text in (said, *kept):
        assert not [leak for leak in leaks if leak in text]
        assert logs.HIDDEN in text
    assert "db.example" in said


def test_a_password_that_is_an_ordinary_word_is_hidden_in_addresses_only(fresh: Pending) -> None:
    configure_logs(Settings(database_url="postgresql://headwise:headwise@db/headwise"))
    assert redact("headwise job") == "headwise job"
    hidden = "postgresql://headwise:***@db/headwise"
    assert redact("postgresql://headwise:headwise@db/headwise") == hidden


def test_what_the_database_cannot_hold_is_left_out(fresh: Pending) -> None:
    fresh_lines = fresh
    configure_logs(Settings())
    with about_attempt(1, 0, 1):
        structlog.get_logger().info("half \ud83d and \0 nothing", long="x" * 100_000)
    (line,) = fresh_lines.take(10)
    assert line.event == "half ? and  nothing"
    assert len(line.details) < logs.LONGEST_LINE + 100
    assert "characters ..." in line.details


def test_too_many_lines_drop_the_oldest_and_say_so() -> None:
    lines = Pending()
    for number in range(logs.PENDING_LINES + 7):
        lines.add("info", f"line {number}", "", {"job": 1, "shard": 0, "attempt": 1})
    first, second, *_ = batch = lines.take(100)
    assert "lines were dropped" in first.event
    assert first.details == "dropped=7"
    assert second.event == "line 7"
    assert first.number < second.number
    lines.put_back(batch)
    again = lines.take(logs.PENDING_LINES * 2)
    assert [line.number for line in again] == sorted({line.number for line in again})
    assert again[-1].event == f"line {logs.PENDING_LINES + 6}"


def test_lines_about_no_job_are_not_kept() -> None:
    lines = Pending()
    lines.add("info", "idle", "", {"worker": "w"})
    lines.add("info", "odd", "", {"job": "7"})
    assert lines.take(10) == []
