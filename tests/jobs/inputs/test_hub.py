"""Models and datasets on the hub, at the boundary of its two libraries: no network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.errors import HTTPError

from jobs.inputs import hub as hub_calls
from jobs.inputs.hub import FILE_FORMATS
from jobs.inputs.models.configuration import model_facts
from jobs.settings import Settings
from jobs.specs.base import DataSpec, ModelSpec
from tests.helpers.inputs import CONFIG, read_rows, refused

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = ModelSpec(name="org/model", revision="main")
DATA = DataSpec(
    dataset="org/set", config="mnli", split="test", text_columns=("text",), label_column="label"
)
FILES = ["config.json", "model.safetensors", "tokenizer.json", "README.md"]


class Response:
    """As much of an HTTP response as the hub's errors look at."""

    headers: dict[str, str] = {}  # noqa: RUF012
    request = None
    status_code = 404


def hub_error(kind: type[Exception], message: str) -> Exception:
    if issubclass(kind, errors.HfHubHTTPError):
        return kind(message, response=Response())
    return kind(message)


class Hub:
    """The hub that a test wants: files of a model, or an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.config: dict[str, Any] | Exception = CONFIG
        self.files: list[str] | Exception = FILES
        self.asked: list[tuple[str, str | None]] = []
        self.snapshot = cache / "snapshots" / COMMIT
        self.snapshot.mkdir(parents=True)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", self.listed)

    def download(
        self,
        name: str,
        filename: str,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> str:
        self.asked.append((name, revision))
        if isinstance(self.config, Exception):
            raise self.config
        (self.snapshot / filename).write_text(json.dumps(self.config))
        return str(self.snapshot / filename)

    def listed(self, name: str, *, revision: str | None = None) -> list[str]:
        if isinstance(self.files, Exception):
            raise self.files
        return self.files


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    return Hub(monkeypatch, tmp_path / "cache")


def test_a_model_is_pinned_to_the_commit_that_its_revision_means(
    hub: Hub, settings: Settings
) -> None:
    found = model_facts(MODEL, settings)
    assert found.revision == COMMIT
    assert found.labels == ("no", "maybe", "yes")
    assert hub.asked == [("org/model", "main")]


@pytest.mark.parametrize(
    ("kind", "message", "words"),
    [
        (errors.RepositoryNotFoundError, "404", ("is not on the hub", "HF_TOKEN")),
        (errors.GatedRepoError, "gated", ("is not on the hub", "HF_TOKEN")),
        (errors.RevisionNotFoundError, "no such revision", ("no such revision", "revision")),
        (errors.RemoteEntryNotFoundError, "no config\nmore", ("cannot be fetched: no config",)),
        (errors.LocalEntryNotFoundError, "offline", ("offline", "give a local folder")),
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE is set", ("HF_HUB_OFFLINE",)),
        (errors.HFValidationError, "bad name", ("bad name",)),
        (HTTPError, "connection refused", ("connection refused", "hub can be reached")),
        (TimeoutError, "", ("cannot be fetched: TimeoutError",)),
    ],
)
def test_a_failing_hub_is_bad_input_in_words(
    hub: Hub, settings: Settings, kind: type[Exception], message: str, words: tuple[str, ...]
) -> None:
    hub.config = hub_error(kind, message)
    problem = refused(lambda: model_facts(MODEL, settings), "given: 'org/model'", *words)
    assert problem.field == "model.name"


@pytest.mark.parametrize("kind", [HTTPError, errors.OfflineModeIsEnabled])
def test_without_network_the_cached_snapshot_is_what_there_is(
    hub: Hub, settings: Settings, kind: type[Exception]
) -> None:
    hub.files = hub_error(kind, "no network")
    refused(lambda: model_facts(MODEL, settings), "has no model.safetensors")
    for name in FILES:
        (hub.snapshot / name).touch()
    assert model_facts(MODEL, settings).revision == COMMIT


def test_a_hub_model_is_checked_like_a_folder(hub: Hub, settings: Settings) -> None:
    hub.files = ["config.json", "pytorch_model.bin", "tokenizer.json"]
    refused(lambda: model_facts(MODEL, settings), "pickle only", "pytorch_model.bin")
    hub.files, hub.config = FILES, {**CONFIG, "architectures": ["BertModel"]}
    refused(lambda: model_facts(MODEL, settings), "is not a sequence classifier", "'org/model'")


CHECK = """
import sys
from pathlib import Path
from jobs.errors import InputError
from jobs.inputs import hub
from jobs.inputs.models.configuration import model_facts
from jobs.settings import Settings
from jobs.specs.base import ModelSpec
hub.SECONDS = 1.0
for _ in range(2):
    try:
        print(model_facts(ModelSpec(name="org/model"), Settings(home=Path(sys.argv[1]))).family)
    except InputError as error:
        print(error)
"""


def check_with_a_silent_hub(home: Path) -> list[str]:
    """The words of two checks, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as hub:  # it accepts, and says nothing
        environment = {
            **os.environ,
            "HF_HOME": str(home),
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}",
            "HF_HUB_OFFLINE": "0",
        }
        program = [sys.executable, "-c", CHECK, str(home)]
        found = subprocess.run(
            program, env=environment, capture_output=True, text=True, timeout=120, check=True
        )
    return found.stdout.splitlines()


def test_a_silent_hub_is_not_waited_for(tmp_path: Path) -> None:
    said = check_with_a_silent_hub(tmp_path)
    assert len(said) == 2
    for one in said:
        assert "the hub did not answer within 1 s" in one
        assert "give a local folder" in one


def test_a_cached_model_needs_no_hub(tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--org--model"
    snapshot = cached / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    for name in FILES:
        (snapshot / name).write_text(json.dumps(CONFIG))
    assert check_with_a_silent_hub(tmp_path) == ["bert", "bert"]


def test_few_calls_wait_for_the_hub_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_calls, "SECONDS", 0.05)
    monkeypatch.setattr(hub_calls, "AWAY_SECONDS", 0.0)
    monkeypatch.setattr(hub_calls, "_away_until", 0.0)
    monkeypatch.setattr(hub_calls, "_free", threading.BoundedSemaphore(2))
    begun: list[int] = []
    go = threading.Event()

    def call(number: int) -> None:
        begun.append(number)
        go.wait(20)

    for number in range(5):
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            hub_calls.in_time(lambda number=number: call(number))
    assert begun == [0, 1]
    go.set()


def answer(monkeypatch: pytest.MonkeyPatch, result: object) -> list[Any]:
    """`load_dataset` gives or raises `result`; returns the list of its calls' arguments."""
    calls: list[Any] = []

    def load(*args: object, **kwargs: object) -> object:
        calls.append((args, kwargs))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


def labelled(labels: list[int]) -> datasets.Dataset:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["entailment", "neutral", "contradiction"]),
        }
    )
    rows = {"text": [f"text {n}" for n in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(rows, features=features)


def test_rows_of_a_dataset_carry_the_names_of_their_labels(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """The model may number the same labels otherwise; -1 is not a label."""
    calls = answer(monkeypatch, labelled([2, 0, -1]))
    rows = read_rows(DATA, settings)
    assert rows.text_a == ["text 0", "text 1", "text 2"]
    assert rows.labels == ["contradiction", "entailment", -1]
    assert calls == [(("hf://datasets/org/set", "mnli"), {"split": "test", "revision": None})]


def test_a_dataset_is_never_run_as_code(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    calls = answer(monkeypatch, labelled([0]))
    read_rows(DATA, settings)
    assert "trust_remote_code" not in calls[0][1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (datasets.exceptions.DatasetNotFoundError("not on the hub\nmore"), ("not on the hub",)),
        (ValueError("Unknown split 'tset'"), ("Unknown split 'tset'",)),
        (RuntimeError("Dataset scripts are no longer supported"), ("scripts",)),
        (errors.OfflineModeIsEnabled("HF_HUB_OFFLINE is set"), ("HF_HUB_OFFLINE is set",)),
        (OSError(), ("cannot be loaded: OSError",)),
    ],
)
def test_a_dataset_that_cannot_be_loaded_is_bad_input_in_words(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, error: Exception, words: tuple[str, ...]
) -> None:
    answer(monkeypatch, error)
    problem = refused(
        lambda: read_rows(DATA, settings), "given: 'org/set'", "config, split", *words
    )
    assert problem.field == "data.dataset"


def test_a_dataset_without_the_column(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    answer(monkeypatch, labelled([0]))
    spec = DATA.model_copy(update={"text_columns": ("txt",)})
    refused(lambda: read_rows(spec, settings), "row 1 has no such column", "Did you mean 'text'?")
    spec = DATA.model_copy(update={"label_column": "gold"})
    refused(lambda: read_rows(spec, settings), "data.label_column", "'gold'", "Known: label, text")


@pytest.mark.parametrize("name", ["outside_ds", "outside/ds"])
def test_a_folder_beside_the_process_is_no_dataset(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "test.csv").write_text("text,label\nnot to be read,0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("jobs.inputs.data.examples.hub_is_away", lambda _: False)
    spec = DataSpec(dataset=name, split="test", text_columns=("text",))
    refused(lambda: read_rows(spec, settings), "data.dataset: cannot be loaded", name)


def test_a_file_format_is_no_dataset(settings: Settings) -> None:
    """`datasets` would read files of that format in the working directory."""
    spec = DataSpec(dataset="json", split="train", text_columns=("text",))
    refused(lambda: read_rows(spec, settings), "data.dataset: is a file format", "owner/name")


def test_every_file_format_of_datasets_is_known() -> None:
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    assert set(_PACKAGED_DATASETS_MODULES) <= set(FILE_FORMATS)
