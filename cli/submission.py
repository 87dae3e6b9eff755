"""Submissions made of files, presets, options and KEY=VALUE assignments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cli.context import out, print_json
from cli.options import KeyOptions, RunOptions
from cli.progress import watch
from cli.store.base import Facts, Store
from jobs.errors import nearest, refuse
from jobs.formatting import counted
from jobs.kinds import DEFAULT, SPECS
from jobs.specs.base import JobSpec
from jobs.specs.fields import SpecField, fields_of, from_text
from jobs.specs.submission import Submission

Raw = dict[str, Any]
"""A submission as decoded JSON, not validated yet."""


def start_from(spec: Path | None, preset: str | None, store: Store) -> Raw:
    """The submission in a preset or a JSON file. Raises InputError."""
    if preset is not None:
        known = store.presets()
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


def complete(
    store: Store,
    raw: Raw,
    *groups: KeyOptions,
    assignments: Iterable[str] | None = None,
    spec: type[BaseModel] | None = None,
) -> Raw:
    """Set the user, the given options, and then the assignments. Raises InputError.

    Data files of this machine are brought to where the job will be read. The specification is that
    of a job of its kind unless `spec` is another.
    """
    raw.pop("user", None)
    if store.user is not None:
        raw["user"] = store.user
    for group in groups:
        for key, value in group.values().items():
            _put(raw, key, _placed(store, key, value), spec)
    for assignment in assignments or ():
        _assign(raw, assignment, spec)
    return raw


def submit_raw(store: Store, raw: Raw, options: RunOptions) -> int:
    """Check a submission, submit it and watch it, as the options say; returns the exit status."""
    if options.check:
        checked = store.check(raw)
        if options.as_json:
            print_json(checked)
        else:
            out.print(f"Valid. {_size(checked['estimate'])}")
            say_understood(checked["understood"], checked["notes"])
        return 0
    found = store.submit(raw)
    job_id, existing, same_as = found["job"]["id"], found["existing_job"], found["same_as"]
    if options.as_json:
        answer = {"job": job_id, "existing": existing is not None, "same_as": same_as}
        print_json({**answer, "notes": found["notes"]})
    elif same_as:
        out.print(f"Job {job_id} already has these results; use --again to run it again.")
    elif existing:
        out.print(f"Job {job_id} does the same work and has not finished; nothing was submitted.")
    else:
        out.print(f"Job {job_id} submitted. {_size(found['estimate'])}")
        out.print(f"{store.dashboard}/jobs/{job_id}")
        say_understood(found["job"]["understood"], found["notes"])
    return watch(store, {f"job {job_id}": job_id}) if options.watch else 0


def say_understood(understood: Facts | None, notes: Iterable[str]) -> None:
    """Print how the data was read, and what one may not expect."""
    if understood is not None:
        out.print(" ".join(understood["sentences"]))
    for note in notes:
        out.print(f"Note: {note}.")


def _placed(store: Store, key: str, value: Any) -> Any:
    """The value of an option as the store has it: files and models have a place."""
    if key in ("spec.data.path", "spec.evaluation.path"):
        return store.data_file(key.removeprefix("spec."), value)
    return store.model_name(value) if key == "spec.model.name" else value


def _assign(raw: Raw, assignment: str, spec: type[BaseModel] | None) -> None:
    key, separator, text = assignment.partition("=")
    if not separator:
        raise refuse("--set", assignment, "is not key=value", "Write e.g. --set data.sample=500.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    beside = Submission.model_fields.keys() - {"spec"}
    _put(raw, key if key in beside else f"spec.{key}", value, spec)


def _put(raw: Raw, key: str, value: object, spec: type[BaseModel] | None) -> None:
    *path, last = key.split(".")
    place = raw
    for part in path:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise refuse("--set", key, f"{part!r} holds no keys", "See docs/reference/jobs.md.")
    field = _fields(raw, spec).get(key)
    place[last] = from_text(field, value) if field and isinstance(value, str) else value


def _fields(raw: Raw, spec: type[BaseModel] | None) -> dict[str, SpecField]:
    """The fields of a submission and of its specification, by the keys that lead to them."""
    own = fields_of(spec or _kind_of(raw.get("spec")))
    return fields_of(Submission) | {f"spec.{name}": field for name, field in own.items()}


def _kind_of(raw: object) -> type[BaseModel]:
    """The specification of the kind that a raw one names, or what all kinds have in common."""
    kind = raw.get("kind", DEFAULT) if isinstance(raw, dict) else DEFAULT
    return SPECS.get(kind, JobSpec) if isinstance(kind, str) else JobSpec


def _size(estimate: Mapping[str, Any]) -> str:
    if not estimate["examples"]:
        return "Its size is known once the data is loaded."
    time = f", {estimate['time']} ({estimate['basis']})" if estimate["time"] else ""
    size = f"{counted(estimate['examples'], 'example')} in {counted(estimate['shards'], 'shard')}"
    return f"{size}{time}."
