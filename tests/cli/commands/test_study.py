"""`headwise study`: what it submits, says and refuses, with no worker in sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.progress import watch
from cli.store.local import LocalStore
from db.database import Database
from db.reads import job_list
from jobs.settings import load_settings
from tests.cli.conftest import Headwise
from tests.helpers.apps import new_app

GOOD = ("study", "--model", "./home/model", "--text", "premise,hypothesis", "--examples", "4")
DATA = ("--data", "home/pairs.jsonl")


def test_a_study_is_checked_and_submitted(headwise: Headwise, store: Database) -> None:
    checked = headwise(*GOOD, *DATA, "--check", "--json")
    assert (checked.status, checked.json["examples"]) == (0, 16)
    assert headwise(*GOOD, *DATA, "--check").out.startswith("Valid: attribution, taylor, ")
    assert job_list.list_jobs(store) == []
    ran = headwise(*GOOD, *DATA, "--no-watch", "--name", "paper")
    assert ran.status == 0
    steps = "1 (attribution), 2 (taylor), 3 (leave-one-out), 4 (pruning), 5 (attack)"
    first, address, note = ran.out.splitlines()
    assert first == f"Study 1: jobs {steps}."
    assert address == "http://127.0.0.1:8600/studies/1"
    assert note.startswith("Note: no worker serves the queue default: ")
    assert {job.name for job in job_list.list_jobs(store)} >= {"paper: attribution"}
    again = headwise(*GOOD, *DATA, "--no-watch")
    assert "; there already: 1, 2, 3, 4, 5." in again.out
    found = headwise(*GOOD, *DATA, "--no-watch", "--json").json
    assert (found["id"], found["state"], found["findings"]) == (3, "queued", {})
    assert found["steps"]["attack"]["id"] == 5
    assert found == new_app(load_settings()).test_client().get("/api/v1/studies/3").json


def test_every_job_of_a_study_goes_to_the_chosen_queue(headwise: Headwise, store: Database) -> None:
    assert headwise(*GOOD, *DATA, "--no-watch", "--queue", "gpu").status == 0
    assert {job.queue for job in job_list.list_jobs(store)} == {"gpu"}
    bad = headwise(*GOOD, *DATA, "--no-watch", "--queue", "GPU 1")
    assert (bad.status, bad.out, bad.err.count("GPU 1")) == (2, "", 1), bad.err


def test_parts_and_sizes(headwise: Headwise, store: Database) -> None:
    sizes = ("--evaluation-examples", "1", "--steps", "3", "--random", "2", "--within", "5")
    headwise(*GOOD, *DATA, *sizes, "--parts", "pruning", "--rtol", "0.1", "--no-watch")
    pruning, attribution = job_list.list_jobs(store)
    assert (attribution.kind, attribution.spec["rtol"]) == ("attribution", 0.1)
    assert [pruning.spec[key] for key in ("steps", "random", "within")] == [3, 2, 5]
    assert pruning.examples == 1


def test_any_field_of_a_study_is_set(headwise: Headwise, store: Database) -> None:
    fields = ("random=1", "parts=pruning", "within=null", "data.limit=5", "name=mine")
    given = [word for field in fields for word in ("--set", field)]
    assert headwise(*GOOD, *DATA, *given, "--no-watch").status == 0
    pruning, attribution = job_list.list_jobs(store)
    assert (attribution.name, attribution.spec["data"]["limit"]) == ("mine: attribution", 4)
    assert (pruning.spec["random"], pruning.spec["within"]) == (1, None)
    bad = headwise(*GOOD, *DATA, "--set", "randm=1")
    assert (bad.status, bad.err.count("\n")) == (2, 1)
    assert "Did you mean 'random'?" in bad.err


def test_a_study_that_fails_ends_with_status_1(
    headwise: Headwise, store: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    headwise(*GOOD, *DATA, "--parts", "taylor", "--no-watch")
    with store.write() as tx:
        tx.run("UPDATE job SET state = 'failed', error = 'no luck'")
    assert watch(LocalStore(load_settings(), store), {"attribution": 1, "taylor": 2}) == 1
    assert "taylor failed: no luck" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "needs exactly one of data.path"),
        (("--data", "home/gone.jsonl"), "no such file"),
        ((*DATA, "--examples", "6"), "examples: leaves no rows of the data to evaluate on"),
        ((*DATA, "--parts", "prune"), "parts.0"),
        ((*DATA, "--evaluation", "home/gone.jsonl"), "evaluation.path: no such file"),
        ((*DATA, "--label", "lable"), "data.label_column"),
    ],
)
def test_what_is_refused(headwise: Headwise, arguments: tuple[str, ...], words: str) -> None:
    ran = headwise(*GOOD, *arguments)
    assert ran.status == 2
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_file_of_the_current_folder(headwise: Headwise, home: Path) -> None:
    assert home.name == "home"
    assert headwise(*GOOD, "--data", "./home/pairs.jsonl", "--check").status == 0
