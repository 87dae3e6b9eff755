"""Submissions made of files, presets, options and KEY=VALUE assignments."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cli.context import out, print_json
from cli.options import KeyOptions, RunOptions
from cli.progress import watch
from db.database import Database
from jobs.errors import nearest, refuse
from jobs.formatting import counted, duration
from jobs.plan import Estimate
from jobs.settings import Settings
from jobs.specs.submission import Submission
from scheduler.serializers import checked_json
from scheduler.submission.presets import presets
from scheduler.submission.submit import Checked, check, submit

Raw = dict[str, Any]
"""A submission as decoded JSON, not validated yet."""


def start_from(spec: Path | None, preset: str | None, settings: Settings) -> Raw:
    """The submission in a preset or a JSON file. Raises InputError."""
    if preset is not None:
        known = presets(settings)
        matches = [title for title in known if title.casefold().startswith(preset.casefold())]
        if not matches:
            raise refuse("--preset", preset, "is unknown", nearest(preset, known))
        return dict(json.loads(json.dumps(known[matches[0]])))
    if spec is None:
        return {"spec": {}}
    try:
        raw = json.loads(spec.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise refuse("--spec", str(spec), f"cannot be read: {error}", "Give a JSON file.") from None
    return raw if isinstance(raw, dict) and "spec" in raw else {"spec": raw}


def complete(raw: Raw, *groups: KeyOptions, assignments: Iterable[str] | None = None) -> Raw:
    """Set the user, the given options, and then the assignments. Raises InputError."""
    raw["user"] = user()
    for group in groups:
        for key, value in group.values().items():
            _put(raw, key, value)
    for assignment in assignments or ():
        _assign(raw, assignment)
    return raw


def submit_raw(raw: Raw, options: RunOptions, settings: Settings, database: Database) -> int:
    """Check a submission, submit it and watch it, as the options say; returns the exit status."""
    checked = check(raw, settings, database)
    if options.check:
        if options.as_json:
            print_json(checked_json(checked))
        else:
            out.print(f"Valid. {_size(checked.estimate)}")
            say_understood(checked)
        return 0
    job_id = submit(checked, database)
    if options.as_json:
        existing = checked.existing_job is not None
        print_json({"job": job_id, "existing": existing, "same_as": checked.same_as})
    elif checked.same_as:
        out.print(f"Job {job_id} has these results already; --again runs it again.")
    elif checked.existing_job:
        out.print(f"Job {job_id} is the same work and has not finished; nothing was submitted.")
    else:
        out.print(f"Job {job_id} submitted. {_size(checked.estimate)}")
        say_understood(checked)
    return watch(database, {f"job {job_id}": job_id}) if options.watch else 0


def say_understood(checked: Checked) -> None:
    """Print how the data was read."""
    if checked.understood is not None:
        out.print(" ".join(checked.understood.sentences))
    for note in checked.notes:
        out.print(f"Note: {note}.")


def user() -> str:
    """The name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "local"


def _assign(raw: Raw, assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    if not separator:
        raise refuse("--set", assignment, "is not key=value", "Write e.g. --set data.sample=500.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    beside = Submission.model_fields.keys() - {"spec"}
    _put(raw, key if key in beside else f"spec.{key}", value)


def _put(raw: Raw, key: str, value: object) -> None:
    *path, last = key.split(".")
    place = raw
    for part in path:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise refuse("--set", key, f"{part!r} holds no keys", "See docs/jobs.md.")
    place[last] = value


def _size(estimate: Estimate) -> str:
    if not estimate.examples:
        return "Its size is known once the data is loaded."
    seconds = estimate.seconds
    time = "" if seconds is None else f", about {duration(seconds)}"
    return f"{counted(estimate.examples, 'example')} in {counted(estimate.shards, 'shard')}{time}."
