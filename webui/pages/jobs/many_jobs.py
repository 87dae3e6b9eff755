"""One action on the jobs that were ticked in the list, and what it did to each."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from flask import render_template, request

from jobs.errors import refuse
from scheduler.submission.many import ManyJobs, Outcome, act_on_many
from webui.accounts import trail
from webui.accounts.person import may_change
from webui.context import MAX_ID, clean, database, integer, settings
from webui.pages.jobs.job_list import PARAMETERS


def carry_out(asked: ManyJobs) -> list[Outcome]:
    """Carry out an action in the name of the person, and write each to the audit log.

    Raises InputError for what is wrong with the request itself.
    """
    outcomes = act_on_many(asked, settings(), database(), may_change)
    for one in outcomes:
        name = "change job" if asked.action == "priority" else f"{asked.action} job"
        about = f"job {one.job}"
        if one.done:
            trail.write(name, object=about)
        else:
            trail.write(name, object=about, refused=True)
    return outcomes


def act_on_ticked() -> str:
    """The page that says what happened to each of the jobs that were ticked."""
    form = {name: clean(value).strip() for name, value in request.form.items()}
    action = form.get("action", "")
    priority = 0
    if action == "priority":
        if not form.get("priority"):
            raise refuse("priority", None, "is missing", "Give a number from -100 to 100.")
        priority = integer("priority", 0, low=-100, high=100, source=form)
    asked = ManyJobs(action=action, jobs=ticked(), priority=priority)
    known = [(name, value) for name, value in parse_qsl(form.get("back", "")) if name in _BACK]
    return render_template(
        "jobs_done.html", outcomes=carry_out(asked), action=action, back=_by_name(known)
    )


_BACK = (*PARAMETERS, "after", "before")


def _by_name(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def ticked() -> list[int]:
    """The jobs that were ticked, and those of studies that were: `5,6,7`."""
    raws = [raw for name in ("job", "jobs") for raw in request.form.getlist(name)]
    return [
        int(raw)
        for part in raws
        for raw in part.split(",")
        if raw.isdecimal() and len(raw) < 11 and int(raw) <= MAX_ID
    ]
