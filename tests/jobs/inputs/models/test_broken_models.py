"""Hostile and broken model folders: refused at submission, in words; what cannot be seen there is
refused by the worker before anything large is built."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

import headwise
from db.database import Database
from headwise.errors import ModelError, ModelNotFoundError
from jobs.inputs.models import tokenizing
from jobs.inputs.models.configuration import model_facts
from jobs.settings import Settings
from jobs.specs.base import ModelSpec
from scheduler.submission.submit import check
from tests.helpers.inputs import refused
from tests.helpers.tiny import bert_folder, pairs_file

Change = Callable[[Path], object]
WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.fixture
def folder(settings: Settings) -> Path:
    """A tiny BERT of two layers, its tokenizer one file of JSON."""
    return bert_folder(settings.home / "model")


def config(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def write(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content)


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def weights(name: str, made: Callable[[torch.Tensor], torch.Tensor | None]) -> Change:
    """Another tensor, or none."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        changed = made(tensors.pop(name))
        if changed is not None:
            tensors[name] = changed.contiguous()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Change:
    def write_again(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text())
        change(content)
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return write_again


def many_words(content: dict[str, Any]) -> None:
    content["model"]["vocab"] |= {f"word{n}": n + 1000 for n in range(5)}


SEEN: dict[str, tuple[Change, str]] = {
    "no config": (remove("config.json"), "has no config.json"),
    "config is no JSON": (write("config.json", "{"), "no readable config.json"),
    "config is a list": (write("config.json", "[]"), "is not a JSON object"),
    "unknown family": (config(model_type="nonsense"), "unsupported family 'nonsense'"),
    "no family": (config(model_type=None), "unsupported family"),
    "no classifier": (config(architectures=["BertModel"]), "not a sequence classifier"),
    "architectures that are numbers": (config(architectures=[2]), "not a sequence classifier"),
    "architectures that are no list": (config(architectures=2), "not a sequence classifier"),
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("*token*")],
        "has no tokenizer",
    ),
    "tokenizer is no JSON": (write("tokenizer.json", "{"), "tokenizer in "),
    "tokenizer is a list": (write("tokenizer.json", "[]"), "cannot be read"),
    "tokenizer without a model": (write("tokenizer.json", "{}"), "cannot be read"),
    "settings of a tokenizer are a list": (write("tokenizer_config.json", "[]"), "not a JSON"),
    "more words than embeddings": (tokenizer(many_words), "word 1,004, but the model has only"),
    "weights cut off": (cut, "cannot be read as safetensors"),
    "weights empty": (write("model.safetensors", ""), "cannot be read as safetensors"),
    "wrong type": (weights(WORDS, lambda t: t.to(torch.int8)), "numbers of type I8"),
    "quantised": (config(quantization_config={"bits": 4}), "is quantised"),
    "embeddings of another size": (weights(WORDS, lambda t: t[:-1]), "× 32, but config.json says"),
    "embeddings of another width": (weights(WORDS, lambda t: t[:, :16]), "says a width of 32"),
    "no layers": (config(num_hidden_layers=0), "has 1 to 1,000 layers"),
    "absurd layers": (config(num_hidden_layers=10_000_000), "num_hidden_layers = 10,000,000"),
    "more layers than weights": (config(num_hidden_layers=3), "have 2 layers"),
    "negative layers": (config(num_hidden_layers=-2), "= -2"),
    "width not divisible": (config(num_attention_heads=5), "cannot be divided among 5 heads"),
    "no heads": (config(num_attention_heads=0), "num_attention_heads = 0"),
    "negative width": (config(hidden_size=-32), "hidden_size = -32"),
    "absurd width": (config(hidden_size=10**12), "from 1 to 1,000,000,000"),
    "width is text": (config(hidden_size="wide"), "hidden_size = 'wide'"),
    "width is a fraction": (config(hidden_size=32.5), "hidden_size = 32.5"),
    "absurd vocabulary": (config(vocab_size=10**9), "says vocab_size = 1,000,000,000"),
    "absurd positions": (config(max_position_embeddings=10**8), "100,000,000 positions"),
    "absurd inner width": (config(intermediate_size=10**9), "intermediate_size = 1,000,000,000"),
    "absurd number of labels": (
        config(id2label=None, num_labels=10**9),
        "10,000 labels are possible",
    ),
    "labels without outputs": (config(id2label={"0": "a"}), "says 1 labels, but the weights"),
}

LOADED: dict[str, tuple[Change, str]] = {
    "no classifier's weight": (weights("classifier.weight", lambda _: None), "classifier.weight"),
    "a missing tensor": (
        weights("bert.encoder.layer.1.output.dense.weight", lambda _: None),
        "bert.encoder.layer.1.output.dense.weight",
    ),
    "a wrong shape": (
        weights("bert.encoder.layer.1.output.dense.weight", lambda t: t[:, :8]),
        "is 32 × 8 in the weights, but config.json",
    ),
    "not a number": (
        weights("bert.pooler.dense.weight", lambda t: t * float("nan")),
        "bert.pooler.dense.weight in .* not finite",
    ),
    "absurd token types": (config(type_vocab_size=10**9), "1,000,000,000 × 32"),
    "an unknown activation": (config(hidden_act="nonsense"), "nonsense"),
    "an activation that is none": (config(hidden_act=5), "config.json"),
    "a dropout that is text": (config(hidden_dropout_prob="half"), "config.json"),
}


@pytest.mark.parametrize("kind", SEEN)
def test_submission_refuses(settings: Settings, folder: Path, kind: str) -> None:
    change, words = SEEN[kind]
    change(folder)
    spec = ModelSpec(name=str(folder))
    problem = refused(lambda: model_facts(spec, settings), words)
    assert problem.field == "model.name"
    assert problem.remedy


@pytest.mark.parametrize(
    "kind", [*LOADED, *(kind for kind in SEEN if kind != "more words than embeddings")]
)
def test_loading_refuses_for_good(folder: Path, kind: str) -> None:
    """Not with the error that another try may help against."""
    change, words = {**SEEN, **LOADED}[kind]
    change(folder)
    with pytest.raises(ModelError) as caught:
        headwise.load(folder, device="cpu")
    assert type(caught.value) is not ModelNotFoundError
    assert "\n" not in str(caught.value)
    if kind in LOADED:
        assert caught.match(words)


def test_a_configuration_of_more_parts_than_the_weights_is_not_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building itself is bounded where the names of sizes are unknown to the first look."""
    monkeypatch.setattr("headwise.models.files.LAYER_NAMES", ())
    config(num_hidden_layers=10_000_000)(folder)
    with pytest.raises(ModelError, match="more parts than the 41 tensors in the weights"):
        headwise.load(folder, device="cpu")


def test_tables_out_of_proportion_are_not_built(tmp_path: Path) -> None:
    """GPT-J's table of positions is not in its weights."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    from benchmarks.tiny import tiny_model

    tiny_model("gptj").save_pretrained(tmp_path)
    Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]")).save(str(tmp_path / "tokenizer.json"))
    config(n_positions=1_000_000_000)(tmp_path)
    with pytest.raises(ModelError, match=r"64\.0 GB of tables beside its weights"):
        headwise.load(tmp_path, device="cpu")


def patterned(content: dict[str, Any]) -> None:
    """A pattern that gives up on a text of one long word."""
    made = Tokenizer.from_str(json.dumps(content))
    pattern = Regex(r"(([a-z])+.)+[A-Z]([a-z])+$")
    made.pre_tokenizer = pre_tokenizers.Split(pattern, "isolated")
    content["pre_tokenizer"] = json.loads(made.to_str())["pre_tokenizer"]


def blown_up(content: dict[str, Any]) -> None:
    """Normalizers that make gigabytes of a letter."""
    made = Tokenizer.from_str(json.dumps(content))
    made.normalizer = normalizers.Sequence([normalizers.Replace("a", "a" * 10)] * 9)
    content["normalizer"] = json.loads(made.to_str())["normalizer"]


@pytest.mark.parametrize(
    ("change", "words"),
    [(patterned, "retry-limit-in-match over"), (blown_up, "it takes more than 1,024 MB of memory")],
)
def test_a_text_that_the_tokenizer_fails_on_is_found(
    settings: Settings,
    database: Database,
    folder: Path,
    change: Callable[[dict[str, Any]], None],
    words: str,
) -> None:
    tokenizer(change)(folder)
    data = pairs_file(settings.home / "pairs.jsonl", 5)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    for row in rows:
        row.update(premise="xyz", hypothesis="xyz")
    rows[3]["premise"] = "a" * 40 + "!"
    data.write_text("\n".join(json.dumps(row) for row in rows))
    columns = ["premise", "hypothesis"]
    spec = {"model": {"name": str(folder)}, "data": {"path": str(data), "text_columns": columns}}
    problem = refused(lambda: check({"spec": spec}, settings, database), "line 4", words)
    assert problem.field == "data.text_columns"


@pytest.mark.parametrize(("times", "fits"), [(1, True), (2, False)])
def test_a_process_that_was_killed_says_nothing_about_a_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, fits: bool
) -> None:
    """Its worker's job failed for good: the tokenizer was said to need too much memory."""
    content = (bert_folder(tmp_path / "model") / "tokenizer.json").read_text()
    real, started = tokenizing.start, []

    def killed(module: str, **options: Any) -> subprocess.Popen[bytes]:
        child = real(module, **options)
        started.append(child)
        if len(started) <= times:
            child.kill()
        return child

    monkeypatch.setattr(tokenizing, "start", killed)
    if fits:
        assert tokenizing.try_content(content, [("the cat",)]).vocabulary > 0
    else:
        with pytest.raises(ModelError, match="to read"):
            tokenizing.try_content(content, [("the cat",)])
    assert len(started) == 2


def test_a_kept_process_tries_further_texts_and_other_tokenizers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (bert_folder(tmp_path / "model") / "tokenizer.json").read_text()
    real, started = tokenizing.start, []

    def counted(module: str, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(module, **options))
        return started[-1]

    monkeypatch.setattr(tokenizing, "start", counted)
    processes = tokenizing.TryingProcesses()
    first = tokenizing.try_content(content, [("the cat",)], processes)
    again = tokenizing.try_content(content, [("the cat",), ("the",)], processes)
    assert again.vocabulary == first.vocabulary > 0
    assert again.lengths == (*first.lengths, first.lengths[0] - 1)
    bare = json.loads(content) | {"post_processor": None}
    with pytest.raises(tokenizing.TextError, match="it gives no tokens"):
        tokenizing.try_content(json.dumps(bare), [("the",), ("",)], processes)
    # Each tokenizer has a process of its own; the second was in the middle of its answer.
    assert len(started) == 2
    assert all(one.returncode is not None for one in started)
    assert tokenizing.try_content(content, [("the cat",)], processes) == first
    assert len(started) == 3
    started[2].kill()  # by someone else, between two requests
    assert tokenizing.try_content(content, [("the cat",)], processes) == first
    assert len(started) == 4
    processes.close()
    assert started[3].returncode is not None


def test_a_tokenizer_that_takes_too_long_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_answers(_module: str, **_options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(tokenizing, "start", never_answers)
    monkeypatch.setattr(tokenizing, "SECONDS", 0.1)
    with pytest.raises(ModelError, match=r"takes more than 0\.1 s to read"):
        tokenizing.try_content((folder / "tokenizer.json").read_text(), [])


def test_what_was_learnt_is_kept_until_the_file_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tokenizing.try_file(folder / "tokenizer.json")
    monkeypatch.setattr(tokenizing.subprocess, "Popen", None)
    assert tokenizing.try_file(folder / "tokenizer.json") == first
    tokenizer(many_words)(folder)
    with pytest.raises(TypeError):
        tokenizing.try_file(folder / "tokenizer.json")
