"""The pages of a person's queries."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from tests.webui.accounts.people import Lab


def test_a_query_that_ran_is_in_the_history_once(lab: Lab) -> None:
    ada, vera = lab.signed_in("Ada"), lab.signed_in("Vera")
    for path in ("/sql?q=SELECT+7+AS+n", "/sql?q=SELECT+7+AS+n&sort=1", "/sql?q=SELECT+nothing"):
        ada.get(path)
    page = ada.get("/sql/queries").text
    assert page.count("SELECT 7 AS n</pre>") == 1
    assert "nothing" not in page
    assert "SELECT 7 AS n" in ada.get("/sql").text
    assert "SELECT 7 AS n" not in vera.get("/sql/queries").text + vera.get("/sql").text


def test_a_query_is_saved_renamed_shared_and_deleted(lab: Lab) -> None:
    ada, vera = lab.signed_in("Ada"), lab.signed_in("Vera")
    saved = ada.post("/sql/queries", data={"q": "SELECT 7 AS n", "title": "Lucky"})
    assert saved.status_code == 303
    opened = vera.get(saved.headers["location"])
    assert parse_qs(urlsplit(opened.headers["location"]).query) == {"q": ["SELECT 7 AS n"]}
    found = ada.get("/api/v1/sql/own").json()["saved"]
    [number] = [own["id"] for own in found if own["title"] == "Lucky"]
    for action in ("rename", "delete"):
        answer = vera.post(f"/sql/queries/{number}/{action}", data={"title": "Mine"})
        assert answer.status_code == 404
    ada.post(f"/sql/queries/{number}/rename", data={"title": "Luckier"})
    assert "Luckier" in ada.get("/sql").text
    assert ada.post(f"/sql/queries/{number}/burn").status_code == 400
    ada.post(f"/sql/queries/{number}/delete")
    assert "Luckier" not in ada.get("/sql/queries").text
    assert vera.get(saved.headers["location"]).status_code == 404
    assert ada.post("/sql/queries", data={"q": "SELECT 1", "title": " "}).status_code == 400


def test_a_long_query_opens_with_a_button(lab: Lab) -> None:
    ada = lab.signed_in("Ada")
    query = "SELECT 7 AS n -- " + "é" * 1500
    saved = ada.post("/sql/queries", data={"q": query, "title": "Long"})
    page = ada.get(saved.headers["location"])
    assert page.status_code == 200
    assert '<form method="post" action="/sql">' in page.text


def test_the_history_is_deleted(lab: Lab) -> None:
    ada = lab.signed_in("Ada")
    ada.get("/sql?q=SELECT+777")
    assert "SELECT 777" in ada.get("/sql/queries").text
    ada.post("/sql/queries/forget")
    assert "SELECT 777" not in ada.get("/sql/queries").text


def test_the_api_has_the_same(lab: Lab) -> None:
    ada = lab.signed_in("Ada")
    made = ada.post("/api/v1/sql/own", json={"sql": "SELECT 1", "title": "One"})
    assert made.status_code == 201
    one = made.json()
    again = ada.patch(f"/api/v1/sql/own/{one['id']}", json={"title": "Uno"}).json()
    assert again == {**one, "title": "Uno"}
    found = ada.get("/api/v1/sql/own").json()
    assert again in found["saved"]
    linked = lab.signed_in("Vera").get(f"/api/v1/sql/link/{one['link']}").json()
    assert linked == again
    assert ada.delete(f"/api/v1/sql/own/{one['id']}").json() == {"removed": one["id"]}
    assert ada.get(f"/api/v1/sql/link/{one['link']}").status_code == 404
