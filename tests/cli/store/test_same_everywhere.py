"""Every command of Jobs and Results, on this machine's database and on a server: the same words.

Two stores are filled alike. The commands run one after the other on each, so that what one changes
the next one shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from cli.lazy import load
from cli.main import COMMANDS
from db import schema
from db.accounts import accounts, tokens
from db.accounts.tokens import Scope
from db.database import Database
from db.ops.logs import LogShipper
from db.queue import lifecycle
from jobs.kinds.attack import AttackSpec
from jobs.processes.logs import Pending
from jobs.settings import Settings, load_settings
from jobs.specs.submission import parse_spec
from scheduler.loop import Scheduler
from scheduler.submission.quick_jobs import attack_text
from scheduler.submission.submit import check, submit
from tests.cli.commands.test_pruning import MEAN, planned
from tests.cli.conftest import Headwise, Ran
from tests.helpers.attack_jobs import commit_shards, source_job
from tests.helpers.inputs import model_folder, raw_submission
from tests.helpers.jobs import planned_job
from tests.helpers.matrices import seed_matrix
from tests.helpers.tiny import bert_folder
from tests.webui.accounts.people import Lab, open_lab

SOURCE, TRIED, PRUNING, RUNNING = 1, 2, 4, 5
"""Numbers of the jobs that both stores have: see `fill`."""
PANELS = ("Jobs", "Results")

SQL_FILES = ("csv", "json", "parquet")


def commands(home: Path) -> list[tuple[str, ...]]:
    """Every command of the two panels, right and wrong, in an order that makes sense.

    A job that another one needs is not deleted.
    """
    model, data = str(home / "model"), str(home / "pairs.jsonl")
    good = ("--model", model, "--data", data, "--text", "premise,hypothesis")
    study = ("study", *good, "--label", "label", "--examples", "4")
    attack = ("attack", "--triggers-from", str(SOURCE))
    tried = ("try-attack", "a cat", "a dog", "--words", "ice", "--model", str(home / "two"))
    nightly = ("recurring", "add", "--cron", "30 2 * * *", "--name", "nightly")
    hook = "https://hooks.example.org/secret-path"
    matrix = ("matrix", str(SOURCE), "--example", "0")
    scores = "SELECT example, layer, head, score FROM head_scores ORDER BY 1, 2, 3"
    return [
        ("jobs",),
        ("jobs", "--json"),
        ("jobs", "--state", "succeeded", "--limit", "2"),
        ("jobs", "--state", "done"),
        ("submit", *good, "--label", "label", "--check"),
        ("submit", *good, "--label", "label", "--check", "--json"),
        ("submit", *good, "--name", "mine", "--priority", "5"),
        ("submit", *good),
        ("submit", *good, "--json"),
        ("submit", *good, "--rtol", "0.5", "--limit", "4", "--again", "--json"),
        ("submit", *good, "--kind", "importanc"),
        ("submit", *good, "--limit", "0", "--set", "edgs=3"),
        ("submit", "--model", "/no/model", "--data", data, "--text", "premise"),
        ("submit", "--preset", "nothing"),
        ("submit", "--spec", str(home / "spec.json"), "--check"),
        ("submit", "--spec", str(home / "no.json")),
        ("submit", *good, "--set", "priority"),
        (*study, "--check"),
        (*study, "--check", "--json"),
        (*study, "--no-watch", "--name", "paper"),
        (*study, "--no-watch", "--json"),
        (*study, "--set", "random=1", "--set", "parts=pruning", "--no-watch"),
        (*study, "--set", "randm=1"),
        (*study, "--parts", "prune"),
        (*attack, "--check"),
        (*attack, "--json"),
        (*attack, "--per-class", "0"),
        ("attack", "--triggers-from", "99"),
        tried,
        (*tried, "--json"),
        (*tried, "--positions", "2"),
        ("try-attack", " ", "--words", "b", "--model", model),
        ("why", str(RUNNING)),
        ("why", str(RUNNING), "--json"),
        ("why", str(SOURCE)),
        ("why", "99"),
        ("watch", str(SOURCE)),
        ("watch", str(SOURCE), "--json"),
        ("watch", "99"),
        ("logs", str(RUNNING)),
        ("logs", str(RUNNING), "--json", "--level", "warning"),
        ("logs", str(RUNNING), "--shard", "1"),
        ("logs", str(SOURCE), "--watch"),
        ("logs", str(SOURCE), "--follow"),
        ("logs", str(RUNNING), "--level", "loud"),
        ("logs", "99"),
        ("pause", str(RUNNING)),
        ("resume", str(RUNNING)),
        ("change", str(RUNNING), "--priority", "7", "--keep-days", "3"),
        ("change", str(RUNNING), "--priority", "700"),
        ("change", str(RUNNING)),
        ("delete", str(RUNNING)),
        ("cancel", str(RUNNING)),
        ("pause", str(RUNNING)),
        ("resume", "99"),
        ("cancel", "99"),
        ("delete", str(SOURCE)),
        ("jobs", "--json", "--limit", "3"),
        ("notify", "list"),
        ("notify", "add", "team", hook, "--jobs", "long", "--conditions"),
        ("notify", "add", "team", hook),
        ("notify", "add", "x", "syslog://"),
        ("notify", "list"),
        ("notify", "list", "--json"),
        ("notify", "test", "team"),
        ("notify", "test", "tema"),
        ("notify", "log"),
        ("notify", "log", "--json"),
        ("notify", "remove", "team"),
        ("notify", "remove", "team"),
        ("recurring", "list"),
        (*nightly, "--spec", str(home / "spec.json"), "--set", "priority=-10"),
        (*nightly, "--job", str(TRIED)),
        ("recurring", "add", "--cron", "x", "--spec", str(home / "spec.json")),
        ("recurring", "list"),
        ("recurring", "list", "--json"),
        ("recurring", "pause", "1"),
        ("recurring", "list"),
        ("recurring", "resume", "1"),
        ("recurring", "resume", "9"),
        ("recurring", "remove", "1"),
        ("recurring", "remove", "1"),
        ("sql", "SELECT 1 AS one, NULL AS nothing, 'x' AS letter, 0.1 + 0.2 AS sum"),
        ("sql", scores, "--json"),
        ("sql", scores, "--csv"),
        *(("sql", scores, "--to", f"scores.{suffix}") for suffix in SQL_FILES),
        ("sql", "SELECT 1", "--to", "rows.xlsx"),
        ("sql", "SELECT * FROM nothing", "--to", "none.csv"),
        ("sql", "SELECT x'00ff' AS bytes", "--json"),
        ("sql", "SELECT * FROM account"),
        ("sql", "SELECT FROM", "--csv"),
        ("sql", "SELECT layer FROM head_importance WHERE job_id = 1", "--explain"),
        ("sql", "DELETE FROM jobs", "--explain"),
        ("compare", str(SOURCE), str(RUNNING)),
        ("compare", str(SOURCE), str(RUNNING), "--json"),
        ("compare", str(SOURCE)),
        ("compare", str(SOURCE), "99"),
        ("compare", str(SOURCE), str(PRUNING)),
        ("compare", str(SOURCE), str(RUNNING), "--kind", "accuracy", "--to", "a.csv"),
        ("compare", str(SOURCE), str(RUNNING), "--kind", "curve", "--to", "a.csv"),
        ("compare", "--studies", "1", "2"),
        ("compare", "--studies", "1", "2", "--json"),
        ("compare", "--studies", "1", "2", "--kind", "accuracy", "--to", "a.csv"),
        ("compare", "--studies", "1"),
        ("compare", "--studies", "1", "1"),
        ("compare", "--studies", "1", "99"),
        ("report", "1", "--to", "report.html"),
        ("report", "1", "--to", "report.pdf"),
        ("report", "99", "--to", "report.html"),
        ("report", "1", "--to", "report.doc"),
        ("report", "1", "--to", "no/report.html"),
        ("figure", str(SOURCE)),
        ("figure", str(PRUNING)),
        ("figure", str(SOURCE), "--kind", "heads", "--to", "heads.csv"),
        ("figure", str(PRUNING), "--kind", "curve", "--to", "curve.csv"),
        ("figure", str(PRUNING), "--kind", "curve", "--to", "curve.svg"),
        ("figure", str(SOURCE), "--kind", "heads", "--to", "heads.doc"),
        ("figure", str(SOURCE), "--kind", "nothing", "--to", "heads.csv"),
        ("figure", "99", "--kind", "heads", "--to", "heads.csv"),
        ("matrix", str(TRIED)),
        ("matrix", str(SOURCE)),
        (*matrix, "--head", "L0 H0", "--to", "matrix.csv"),
        (*matrix, "--head", "L0 H1", "--to", "other.csv", "--no-watch"),
        (*matrix, "--head", "L0 H1", "--to", "other.csv", "--no-watch"),
        (*matrix, "--head", "L9 H0", "--to", "other.csv"),
        (*matrix, "--head", "head 3", "--to", "other.csv"),
        (*matrix, "--head", "L0 H0"),
        ("matrix", "99"),
        ("export", str(TRIED), "--table", "examples"),
        *(("export", str(PRUNING), "--table", "pruning_points", "--to", f"rows.{suffix}")
          for suffix in ("csv", "jsonl", "parquet")),
        ("export", str(TRIED)),
        ("export", "99"),
        ("export", "1", "--table", "head_score"),
        ("export", "1", "--to", "rows.xlsx"),
        ("schema",),
        ("schema", "--settings"),
        ("prune", str(PRUNING), "--share", "0.5", "--out", "half", "--json"),
        ("prune", str(PRUNING), "--point", "1", "--out", "one", "--format", "masked"),
        ("prune", str(PRUNING), "--share", "0.3", "--out", "third"),
        ("prune", str(PRUNING), "--chosen", "--out", "chosen"),
        ("prune", str(TRIED), "--point", "0", "--out", "other"),
        ("delete", str(TRIED)),
    ]  # fmt: skip


def names() -> set[str]:
    """Every command of the two panels, as the command line itself lists them."""
    found = set()
    for panel in PANELS:
        for name, place in COMMANDS[panel].items():
            below = getattr(load(name, place, panel), "commands", None)
            found |= {f"{name} {one}" for one in below} if below else {name}
    return found


def test_the_table_has_every_command() -> None:
    tried = {" ".join(one[:2]) for one in commands(Path())} | {one[0] for one in commands(Path())}
    assert names() - tried == set()
    assert {"submit", "export", "notify add"} <= names()


@dataclass
class Sides:
    """The same jobs in this machine's database and in that of a server."""

    lab: Lab
    token: str


def fill(database: Database, settings: Settings, home: Path) -> None:
    """Make the jobs that commands are about."""
    assert source_job(database) == SOURCE
    spec = parse_spec(raw_submission(home)["spec"]).model_dump(mode="json")
    with database.write() as tx:
        own = update(schema.job).where(schema.job.c.id == SOURCE)
        tx.execute(own.values(spec=json.dumps(spec)))
    raw = {**attack_text(str(home / "two"), ("a cat", "a dog"), ("ice",)), "user": "ada"}
    assert submit(check(raw, settings, database), database) == TRIED
    broker: Any = SimpleNamespace()
    Scheduler(settings, database, broker).plan()
    with database.read() as tx:
        stored = json.loads(tx.run(f"SELECT spec FROM job WHERE id = {TRIED}").scalar_one())
    attack = parse_spec(stored)
    assert isinstance(attack, AttackSpec)
    commit_shards(database, attack)
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    with database.write() as tx:  # a speed that does not depend on this machine's
        took = "elapsed_seconds = 2, compute_seconds = 2"
        tx.run(f"UPDATE job SET started_at = 9e9, finished_at = 9e9 + 2, {took} WHERE id = {TRIED}")
    assert planned(home, database, np.asarray(MEAN)) == PRUNING
    assert planned_job(database, name="[/b] :cat:") == RUNNING
    seed_matrix(database, SOURCE, 0, 0, 0)
    lines = Pending()
    for number in range(3):
        about = {"job": RUNNING, "shard": number, "attempt": 1}
        lines.add("info" if number else "error", f"said {number}", f"value={number}", about)
    LogShipper(database, "orion-1", seconds=1, kept=100, lines=lines).ship()


@pytest.fixture
def sides(
    home: Path, store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sides]:
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("HEADWISE_SHARD_SECONDS", "10")  # as the server's
    model_folder(home / "two", id2label={"0": "no", "1": "yes"})
    bert_folder(home / "tiny", layers=2, heads=4)
    (home / "spec.json").write_text(json.dumps(raw_submission(home)["spec"]))
    fill(store, load_settings(), home)
    with open_lab(tmp_path / "server", allowed_folders=str(home)) as lab:
        lab.add("Ada", "admin")
        fill(lab.database, load_settings(), home)
        account = accounts.get(lab.database, "ada")
        yield Sides(lab, tokens.make(lab.database, account, "test", Scope.ADMIN, 1)[1])


@pytest.mark.timeout(900)  # a hundred commands, twice
def test_every_command_says_the_same_on_both(
    headwise: Headwise,
    sides: Sides,
    store: Database,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    different, succeeded = [], set()
    folders = [tmp_path / side for side in ("here", "there")]
    for folder in folders:
        folder.mkdir()
    for arguments in commands(home):
        monkeypatch.chdir(folders[0])
        monkeypatch.delenv("HEADWISE_SERVER", raising=False)
        ran = headwise(*arguments)
        assert ran.status != 2 or ran.err.count("\n") == 1, (arguments, ran)
        here = comparable(ran, folders[0])
        monkeypatch.chdir(folders[1])
        monkeypatch.setenv("HEADWISE_SERVER", sides.lab.address)
        monkeypatch.setenv("HEADWISE_TOKEN", sides.token)
        there = comparable(headwise(*arguments), folders[1])
        if here != there:
            different.append((arguments, here, there))
        if here[0] == 0:
            succeeded |= {arguments[0], " ".join(arguments[:2])}
        assert here[0] in (0, 1, 2), (arguments, here)
    assert different == [], "\n\n".join("\n".join(map(str, one)) for one in different)
    assert names() - succeeded == set()
    for suffix in ("csv", "jsonl", "parquet"):
        rows = [(folder / f"rows.{suffix}").read_bytes() for folder in folders]
        assert rows[0] == rows[1]
        assert b"source" in rows[0]
    drawn = [(folder / "matrix.csv").read_bytes() for folder in folders]
    assert drawn[0] == drawn[1]
    assert not (folders[0] / "other.csv").exists()
    for suffix in SQL_FILES:
        files = [(folder / f"scores.{suffix}").read_bytes() for folder in folders]
        assert files[0] == files[1]
    assert not (folders[0] / "none.csv").exists()
    pages = [(folder / "report.html").read_text("utf-8") for folder in folders]
    assert all("This study is not complete." in page for page in pages)
    pdfs = [folder / "report.pdf" for folder in folders if (folder / "report.pdf").exists()]
    assert len(pdfs) == (0 if find_library("pangoft2-1.0") is None else 2)
    assert all(pdf.read_bytes().startswith(b"%PDF-") for pdf in pdfs)
    assert (folders[1] / "half/config.json").is_file()
    assert audited(store, "command line") == [
        one for one in audited(sides.lab.database, "127.0.0.1") if one[1] != "upload"
    ]


def comparable(ran: Ran, folder: Path) -> tuple[int, str, str]:
    """The parts that must be equal: no times, no secrets, and files by their names alone."""
    text = ran.out
    if text.startswith(("{", "[{")):
        found = [_fixed(json.loads(line)) for line in text.splitlines()]
        text = "\n".join(json.dumps(one, sort_keys=True) for one in found)
    return ran.status, _steady(text, folder), _steady(ran.err, folder)


LOOSE = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?( UTC|Z|\+00:00)?|\d+:\d\d:\d\d|-:--:--"
    r"|^https?://[^/ ]+(?=/(jobs|studies)/)"
    r"|\d+\.\d ms|signatures with \S+| +[\d.]+ examples/s +|(?<= test:)[\d.]+"
    # Its own data folder, and whose the recipients are: a server knows by the token.
    r"|(?<=allowed folders \()\S+/server, | +(everyone|ada +)?$|(?<=jobs of) +$",
    re.MULTILINE,
)


def _steady(text: str, folder: Path) -> str:
    # How wide a column is, and so where its words are broken, follows from what is cut out.
    return " ".join(LOOSE.sub("", text.replace(str(folder), "")).split())


def _fixed(value: Any) -> Any:
    """JSON without times and what depends on where an upload is stored."""
    if isinstance(value, list):
        return [_fixed(one) for one in value]
    if not isinstance(value, dict):
        return value
    loose = {"path", "spec_hash", "seconds", "secret", "at", "event", "examples_per_second"}
    loose |= {"user"} if "shown" in value else set()  # of a recipient
    return {
        key: _fixed(one)
        for key, one in value.items()
        if key not in loose and not key.endswith(("_at", "_seconds"))
    }


def audited(database: Database, place: str) -> list[tuple[Any, ...]]:
    """The entries that came from a place, without the number of the token that a server notes."""
    rows = database.rows("SELECT user_name, address, action, object, detail FROM audit ORDER BY id")
    found = []
    for row in rows:
        if row["address"] == place:
            detail = {k: v for k, v in json.loads(row["detail"]).items() if k != "token"}
            found.append((row["user_name"], row["action"], row["object"], detail))
    return found
