"""Queries of people: a history that stays short, and what they save."""

from __future__ import annotations

import pytest

from db.console import own_queries
from db.console.own_queries import delete, find, forget, list_run, list_saved, note, rename, save
from db.database import Database
from jobs.errors import InputError, NotFoundError


def run(database: Database, user: str) -> list[str]:
    return [one.sql for one in list_run(database, user)]


def test_the_history_has_each_query_once_and_the_last_first(database: Database) -> None:
    for sql in ("SELECT 1", "SELECT 2", "SELECT 1"):
        note(database, "ada", sql)
        with database.write() as tx:  # a second passes
            tx.run("UPDATE own_query SET ran_at = ran_at - 1")
    assert run(database, "ada") == ["SELECT 1", "SELECT 2"]
    assert run(database, "bob") == []


def test_the_history_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_queries, "MOST_RUN", 3)
    kept = save(database, "ada", "SELECT 0", "zero")
    note(database, "bob", "SELECT 0")
    for number in range(1, 6):
        note(database, "ada", f"SELECT {number}")
    assert run(database, "ada") == ["SELECT 5", "SELECT 4", "SELECT 3"]
    assert run(database, "bob") == ["SELECT 0"]
    assert list_saved(database, "ada") == [kept]


def test_a_saved_query_is_renamed_and_deleted_by_its_person_alone(database: Database) -> None:
    one = save(database, "ada", "SELECT 1", "  the\n one ")
    assert one.title == "the one"
    for act in (
        lambda: rename(database, "bob", one.id, "mine"),
        lambda: delete(database, "bob", one.id),
    ):
        with pytest.raises(NotFoundError):
            act()
    assert rename(database, "ada", one.id, "One").title == "One"
    assert [own.title for own in list_saved(database, "ada")] == ["One"]
    assert find(database, one.link).sql == "SELECT 1"
    delete(database, "ada", one.id)
    assert list_saved(database, "ada") == []
    with pytest.raises(NotFoundError):
        find(database, one.link)


def test_a_query_of_the_history_is_saved_by_a_title(database: Database) -> None:
    note(database, "ada", "SELECT 1")
    [one] = list_run(database, "ada")
    rename(database, "ada", one.id, "one")
    assert run(database, "ada") == []
    note(database, "ada", "SELECT 1")  # it is there already
    assert run(database, "ada") == []
    note(database, "ada", "SELECT 2")
    forget(database, "ada")
    assert run(database, "ada") == []
    assert [own.title for own in list_saved(database, "ada")] == ["one"]


@pytest.mark.parametrize("title", ["", " \0 ", "x" * 101])
def test_a_title_is_a_line(database: Database, title: str) -> None:
    with pytest.raises(InputError, match="title"):
        save(database, "ada", "SELECT 1", title)


def test_few_can_be_saved(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_queries, "MOST_SAVED", 1)
    save(database, "ada", "SELECT 1", "one")
    with pytest.raises(InputError, match="Delete some"):
        save(database, "ada", "SELECT 2", "two")
    with pytest.raises(InputError, match="empty"):
        save(database, "bob", " ", "nothing")


def test_links_cannot_be_guessed(database: Database) -> None:
    links = {save(database, "ada", "SELECT 1", str(n)).link for n in range(5)}
    assert len(links) == 5
    assert min(map(len, links)) >= 22
