"""Whatever ends an attempt is stored as its end: nothing keeps a lease, or a worker, for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from db.database import Database
from headwise.errors import ModelNotFoundError
from jobs.settings import Settings
from jobs.specs.submission import parse_spec
from tests.helpers.databases import execute, rows, sqlite_database
from tests.helpers.jobs import planned_job
from tests.helpers.tiny import bert_folder, pairs_file
from tests.helpers.working import ENDS, submitted
from workers import executor
from workers.model_cache import ModelCache
from workers.worker import Worker

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    bert_folder(tmp_path / "model")
    pairs_file(tmp_path / "pairs.jsonl", 6)
    return Settings(home=tmp_path, threads=1, device="cpu")


@pytest.fixture
def database(settings: Settings) -> Database:
    return sqlite_database(settings.home / "headwise.sqlite")


def panic(*_: object) -> None:
    """A real panic of a Rust extension: a regular expression that gives up."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    pattern = Regex(r"(([a-z])+.)+[A-Z]([a-z])+$")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "isolated")
    tokenizer.encode("a" * 40 + "!")


def raising(error: BaseException) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise error

    return call


@pytest.mark.parametrize("where", ["computing", "loading"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (panic, "PanicException: Onig: Regex search error"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(KeyboardInterrupt()), "KeyboardInterrupt: "),
        (raising(GeneratorExit("broken off")), "GeneratorExit: broken off"),
        (raising(MemoryError("no room")), "MemoryError: no room"),
    ],
)
def test_every_exception_ends_the_attempt_as_an_error(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    fault: Callable[..., None],
    words: str,
) -> None:
    submitted(settings, database)
    with monkeypatch.context() as broken:
        if where == "computing":
            broken.setitem(executor.COMPUTE, "attribution", fault)
        else:
            broken.setattr(ModelCache, "_load", fault)
        worker = Worker(settings, Database(database.url))
        worker.start()
        assert worker.compute_shards() == 1
        ((outcome, error),) = rows(database, ENDS)
        assert outcome == "error"
        assert error.startswith(words)
        assert worker.heartbeat._held is None
    # The same process computes it the next time.
    execute(database, "UPDATE shard SET available_at = 0")
    assert worker.compute_shards() == 1
    worker.close()
    assert rows(database, ENDS)[1][0] == "done"


def test_a_text_that_the_tokenizer_panics_on_costs_only_itself(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settings.home / "model" / "tokenizer.json"
    made = Tokenizer.from_file(str(path))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"(([a-z])+.)+[A-Z]([a-z])+$"), "isolated")
    path.write_text(made.to_str())
    # BertTokenizer would take nothing but the vocabulary from there.
    settings_file = settings.home / "model" / "tokenizer_config.json"
    plain = {**json.loads(settings_file.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}
    settings_file.write_text(json.dumps(plain))
    data = settings.home / "pairs.jsonl"
    texts = [json.loads(line) for line in data.read_text().splitlines()]
    for number, row in enumerate(texts):
        row.update(premise="a" * 40 + "!" if number == 4 else "cat", hypothesis="dog")
    data.write_text("\n".join(json.dumps(row) for row in texts))
    # Submission tries the longest texts only.
    monkeypatch.setattr("scheduler.submission.submit.try_texts", lambda *_: [])
    submitted(settings, database)
    worker = Worker(settings, Database(database.url))
    worker.start()
    for _ in range(30):
        execute(database, "UPDATE shard SET available_at = 0")
        if not worker.compute_shards():
            break
    worker.close()
    assert rows(database, "SELECT DISTINCT state FROM shard") == [("done",)]
    ((example, error),) = rows(
        database, "SELECT example_no, error FROM example_result WHERE error IS NOT NULL"
    )
    assert example == 4
    assert "the tokenizer fails on this text: Onig" in error
    assert rows(database, "SELECT COUNT(*) FROM example_result") == [(6,)]


def test_a_model_that_changed_into_a_broken_one_fails_the_job_at_once(
    settings: Settings, database: Database
) -> None:
    submitted(settings, database)
    path = settings.home / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "nonsense"}))
    worker = Worker(settings, Database(database.url))
    worker.start()
    assert worker.compute_shards() == 1
    worker.close()
    ((outcome, error),) = rows(database, ENDS)
    assert outcome == "error"
    assert "config.json" in error
    assert "nonsense" in error
    assert rows(database, "SELECT DISTINCT state FROM shard") == [("failed",)]


def test_an_exit_while_the_worker_stops_hands_back(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(settings, database)
    worker = Worker(settings, Database(database.url))
    worker.start()

    def interrupted(*_: object) -> None:
        worker.stop("told to")
        raise SystemExit

    monkeypatch.setitem(executor.COMPUTE, "attribution", interrupted)
    worker.compute_shards()
    worker.close()
    assert rows(database, ENDS) == [("handed-back", "the worker is shutting down")]
    assert rows(database, "SELECT state, errors, losses FROM shard") == [("ready", 0, 0)]


def test_a_name_on_the_hub_is_never_a_folder_beside_the_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert_folder(settings.home / "org" / "model")
    monkeypatch.chdir(settings.home)
    spec = parse_spec(
        {"model": {"name": "org/model"}, "data": {"path": "x", "text_columns": ["premise"]}}
    )
    with pytest.raises(ModelNotFoundError, match="'org/model' is a name on the hub, but"):
        ModelCache(settings).get(spec)


def test_the_tokenizer_of_a_model_is_one_text_whatever_it_was_used_for(settings: Settings) -> None:
    folder = str(settings.home / "model")
    spec = parse_spec({"model": {"name": folder}, "data": {"path": "x", "text_columns": ["a"]}})
    models = ModelCache(settings)
    before = models.tokenizer_json(spec)
    models.get(spec).tokenizer("one two three", truncation=True, max_length=2)
    assert models.get(spec).tokenizer.backend_tokenizer.to_str() != before
    assert models.tokenizer_json(spec) == before


def run(program: str, *arguments: str) -> int:
    """Run a program in a process of its own; returns its exit status."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        timeout=240,
        check=False,
        stderr=subprocess.DEVNULL,
    ).returncode


BATCH = """
import sys, time
from jobs.settings import Settings
from workers import batch
from workers.model_cache import ModelCache
from workers.stop_conditions import StopConditions
ModelCache._load = lambda *_: time.sleep(3600)
settings = Settings(home=sys.argv[1], threads=1, device="cpu", control_seconds=0.1)
sys.exit(batch.run_batch(settings, StopConditions(seconds=2)))
"""


@pytest.mark.timeout(600)
def test_the_time_of_a_worker_ends_while_it_loads_a_model(
    settings: Settings, database: Database
) -> None:
    submitted(settings, database)
    assert run(BATCH, str(settings.home)) == 0
    assert rows(database, ENDS) == [("handed-back", "the worker's time is up")]
    assert rows(database, "SELECT state, errors, losses FROM shard") == [("ready", 0, 0)]


DEAF = """
import re, sys
from db.database import Database
from db.queue import claims
from jobs.settings import load_settings
from tests.helpers.jobs import ALICE
from workers import heartbeat
heartbeat.DEAD_MAN_SECONDS = 0.5
database = Database(sys.argv[1])
settings = load_settings({}, control_seconds=0.1, stall_seconds=0.5)
one = heartbeat.WorkerHeartbeat(settings, database, ALICE)
one.start()
one.hold(claims.claim(database, ALICE, 60))
re.match("(a+)+$", "a" * 60 + "!")  # keeps Python's lock for longer than anybody waits
"""


@pytest.mark.timeout(600)
def test_a_process_whose_watchdog_cannot_run_ends(database: Database) -> None:
    planned_job(database, examples=2)
    assert run(DEAF, database.url) == 1
    assert rows(database, ENDS) == [(None, None)]  # the lease expires
