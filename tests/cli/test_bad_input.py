"""Bad input ends in exit status 2 and exactly one line that names field, value and remedy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from db.database import Database
from tests.cli.conftest import Headwise
from tests.helpers.inputs import model_folder
from tests.helpers.jobs import planned_job

GOOD = ("submit", "--model", "./home/model", "--data", "home/pairs.jsonl", "--text", "premise")


def refused(headwise: Headwise, *arguments: str) -> str:
    """Runs the command, which must be refused; returns its one line on standard error."""
    ran = headwise(*arguments)
    assert ran.status == 2, ran
    assert ran.err.startswith("headwise: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    assert "Traceback" not in ran.err
    assert "Input should" not in ran.err
    assert ran.out == ""
    return ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense",), ("No such command 'nonsense'", "headwise --help")),
        (("jobs", "--limti", "3"), ("No such option", "--limti")),
        (("jobs", "--limit", "0"), ("--limit", "must be at least 1 (given: '0')")),
        (("jobs", "--state", "runing"), ("--state", "'runing'", "Did you mean 'running'?")),
        (("watch", "first"), ("JOB", "must be a whole number (given: 'first')")),
        (("watch", "99"), ("no job 99",)),
        (("watch", "9" * 20), ("JOB", "must be at most 2,147,483,647")),
        (("compare", "1", "9" * 20), ("NUMBER", "must be at most 2,147,483,647")),
        (("figure", "1", "--example", "9" * 20), ("--example", "at most 2,147,483,647")),
        (("cancel", "99"), ("no job 99",)),
        (("pause", "99"), ("no job 99",)),
        (("resume", "99"), ("no job 99",)),
        (("delete", "99"), ("no job 99",)),
        (("sql",), ("Missing argument",)),
        (("sql", "DELETE FROM job"), ("is not a SELECT", "Write one SELECT")),
        (("sql", "SELECT * FROM nothing"), ("nothing",)),
        (("sql", "SELECT"), ("headwise: ",)),
        (("sql", "--csv", "SELECT * FROM nothing"), ("nothing",)),
        (("export", "99"), ("no job 99",)),
        (("export", "1", "--table", "head_score"), ("--table", "Did you mean 'head_scores'?")),
        (("export", "1", "--to", "x.xlsx"), ("--to", "x.xlsx", "Known: .csv, .jsonl, .parquet")),
        (("export", "1", "--to", "no/folder/x.csv"), ("--to", "does not exist", "Make it")),
        (("up", "--workers", "0"), ("--workers", "at least 1")),
    ],
)
def test_a_command_refuses_in_one_line(
    headwise: Headwise, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    line = refused(headwise, *arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--limit", "0"), ("data.limit", "given: 0", "Largest number of rows")),
        (("--limit", "-3"), ("data.limit", "given: -3")),
        (("--limit", "many"), ("--limit", "must be a whole number")),
        (("--rtol", "0"), ("rtol", "given: 0", "relative error")),
        (("--text", "premis"), ("data.text_columns", "'premis'", "Did you mean 'premise'?")),
        (("--label", "gold"), ("data.label_column", "'gold'", "Known: hypothesis, label")),
        (("--target", "perhaps"), ("target", "'perhaps'", "no, maybe, yes")),
        (("--target", "gold"), ("target 'gold' needs data.label_column",)),
        (("--integration", "simpson"), ("integration", "'simpson'", "gauss-legendre:m")),
        (("--priority", "1000"), ("priority", "given: 1000", "higher runs first")),
        (("--dataset", "org/set"), ("exactly one of data.path", "data.dataset")),
        (("--revision", "main"), ("a local folder has no revision",)),
        (("--model", "./nothing"), ("model.name", "outside the allowed folders")),
        (("--model", "./home/nothing"), ("model.name", "no such folder", "home/nothing")),
        (("--data", "nothing.jsonl"), ("data.path", "outside the allowed folders")),
        (("--data", "home/../../x.jsonl"), ("data.path", "HEADWISE_ALLOWED_FOLDERS")),
        (("--data", "home/nothing.jsonl"), ("data.path", "no such file")),
        (("--set", "rtoll=1"), ("rtoll", "unknown key", "Did you mean 'rtol'?")),
        (("--set", "data.sampel=5"), ("data.sampel", "given: 5", "Did you mean 'sample'?")),
        (("--set", "rtol"), ("--set", "'rtol'", "is not key=value", "data.sample=500")),
        (("--set", "data.path.x=1"), ("--set", "'path' holds no keys")),
        (("--set", "rtol=" + "[" * 50_000), ("rtol", "[[[")),
        (("--preset", "demoo"), ("--preset", "'demoo'")),
        (("--spec", "nothing.json"), ("--spec", "'nothing.json'", "Give a JSON file")),
    ],
)
def test_submit_refuses_in_one_line_and_adds_no_job(
    headwise: Headwise, more: tuple[str, ...], words: tuple[str, ...]
) -> None:
    line = refused(headwise, *GOOD, *more)
    for word in words:
        assert word in line
    assert headwise("jobs", "--json").json == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[1]", b'{"spec": 5}', b"null"]
)
def test_a_broken_spec_file(headwise: Headwise, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "spec.json").write_bytes(content)
    refused(headwise, "submit", "--spec", "spec.json")
    refused(headwise, *GOOD, "--spec", "spec.json")


def test_nothing_given_names_what_is_needed(headwise: Headwise) -> None:
    line = refused(headwise, "submit")
    assert "model: is missing" in line
    assert "data: is missing" in line


def test_shown_values_are_neither_markup_nor_emoji(headwise: Headwise, home: Path) -> None:
    folder = model_folder(home / "[b]:cat:[/i]", without=["config.json"])
    assert "[b]:cat:[/i]" in refused(headwise, *GOOD, "--model", str(folder))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("HEADWISE_HOEM", "x", ("HEADWISE_HOEM", "Did you mean 'HEADWISE_HOME'?")),
        ("HEADWISE_PORT", "http", ("HEADWISE_PORT", "'http'", "Port the dashboard")),
        ("HEADWISE_HOME", "/dev/null/x", ("/dev/null/x", "cannot be made")),
        ("HEADWISE_HOME", "~nobody-of-that-name", ("HEADWISE_HOME", "unknown user")),
        ("HEADWISE_DATABASE_URL", "mysql://u@h/d", ("HEADWISE_DATABASE_URL", "postgresql://")),
        ("HEADWISE_DATABASE_URL", "postgresql://u@h:p/d", ("is not a database address",)),
        ("HEADWISE_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/d", ("does not answer",)),
        ("HEADWISE_BROKER_URL", "kafka://h", ("HEADWISE_BROKER_URL", "redis://")),
    ],
)
@pytest.mark.parametrize("command", ["jobs", "scheduler"])
def test_bad_settings_are_refused_by_every_command(
    headwise: Headwise,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    key: str,
    value: str,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv(key, value)
    line = refused(headwise, command)
    for word in words:
        assert word in line
    assert "secret" not in line


def test_a_file_that_is_no_database(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("this is a note, not a database, and long enough" * 9)
    monkeypatch.setenv("HEADWISE_DATABASE_URL", f"sqlite:///{tmp_path / 'note.txt'}")
    line = refused(headwise, "jobs")
    assert "note.txt" in line
    assert "file is not a database" in line


def test_a_control_that_does_not_fit_the_state(headwise: Headwise, store: Database) -> None:
    job = str(planned_job(store))
    assert "cancel it before deleting it" in refused(headwise, "delete", job)
    headwise("cancel", job)
    assert "pause is not possible now" in refused(headwise, "pause", job)


def test_a_port_that_is_taken(headwise: Headwise, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("HEADWISE_PORT", str(taken.getsockname()[1]))
        line = refused(headwise, "up")
    assert "HEADWISE_PORT" in line
    assert "choose a free port" in line


def test_the_installed_command_ends_the_same_way(home: Path) -> None:
    """A real process: nothing but the line reaches standard error."""
    ran = subprocess.run(
        [Path(sys.executable).with_name("headwise"), *GOOD, "--limit", "0"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ.copy(),
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("headwise: data.limit: ")
    assert ran.stderr.count("\n") == 1
