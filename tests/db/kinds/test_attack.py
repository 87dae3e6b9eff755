"""Attack jobs in the database: planning, shards, rates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from db.database import Database
from db.queue import lifecycle
from db.reads import attack as attack_reads
from scheduler.submission.control import control
from tests.helpers.attack_jobs import (
    attack_spec,
    commit_shards,
    finished_attack,
    planned_attack,
    rename_labels,
    source_job,
)
from tests.helpers.inputs import refused


def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


TRIGGERS = "SELECT kind, control_of, label, text, support, origin_example FROM triggers"


def test_planning_mines_triggers_and_draws_a_control_for_each(database: Database) -> None:
    source = source_job(database)
    job = planned_attack(database, attack_spec(source))
    where = f"WHERE job_id = {job} ORDER BY trigger"
    found = rows(database, f"{TRIGGERS} {where}")
    assert found[:3] == [
        ("mined", None, 0, "flor | iowa", 1, 3),
        ("mined", None, 1, "ice ##ida", 1, 1),
        ("mined", None, 1, "ice ##ida | iowa", 1, 0),
    ]
    assert [row[:2] for row in found[3:6]] == [("random", 0), ("random", 1), ("random", 2)]
    assert [row[:4] for row in found[6:]] == [
        ("attention", n, label, "") for n, label in enumerate((0, 1, 1))
    ]
    # As many tokens of each text as the mined ones have.
    sizes = [
        [sum(part[1] == segment for part in json.loads(parts)) for segment in (0, 1)]
        for (parts,) in rows(database, f"SELECT parts FROM triggers {where}")
    ]
    assert sizes[:3] == sizes[3:6] == [[1, 1], [2, 0], [2, 1]]
    columns = "trigger, source, origin_job, origin_example, positions, score"
    assert rows(database, f"SELECT {columns} FROM trigger_sources {where}") == [
        (0, 0, source, 3, "[3, 7]", pytest.approx(0.5)),
        (1, 0, source, 1, "[1, 4]", pytest.approx(0.875)),
        (2, 0, source, 0, "[1, 4, 7]", pytest.approx(0.75)),
    ]
    assert rows(database, f"SELECT cost FROM job WHERE id = {job}") == [(10.0,)]


def test_what_is_not_wanted_is_not_planned(database: Database) -> None:
    source = source_job(database)
    spec = attack_spec(
        source,
        rule={"per_class": 1},
        controls={"random": False, "attention": False},
        given=[[["big", "ice"], ["iowa"]]],
        insertion="text",
    )
    planned_attack(database, spec)
    found = rows(database, "SELECT kind, label, text, parts FROM triggers ORDER BY trigger")
    assert [row[:3] for row in found] == [
        ("mined", 0, "flor | iowa"),
        ("mined", 1, "ice ##ida"),
        ("given", None, "big ice | iowa"),
    ]
    places = [[part[1], part[2]] for part in json.loads(found[2][3])]
    assert places == [[0, pytest.approx(1 / 3)], [0, pytest.approx(2 / 3)], [1, 0.5]]


def test_labels_go_by_name(database: Database) -> None:
    source = source_job(database)
    rename_labels(database, source, ("YES", "no"))
    planned_attack(database, attack_spec(source))
    mined = "SELECT label FROM triggers WHERE kind = 'mined' ORDER BY trigger"
    assert rows(database, mined) == [(1,), (0,), (0,)]


def test_a_plan_without_triggers_or_with_other_labels_is_refused(database: Database) -> None:
    source = source_job(database)
    nothing = attack_spec(source, rule={"threshold": 5})
    refused(lambda: planned_attack(database, nothing), "triggers_from", "no trigger", "threshold")
    rename_labels(database, source, ("up", "down"))
    spec = attack_spec(source)
    refused(lambda: planned_attack(database, spec), "triggers_from", "other labels: up, down")


RESULTS = (
    "SELECT trigger, model, gold, n, before_correct, after_correct, flipped, flips, "
    "accuracy_before, success, success_low, rank FROM trigger_results WHERE job_id = {} "
    "ORDER BY trigger, model, gold"
)


def test_the_rates_of_a_trigger(database: Database) -> None:
    job = finished_attack(database, attack_spec(source_job(database)))
    found = rows(database, RESULTS.format(job))
    assert len(found) == 9 * 2
    # Trigger 0 is not put into text 3, which it came from, and turns texts 0, 3 and 6.
    assert found[0][:8] == (0, 0, 0, 4, 4, 2, 2, "[0, 2]")
    assert found[0][8:10] == (1.0, 0.5)
    assert found[1][:8] == (0, 0, 1, 3, 2, 2, 0, "[0, 0]")
    assert found[1][9:11] == (0.0, 0.0)
    ranks = "SELECT trigger, rank FROM trigger_results WHERE kind = 'mined' AND gold = 0"
    # Success 2/4, 1/4 (text 2) and 1/3 (text 4, as it came from text 0).
    assert rows(database, f"{ranks} ORDER BY rank") == [(0, 1), (2, 2), (1, 3)]
    controls = "SELECT DISTINCT flipped, n FROM trigger_results WHERE trigger = 3 AND gold = 1"
    assert rows(database, controls) == [(0, 3)]
    # Eight texts, nine triggers, none in the text it or what it controls came from.
    counted = "SELECT COUNT(*), COUNT(DISTINCT trigger) FROM trigger_outcomes"
    assert rows(database, counted) == [(63, 9)]
    assert rows(database, "SELECT DISTINCT text FROM triggers WHERE kind = 'attention'") == [
        ("in",)
    ]


def test_the_results_do_not_depend_on_the_shards(database: Database) -> None:
    spec = attack_spec(source_job(database), models=[{"name": "/models/other"}])
    one, many = (finished_attack(database, spec, size) for size in (8, 3))
    first, second = (rows(database, RESULTS.format(job)) for job in (one, many))
    assert first == second
    assert {row[1] for row in first} == {0, 1}
    hashes = rows(database, "SELECT result_hash FROM jobs WHERE kind = 'attack'")
    assert len(hashes) == 2
    assert len(set(hashes)) == 1


def test_a_trigger_typed_by_hand_needs_no_labels(database: Database) -> None:
    data = {"path": "/x.jsonl", "text_columns": ["a", "b"]}
    spec = attack_spec(None, given=[[["ice"]]], insertion="text", data=data, outcomes=False)
    planned_attack(database, spec)
    with database.write() as tx:
        tx.run("UPDATE example SET gold = NULL")
    commit_shards(database, spec)
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    assert rows(database, "SELECT state FROM jobs") == [("succeeded",)]
    for view in ("trigger_results", "trigger_outcomes"):
        assert rows(database, f"SELECT COUNT(*) FROM {view}") == [(0,)]


def test_deleting_leaves_nothing(database: Database) -> None:
    job = finished_attack(database, attack_spec(source_job(database)))
    control(database, job, "delete")
    for view in ("triggers", "trigger_sources", "trigger_results", "trigger_outcomes"):
        assert rows(database, f"SELECT COUNT(*) FROM {view}") == [(0,)], view
    assert rows(database, "SELECT COUNT(*) FROM trigger_sum") == [(0,)]


def test_a_finished_job_is_read_without_its_shards(database: Database) -> None:
    job = finished_attack(database, attack_spec(source_job(database)))
    before = attack_reads.get_results(database, job)
    with database.write() as tx:
        tx.run("DELETE FROM trigger_sum")
    assert before
    assert attack_reads.get_results(database, job) == before
