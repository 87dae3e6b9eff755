"""Pages, scripts and tables are compressed for who accepts it, and 304 stays 304."""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import brotli
import pytest
from flask.testing import FlaskClient

from db.database import Database
from webui.assets import VERSION

PATHS = ("/", "/help", f"/assets/{VERSION}/style.css", f"/assets/{VERSION}/app.js")


@pytest.mark.parametrize("path", PATHS)
def test_what_is_text_is_smaller(client: FlaskClient, path: str) -> None:
    plain = client.get(path)
    packed = client.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "br"
    assert brotli.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 2
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert packed.headers["Content-Security-Policy"] == plain.headers["Content-Security-Policy"]


def test_gzip_is_spoken_to_those_who_know_nothing_else(client: FlaskClient) -> None:
    packed = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert zlib.decompress(packed.data, 31).startswith(b"<!doctype html>")


def test_a_table_is_compressed_as_it_streams(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, examples=30)
    path = f"/jobs/{job}/export/head_scores.csv"
    plain = client.get(path)
    packed = client.get(path, headers={"Accept-Encoding": "br"})
    assert "Content-Length" not in packed.headers
    assert brotli.decompress(packed.data) == plain.data


def test_an_answer_that_is_known_is_not_sent_again(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    headers = {"Accept-Encoding": "br"}
    first = client.get(f"/api/v1/jobs/{job}", headers=headers)
    assert first.headers["Content-Encoding"] == "br", first.get_data()
    again = client.get(
        f"/api/v1/jobs/{job}", headers={**headers, "If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.data) == (304, b"")
