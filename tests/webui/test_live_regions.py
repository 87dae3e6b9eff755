"""Live regions: screen readers read them out when they change, so progress is in none of them."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from db import schema
from db.database import Database
from tests.helpers.matrices import seed_matrix

VOID = ("input", "br", "img", "meta", "link", "hr", "rect", "path", "circle", "line", "use")


class Regions(HTMLParser):
    """The live regions of a page: their text, and the elements in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        inside = bool(self.open) and self.open[-1][1]
        live = given.get("role") in ("status", "log") or given.get("aria-live") == "polite"
        if live and not inside:
            self.texts.append("")
        if inside:
            self.elements.append((tag, given))
        if tag not in VOID:
            self.open.append((tag, inside or live))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][1]:
            self.texts[-1] += data.strip()


@pytest.mark.parametrize("page", ["job", "head", "lab", "lists"])
def test_progress_is_not_read_out(
    client: FlaskClient, database: Database, seeding: SimpleNamespace, page: str
) -> None:
    done = seeding.seed_job(database)
    running = seeding.seed_job(database, state="running", examples=9, done=3, shard_size=3)
    one = seeding.seed_job(database, state="running", examples=1, done=0)
    seed_matrix(database, done, 2, 2, 3)
    with database.write() as tx:
        tx.run(f"UPDATE head_matrix SET attention = NULL, computed_by = {running}")
    address = {
        "job": f"/jobs/{running}",
        "head": f"/jobs/{done}/heads/2/3?example=2",
        "lab": f"/lab?jobs={one}",
        "lists": "/",
    }[page]
    before = client.get(address).text
    assert "<progress" in before
    with database.write() as tx:
        tx.execute(update(schema.shard).where(schema.shard.c.state == "leased").values(progress=2))
    after = client.get(address).text
    found = Regions(after)
    assert found.texts
    assert found.texts == Regions(before).texts
    for tag, given in found.elements:
        assert tag != "progress"
        assert not given.keys() & {"data-live-bar", "data-running"}
    with database.write() as tx:
        tx.run("UPDATE job SET control = 'pause' WHERE state = 'running'")
    if page != "lists":
        assert Regions(client.get(address).text).texts != found.texts
