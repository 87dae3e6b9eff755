"""A client of the dashboard on a database that tests fill themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.database import Database
from jobs.settings import Settings, load_settings
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database
from tests.helpers.inputs import EMPTY_WEIGHTS, TOKENIZER
from tests.webui import seed


@pytest.fixture(scope="session")
def seeding() -> SimpleNamespace:
    """The functions of seed.py."""
    return SimpleNamespace(**vars(seed))


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    """Settings with a data folder of their own."""
    home = tmp_path / "home"
    home.mkdir()
    return load_settings({}, home=home, database_url=database.url, upload_megabytes=1)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application, with exceptions turned into pages as in production."""
    app = new_app(settings)
    yield app
    app.extensions["headwise"].database.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without JavaScript."""
    return app.test_client()


@pytest.fixture
def submission(settings: Settings) -> dict[str, Any]:
    """A good submission."""
    return good_submission(settings.home)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A client and a good submission for tests that write nothing: one database for all."""
    settings = load_settings({}, home=tmp_path_factory.mktemp("empty"), upload_megabytes=1)
    sqlite_database(settings.home / "headwise.sqlite").close()
    app = new_app(settings)
    good = good_submission(settings.home)
    model = Path(good["spec"]["model"]["name"])
    yield SimpleNamespace(client=app.test_client(), submission=good, model=model)
    app.extensions["headwise"].database.close()


def good_submission(home: Path) -> dict[str, Any]:
    """A model folder with every file that checking looks at, three rows, and their submission."""
    model = home / "models" / "tiny"
    model.mkdir(parents=True)
    config = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": 64,
        "id2label": {"0": "no", "1": "yes"},
    }
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (model / "model.safetensors").write_text(EMPTY_WEIGHTS)
    (model / "tokenizer.json").write_text(TOKENIZER, encoding="utf-8")
    rows = [{"text": f"text {i}", "label": ("no", "yes")[i % 2]} for i in range(3)]
    data = home / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {
        "name": "three rows",
        "spec": {
            "model": {"name": str(model)},
            "data": {"path": str(data), "text_columns": ["text"], "label_column": "label"},
        },
    }
