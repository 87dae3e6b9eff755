"""A study with results of every kind of job."""

from __future__ import annotations

from typing import NamedTuple

from db import schema
from db.database import Database
from jobs.settings import Settings
from tests.helpers.attack_jobs import attack_spec, finished_attack, rename_labels
from tests.helpers.attack_jobs import source_job as mined_job
from tests.helpers.pruning_jobs import plan, run, submitted
from tests.webui.pages.studies.test_studies import finished_study


class Whole(NamedTuple):
    """Numbers of a study and its jobs."""

    study: int
    attribution: int
    importance: int
    pruning: int
    attack: int


def whole_study(database: Database, settings: Settings, name: str = "whole") -> Whole:
    """A finished study; the labels of its attack are `<no>` and `yes`."""
    pruning = submitted(database, settings, within=50)
    plan(database, settings)
    run(database)
    attack = finished_attack(database, attack_spec(mined_job(database)))
    rename_labels(database, attack, ("<no>", "yes"))
    study, attribution, importance = finished_study(database, name)
    rows = [
        {"study_id": study, "step": step, "position": place, "job_id": job}
        for place, (step, job) in enumerate((("pruning", pruning), ("attack", attack)), 2)
    ]
    with database.write() as tx:
        tx.execute(schema.study_step.insert(), rows)
    return Whole(study, attribution, importance, pruning, attack)
