"""Recipients and notifications in the API."""

from __future__ import annotations

from flask.testing import FlaskClient

from db.database import Database
from db.ops import notifications
from tests.webui.api.answers import problems
from tests.webui.seed import seed_job

HOOK = {"name": "ci", "address": "https://hooks.example.org/secret-path", "jobs": "asked"}


def test_recipients_are_added_asked_for_and_removed(
    client: FlaskClient, database: Database
) -> None:
    added = client.post("/api/v1/recipients", json=HOOK)
    assert added.status_code == 201
    assert added.json["secret"] == notifications.secret(database, 1)
    assert (added.json["shown"], added.json["service"]) == (
        "https://hooks.example.org/…",
        "Webhook",
    )
    [listed] = client.get("/api/v1/recipients").json["recipients"]
    assert listed == {key: value for key, value in added.json.items() if key != "secret"}
    [first] = client.get("/api/v1/notifications").json["notifications"]
    assert (first["state"], first["recipient"]) == ("waiting", "ci")
    assert first["event"].startswith("test:")
    assert client.post("/api/v1/recipients/1/test").status_code == 200
    job = seed_job(database, state="running")
    asked = f"/api/v1/jobs/{job}/recipients"
    assert client.get(asked).json == {"recipients": []}
    assert client.put(asked, json={"recipients": [1]}).json == {"recipients": [1]}
    assert client.get(asked).json == {"recipients": [1]}
    assert client.put(asked, json={"recipients": [2]}).status_code == 404
    assert client.put(asked, json={"recipients": []}).json == {"recipients": []}
    assert client.delete("/api/v1/recipients/1").json == {"removed": 1}
    assert client.delete("/api/v1/recipients/1").status_code == 404


def test_bad_recipients_name_the_field_and_never_the_address(client: FlaskClient) -> None:
    bad = {
        "address": [{"address": "slack://secret"}, {"address": "https://u:secret@h.example/"}],
        "jobs": [{"jobs": "some"}],
        "name": [{"name": ""}],
        "more": [{"more": 1}],
    }
    for field, changes in bad.items():
        for change in changes:
            answer = client.post("/api/v1/recipients", json={**HOOK, **change})
            found = problems(answer, 400)
            assert [one["field"] for one in found] == [field]
            assert "secret" not in str(found)
    assert client.post("/api/v1/recipients", json=HOOK).status_code == 201
    assert client.post("/api/v1/recipients", json=HOOK).status_code == 409
