"""Texts against their model at submission: lengths, token types, names of labels."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from db.database import Database
from headwise.models.files import GIVE_TOKEN_TYPES
from jobs.errors import InputError
from jobs.inputs.data import summary
from jobs.inputs.data.rows import LONGEST_TEXTS
from jobs.inputs.models import texts
from jobs.settings import Settings
from scheduler.submission import submit
from scheduler.submission.submit import Checked, check
from tests.helpers.databases import sqlite_database
from tests.helpers.inputs import model_folder, raw_submission, refused
from tests.helpers.tiny import bert_folder


@pytest.fixture
def database(settings: Settings) -> Database:
    return sqlite_database(settings.home / "headwise.sqlite")


def checked(settings: Settings, database: Database, lengths: list[int], **spec: Any) -> Checked:
    """A check of texts of so many words, each one token, on a tiny BERT of 64 positions."""
    bert_folder(settings.home / "model")
    path = settings.home / "words.jsonl"
    path.write_text("".join(json.dumps({"text": "cat " * n}) + "\n" for n in lengths))
    data = {"path": str(path), "text_columns": ["text"], "label_column": None}
    return check(raw_submission(settings.home, data=data, **spec), settings, database)


def test_longer_texts_are_counted(settings: Settings, database: Database) -> None:
    """62 words and two special tokens are as many as the model takes."""
    lengths = [5, 62, 63, *([200] * 300)]
    assert checked(settings, database, lengths).data_notes == (
        "301 of 303 texts have more than 64 tokens (the model's limit); the rest is cut off",
    )
    again = checked(settings, database, lengths, max_length=63)
    assert again.data_notes == (
        "302 of 303 texts have more than 63 tokens (max_length); the rest is cut off",
    )
    assert again.understood is not None
    assert again.understood.notes == again.data_notes
    assert checked(settings, database, [62, 3]).data_notes == ()
    assert (
        checked(settings, database, [63, 3])
        .data_notes[0]
        .startswith("1 of 2 texts has more than 64")
    )


def test_they_are_counted_once(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [70] * 400
    first = checked(settings, database, lengths).data_notes
    monkeypatch.setattr(summary, "summarize_rows", None)
    monkeypatch.setattr(submit, "open_rows", None)
    raw = raw_submission(
        settings.home,
        data={
            "path": str(settings.home / "words.jsonl"),
            "text_columns": ["text"],
            "label_column": None,
        },
    )
    assert check(raw, settings, database).data_notes == first
    assert first[0].startswith("400 of 400 ")


def test_most_are_counted(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "MOST_COUNTED", 3)
    (note,) = checked(settings, database, [71, 72, 73, 74]).data_notes
    assert note.startswith("at least 3 of 4 texts have")
    (note,) = checked(settings, database, [71, 72, 73]).data_notes
    assert note.startswith("3 of 3 texts have")


def test_their_characters_are_bounded(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "MOST_CHARACTERS", 4 * (74 + 73 + 72))
    (note,) = checked(settings, database, [71, 72, 73, 74]).data_notes
    assert note.startswith("at least 3 of 4 texts have")


def test_the_tokenizers_own_limit_counts(settings: Settings, database: Database) -> None:
    bert_folder(settings.home / "model")
    path = settings.home / "model/tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 5}))
    notes = check(raw_submission(settings.home), settings, database).data_notes
    assert "more than 5 tokens" in notes[0]


def test_a_text_that_fails_is_named_where_it_stands(settings: Settings, database: Database) -> None:
    """Beyond those that are tried first."""
    bert_folder(settings.home / "model")
    path = settings.home / "model/tokenizer.json"
    content = json.loads(path.read_text())
    content["model"] = {"type": "WordLevel", "vocab": {"cat": 0}, "unk_token": "missing"}
    content["added_tokens"], content["post_processor"] = [], None
    path.write_text(json.dumps(content))
    data = settings.home / "words.jsonl"
    words = ("dog", *["cat " * 100] * (LONGEST_TEXTS + 1))
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in words))
    raw = raw_submission(
        settings.home, data={"path": str(data), "text_columns": ["text"], "label_column": None}
    )
    refused(lambda: check(raw, settings, database), "line 1: the tokenizer fails", "given: 'dog'")


def test_a_text_without_tokens_is_refused(settings: Settings, database: Database) -> None:
    folder = bert_folder(settings.home / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"String": "z"}, "content": ""}
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    data = settings.home / "words.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("cat", "zzz")))
    raw = raw_submission(
        settings.home, data={"path": str(data), "text_columns": ["text"], "label_column": None}
    )
    refused(lambda: check(raw, settings, database), "line 2: ", "gives no tokens", "'zzz'")


def pairs(settings: Settings, database: Database, **changes: Any) -> Checked:
    folder = bert_folder(settings.home / "model", type_vocab_size=1)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return check(raw_submission(settings.home), settings, database)


def test_pairs_need_two_token_types(settings: Settings, database: Database) -> None:
    problem = refused(lambda: pairs(settings, database), "token type 1", "only 1 token type")
    assert (problem.field, problem.value) == ("data.text_columns", "premise, hypothesis")
    assert "Give one text column" in problem.remedy
    raw = raw_submission(settings.home, data={"text_columns": ["premise"]})
    assert check(raw, settings, database).data_notes == ()


def test_token_types_that_are_not_given_are_not_needed(
    settings: Settings, database: Database
) -> None:
    names = ["input_ids", "attention_mask"]
    assert pairs(settings, database, model_input_names=names).data_notes == ()
    other = "PreTrainedTokenizerFast"
    assert pairs(settings, database, tokenizer_class=other).data_notes == ()
    names.append("token_type_ids")
    with pytest.raises(InputError, match="token type"):
        pairs(settings, database, tokenizer_class=other, model_input_names=names)


def test_the_tokenizers_that_give_token_types() -> None:
    """Of types whose texts are read from a tokenizer.json."""
    import transformers

    found = {
        name
        for name in filter(None, TOKENIZER_MAPPING_NAMES.values())
        if issubclass(getattr(transformers, name), transformers.PreTrainedTokenizerFast)
        and "token_type_ids" in getattr(transformers, name).model_input_names
    }
    elsewhere = {"FNetTokenizer", "DPRQuestionEncoderTokenizer", "LxmertTokenizer"}
    elsewhere |= {"LayoutLMv2Tokenizer", "MarkupLMTokenizer"}
    assert found - elsewhere == GIVE_TOKEN_TYPES


@pytest.mark.parametrize(
    ("names", "note"),
    [
        ({"0": "no", "1": "other", "2": "other"}, "'other' for 2 outputs.*other \\(1\\), ..."),
        ({"0": "no", "2": "yes", "3": "maybe"}, "does not name outputs 0 to 2.*LABEL_<number>"),
    ],
)
def test_names_of_labels_that_are_not_taken_as_they_are(
    settings: Settings, database: Database, names: dict[str, str], note: str
) -> None:
    model_folder(settings.home / "model", id2label=names)
    raw = raw_submission(settings.home, data={"label_column": None})
    (found,) = check(raw, settings, database).data_notes
    assert re.search(note, found)


def test_settings_of_a_configuration_that_are_about_its_surroundings(
    settings: Settings, database: Database
) -> None:
    """None of them keeps a model from running, see `headwise.models.configuring`."""
    folder: Path = bert_folder(settings.home / "model")
    config = json.loads((folder / "config.json").read_text())
    odd = {"return_dict": False, "pad_token_id": -1, "attn_implementation": "flash_attention_2"}
    (folder / "config.json").write_text(json.dumps({**config, **odd}))
    assert check(raw_submission(settings.home), settings, database).data_notes == ()
