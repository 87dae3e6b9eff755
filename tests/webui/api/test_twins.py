"""Whatever the dashboard can do, the API can."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.database import Database
from tests.webui.api.answers import problems
from webui.contract.operations import OPERATIONS

TWINS: dict[str, tuple[str, ...]] = {
    "jobs.index": ("list_jobs",),
    "jobs.show": (
        *("get_job", "list_shards", "read_log", "get_completeness", "get_confusion"),
        *("list_figures", "get_figure"),
    ),
    "jobs.act": ("control_job", "delete_job"),
    "jobs.change_job": ("change_job",),
    "jobs.act_on_many": ("act_on_jobs",),
    "operations.show": (
        "get_operations",
        "get_queue_figure",
        "system",
        "list_workers",
        "list_sizes",
    ),
    "operations.processes": ("get_operations", "list_workers"),
    "operations.remove": ("control_job", "delete_job"),
    "operations.show_worker": ("get_worker", "get_worker_figure"),
    "watch.notices": ("system",),
    "watch.waiting": ("explain_waiting",),
    "watch.download": ("download_log",),
    "new_job.show": ("list_presets", "get_job"),
    "new_job.create": ("create_job", "upload", "create_recurring"),
    "new_job.check_form": ("check_job",),
    "new_job.preview": ("preview_file",),
    "lab.show": ("get_job", "get_example"),
    "lab.create": ("explain",),
    "first_visit.run_demo": ("list_presets", "create_job"),
    "lab.export": ("get_example", "get_head_tokens"),
    "results.head": ("get_head", "get_matrix"),
    "matrices.compute_matrix": ("compute_matrix",),
    "results.example": (
        *("get_example", "list_alike", "get_head_tokens", "get_tree"),
        *("list_example_figures", "get_example_figure"),
    ),
    "results.export": ("get_csv_table", "get_arrow_table"),
    "rankings.compare": ("get_correlation", "list_rankings"),
    "console.show": ("run_sql", "list_views", "list_saved_queries"),
    "console.run": ("run_sql", "explain_sql"),
    "own_queries.index": ("list_own_queries",),
    "own_queries.open_link": ("get_linked_query",),
    "own_queries.save": ("save_query",),
    "own_queries.change": ("rename_query", "delete_query"),
    "own_queries.forget": ("delete_query",),
    "console.cell": ("run_sql",),
    "console.draw_chart": ("run_sql",),
    "console.download": ("run_sql_as_csv", "run_sql_as_json", "run_sql_as_parquet"),
    "studies.index": ("list_studies",),
    "studies.show": (
        *("get_study", "list_study_figures", "get_study_figure"),
        *("get_report", "get_pdf_report"),
    ),
    "studies.act": ("control", "restart"),
    "studies.compare": ("compare", "get_figure_of_studies"),
    "comparison.show": ("compare_jobs", "get_compared_figure"),
    "comparison.choose": ("compare_jobs",),
    "studies.form": ("check",),
    "studies.create": ("create_study", "upload"),
    "studies.check_form": ("check",),
    "recurring.index": ("list_recurring", "get_recurring"),
    "recurring.act": ("control_recurring", "delete_recurring"),
    "attack.trigger": ("get_trigger", "list_triggers"),
    "attack.try_form": ("get_trigger",),
    "attack.try_now": ("try_attack",),
    "attack.tried": ("get_tried",),
    "notifications.index": ("list_recipients", "list_notifications"),
    "notifications.ended": ("list_notifications",),
    "notifications.add": ("create_recipient",),
    "notifications.act": ("delete_recipient", "test_recipient"),
    "notifications.tell": ("set_job_recipients",),
    "account.show": ("get_person", "list_tokens"),
    "account.create_token": ("create_token",),
    "account.revoke_token": ("delete_token",),
    "people.index": ("list_accounts",),
    "people.add": ("create_account",),
    "people.act": (
        *("change_account", "delete_account", "create_link", "unlink_account", "end_sessions"),
    ),
    "people.revoke_token": ("list_account_tokens", "revoke_account_token"),
    "audit.index": ("list_audit",),
}
"""Operations of the API that show or do the same as an endpoint of the dashboard."""
FOR_PEOPLE = {
    "assets.serve": "files of the pages",
    "assets.favicon": "a picture",
    "jobs.moved": "leads to another page",
    "lab.old_form": "leads to another page",
    "lab.old_result": "leads to another page",
    "jobs.about": "leads to another page",
    "operations.old_address": "leads to another page",
    "jobs.help_page": "a text",
    "api_reference.show": "the document as a page",
    "ops.healthz": "for operators, JSON itself",
    "ops.readyz": "for operators, JSON itself",
    "ops.metrics": "for Prometheus",
    **dict.fromkeys(
        (
            *("sign_in.show", "sign_in.enter", "sign_in.leave", "sign_in.welcome"),
            *("sign_in.choose_password", "sign_in.begin_oidc", "sign_in.finish_oidc"),
            "account.link_identity",
        ),
        "a browser signs in; a program has a token",
    ),
    **dict.fromkeys(
        ("account.change_password", "account.end_session", "account.sign_out_everywhere"),
        "passwords and sessions are a browser's",
    ),
}


def test_every_page_and_form_has_a_twin(app: Flask) -> None:
    operations = {
        rule.endpoint.rsplit(".", 1)[-1]
        for rule in app.url_map.iter_rules()
        if app.view_functions[rule.endpoint] in OPERATIONS
    }
    pages = {
        rule.endpoint for rule in app.url_map.iter_rules() if not rule.rule.startswith("/api/")
    }
    assert pages == TWINS.keys() | FOR_PEOPLE.keys()
    missing = {name for twins in TWINS.values() for name in twins} - operations
    assert not missing


def test_every_operation_has_a_name_of_its_own(app: Flask) -> None:
    names = [
        rule.endpoint.rsplit(".", 1)[-1]
        for rule in app.url_map.iter_rules()
        if app.view_functions[rule.endpoint] in OPERATIONS
    ]
    assert len(names) == len(set(names))


def test_one_head(client: FlaskClient, database: Database, seeding: SimpleNamespace) -> None:
    job = seeding.seed_job(database)
    head = client.get(f"/api/v1/jobs/{job}/heads/2/3").json
    ranked = client.get(f"/api/v1/jobs/{job}/heads?limit=100").json["heads"]
    assert head["head"] in ranked
    assert (head["head"]["layer"], head["head"]["head"]) == (2, 3)
    assert head["heads"] == len(ranked)
    assert len(head["scores"]) == 11  # of the twelve examples one failed
    scores = [one["score"] for one in head["strongest"]]
    assert scores == sorted(scores, reverse=True)
    problems(client.get(f"/api/v1/jobs/{job}/heads/99/0"), 404)
    problems(client.get(f"/api/v1/jobs/{job}/heads/2/3?attention_type=cross"), 404)
    problems(client.get(f"/api/v1/jobs/{job}/heads/2/3?attention_type=other"), 400)


def test_what_compares(client: FlaskClient, database: Database, seeding: SimpleNamespace) -> None:
    job, other = seeding.seed_job(database), seeding.seed_job(database)
    api = f"/api/v1/jobs/{job}"
    sites = client.get(f"{api}/completeness").json["completeness"]
    assert [one["layer"] for one in sites] == list(range(6))
    cells = client.get(f"{api}/confusion").json
    assert cells["counted_all"] is True
    assert sum(one["n"] for one in cells["confusion"]) == 11
    alike = client.get(f"{api}/examples/0/alike").json["alike"]
    assert alike
    assert all(one["example"] != 0 for one in alike)
    problems(client.get(f"{api}/examples/999/alike"), 404)
    assert client.get(f"{api}/examples/0/heads/0/0").status_code == 200
    problems(client.get(f"{api}/correlation?by=none&job={other}"), 404)
    problems(client.get(f"{api}/correlation"), 400)
    problems(client.get("/api/v1/studies/compare?a=1"), 400)
    problems(client.get("/api/v1/studies/compare?a=1&b=2"), 404)


def test_a_whole_log(client: FlaskClient, database: Database, seeding: SimpleNamespace) -> None:
    job = seeding.seed_job(database)
    log = client.get(f"/api/v1/jobs/{job}/log.txt?level=error")
    assert (log.status_code, log.mimetype) == (200, "text/plain")
    problems(client.get("/api/v1/jobs/99/log.txt"), 404)


def test_an_unknown_address_is_no_unknown_job(client: FlaskClient) -> None:
    """Clients tell an older server from a job that is not there."""
    types = [client.get(f"/api/v1/{path}").json["type"] for path in ("jobs/99", "newer")]
    assert types == ["/help/api#not-found", "/help/api#no-address"]
    page = client.get("/help/api").text
    assert all(f'id="{one.partition("#")[2]}"' in page for one in types)


def test_what_the_console_offers(empty: SimpleNamespace) -> None:
    views = empty.client.get("/api/v1/sql/views").json["views"]
    assert views[0]["columns"][0]["name"]
    for saved in empty.client.get("/api/v1/sql/queries").json["queries"][:2]:
        answer = empty.client.post("/api/v1/sql", json={"query": saved["sql"]})
        assert answer.status_code == 200


def test_jobs_of_one_text(client: FlaskClient, submission: dict[str, Any]) -> None:
    model = submission["spec"]["model"]["name"]
    job = client.post("/api/v1/explain", json={"model": model, "text": "A cat sleeps."})
    assert job.status_code == 201, job.text
    assert (job.json["examples"], job.json["priority"]) == (1, 100)
    tried = client.post(
        "/api/v1/attack/try", json={"model": model, "text": "A cat sleeps.", "words": "not"}
    )
    assert tried.status_code == 201, tried.text
    address = f"/api/v1/jobs/{tried.json['id']}/tried"
    assert set(client.get(address).json.values()) == {None}
    problems(client.get(f"/api/v1/jobs/{job.json['id']}/tried"), 404)
    (problem,) = problems(client.post("/api/v1/explain", json={"model": model, "text": " "}), 400)
    assert problem["field"] == "text"
    assert client.get("/api/v1/presets").json["presets"]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_pages_lead_through_a_list(
    client: FlaskClient, database: Database, seeding: SimpleNamespace, limit: int
) -> None:
    job = 0
    for _ in range(5):
        job = seeding.seed_job(database, shard_size=3)
    for path, name, key in (
        ("/api/v1/jobs", "jobs", "id"),
        (f"/api/v1/jobs/{job}/shards", "shards", "shard"),
        (f"/api/v1/jobs/{job}/examples", "examples", "example"),
    ):
        whole = [one[key] for one in client.get(path).json[name]]
        assert len(whole) >= 4
        found, address = [], f"{path}?limit={limit}"
        while address:
            answer = client.get(address)
            found += [one[key] for one in answer.json[name]]
            address = answer.json["next"]
            if address:
                assert f'<{address}>; rel="next"' in answer.headers["Link"]
        assert found == whole


BOUNDED = {
    *("compare_jobs", "compare", "get_operations", "get_worker", "get_head", "get_example"),
    *("get_completeness", "get_confusion", "get_correlation", "list_alike", "get_tree"),
    *("list_figures", "list_example_figures", "list_study_figures", "get_pruning", "get_trigger"),
    *("list_own_queries", "list_saved_queries", "list_views", "get_recurring", "system"),
}
"""Operations with lists that do not grow with use: of a model, a text, a release or a limit."""


def test_lists_come_in_pages(empty: SimpleNamespace) -> None:
    document = empty.client.get("/api/v1/openapi.json").json
    whole = set()
    for methods in document["paths"].values():
        found = methods.get("get", {})
        contents = found.get("responses", {}).get("200", {}).get("content", {})
        reference = contents.get("application/json", {}).get("schema", {}).get("$ref", "")
        schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
        fields = schema.get("properties", {})
        rows = [one for one in fields.values() if "$ref" in one.get("items", {})]
        named = {one["name"] for one in found.get("parameters", ())}
        if rows and not ("next" in fields and {"cursor", "limit"} <= named):
            whole.add(found["operationId"])
    assert whole == BOUNDED


def test_short_lists_lead_through_their_pages(
    client: FlaskClient, database: Database, seeding: SimpleNamespace, submission: dict[str, Any]
) -> None:
    for number in range(3):
        seeding.seed_worker(database, f"worker-{number}", silent=number)
        address = f"https://hooks.example.org/{number}"
        client.post("/api/v1/recipients", json={"name": f"to {number}", "address": address})
        client.post("/api/v1/recurring", json={"cron": "30 2 * * *", "submission": submission})
    for name, key in (
        ("workers", "name"),
        ("recipients", "id"),
        ("notifications", "id"),  # the tests of the recipients
        ("recurring", "id"),
    ):
        whole = [one[key] for one in client.get(f"/api/v1/{name}").json[name]]
        assert len(whole) == 3
        found, address = [], f"/api/v1/{name}?limit=2"
        while address:
            page = client.get(address).json
            found += [one[key] for one in page[name]]
            address = page["next"]
        assert found == whole


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJhIl0", "WzFd%00", "W3RydWVd", "a" * 601])
def test_what_is_no_cursor(empty: SimpleNamespace, cursor: str) -> None:
    for path in ("/api/v1/jobs", "/api/v1/studies"):
        (problem,) = problems(empty.client.get(f"{path}?cursor={cursor}"), 400)
        assert problem["field"] == "cursor"


def test_what_is_deprecated_says_so(empty: SimpleNamespace) -> None:
    answer = empty.client.get("/api/v1/jobs?offset=0")
    assert answer.headers["Deprecation"].startswith("@")
    assert answer.headers["Sunset"].endswith("GMT")
    assert 'rel="deprecation"' in answer.headers["Link"]
    assert "Deprecation" not in empty.client.get("/api/v1/jobs").headers


def test_every_get_can_be_asked_again(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database)
    for path in ("jobs", f"jobs/{job}/heads", f"jobs/{job}/examples/0", "studies", "sql/views"):
        first = client.get(f"/api/v1/{path}")
        headers = {"If-None-Match": first.headers["ETag"]}
        again = client.get(f"/api/v1/{path}", headers=headers)
        assert (again.status_code, again.data) == (304, b""), path


def test_the_clock_alone_changes_no_list_of_jobs(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, state="running", done=6)
    with database.write() as tx:  # it moves, so that it is not told to be stalled
        tx.run("UPDATE shard SET moved_at = {clock} + 1000")
    first, second = (client.get("/api/v1/jobs") for _ in range(2))
    assert first.json["jobs"][0]["elapsed_seconds"] < second.json["jobs"][0]["elapsed_seconds"]
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/api/v1/jobs", headers=known).status_code == 304
    client.post(f"/api/v1/jobs/{job}/pause")
    answer = client.get("/api/v1/jobs", headers=known)
    assert (answer.status_code, answer.headers["ETag"] != known["If-None-Match"]) == (200, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [("jobs", 304), ("jobs/1", 304), ("jobs/99", 404), ("openapi.json", 304), ("sql/views", 304)],
)
def test_any_version_of_what_is_there(
    client: FlaskClient, database: Database, seeding: SimpleNamespace, path: str, status: int
) -> None:
    seeding.seed_job(database)
    assert client.get(f"/api/v1/{path}", headers={"If-None-Match": "*"}).status_code == status


def test_other_conditions_are_not_read(empty: SimpleNamespace) -> None:
    for header in ("If-Match", "If-Range", "Range"):
        answer = empty.client.get("/api/v1/jobs", headers={header: '"other"'})
        assert (answer.status_code, answer.json["jobs"]) == (200, [])


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/jobs"])
def test_no_address_of_the_api_answers_with_a_page(empty: SimpleNamespace, path: str) -> None:
    problems(empty.client.get(path, headers={"Accept": "text/html"}), 404)


@pytest.mark.parametrize(
    "body",
    [
        b'{"path": NaN}',
        b'{"path": -Infinity}',
        b'{"path": 1e999}',
        b'{"path": "a", "path": "b"}',
        b'{"path": ' + b"[" * 60 + b"]" * 60 + b"}",
        b'{"path": "\\u0000"}',
        b'{"path": "\\udc00"}',
        b'{"other": 1}',
        b'{"path": 5}',
        b"null",
    ],
)
def test_bodies_are_read_strictly(empty: SimpleNamespace, body: bytes) -> None:
    answer = empty.client.post("/api/v1/preview", data=body, content_type="application/json")
    problems(answer, 400)


def test_other_types_of_body_are_refused(empty: SimpleNamespace) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "text/html"):
        problems(empty.client.post("/api/v1/preview", data=b"{}", content_type=kind), 415)


def test_the_reference_is_a_page_of_the_document(empty: SimpleNamespace) -> None:
    document = empty.client.get("/api/v1/openapi.json").json
    page = empty.client.get("/help/api").text
    for path, methods in document["paths"].items():
        for found in methods.values():
            assert path in page
            assert f'id="{found["operationId"]}"' in page
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page
    error = empty.client.get("/api/v1/jobs/1").get_json(force=True)["type"]
    assert f'id="{error.partition("#")[2]}"' in page
    assert "<script>" not in page
