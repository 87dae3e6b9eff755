"""Differences between the sides of a comparison: specifications, task, labels and data."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.reads.jobs import Job
from jobs.formatting import counted
from jobs.specs.submission import parse_spec
from scheduler.comparison.sides import Side
from scheduler.serializers import data_title
from scheduler.specifications import spec_rows

MISSING = "–"
"""A field that a side's specification does not have."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A field of specifications that is not the same on all sides."""

    field: str
    """Its dotted name; of a study with its step."""
    values: tuple[str, ...]
    """Its value of each side."""


def differences(sides: Sequence[Side]) -> list[Difference]:
    """The fields whose values differ, in the order of the specifications."""
    tables = [_fields(side) for side in sides]
    names = dict.fromkeys(name for table in tables for name in table)
    found = [
        Difference(field=name, values=tuple(table.get(name, MISSING) for table in tables))
        for name in names
    ]
    return [one for one in found if len(set(one.values)) > 1]


def warnings(sides: Sequence[Side]) -> list[str]:
    """Sentences about what makes numbers of the sides not comparable."""
    found = []
    for title, fact, remark in (
        ("The task differs", _task, "Accuracies and attributions mean different things."),
        ("The labels differ", _labels, "Accuracies are not of the same classes."),
        ("The data differ", _data, "A difference may come from the examples."),
        ("What is attributed differs", _target, "The values have different units."),
        ("The models differ in shape", _shape, "Heads of one name are not the same head."),
    ):
        facts = [fact(side) for side in sides]
        known = {identity for identity, _ in filter(None, facts)}
        if len(known) > 1:
            words = "; ".join(
                f"{side.noun} {side.number}: {one[1]}"
                for side, one in zip(sides, facts, strict=True)
                if one
            )
            found.append(f"{title}: {words}. {remark}")
    return found


Fact = tuple[str, str] | None
"""A value that must be equal, and its name; None where it is not known."""


def _fields(side: Side) -> dict[str, str]:
    """The fields of a side's specifications with their values."""
    numbers = {job.id: step for step, job in side.steps.items()}
    found: dict[str, str] = {}
    for step, job in side.steps.items():
        prefix = f"{step}: " if step else ""
        # Jobs of a study are named by their steps, which are the same in another study.
        spec = _named(job, numbers) if step else job.spec
        found[f"{prefix}kind"] = job.kind
        found |= {f"{prefix}{name}": value for name, value, _ in spec_rows(spec)}
    return found


def _named(job: Job, numbers: Mapping[int, str]) -> dict[str, Any]:
    """A job's specification with the steps of its study in place of their jobs' numbers."""
    spec = copy.deepcopy(job.spec)
    for reference in parse_spec(job.spec).references():
        *path, last = reference.field.split(".")
        place: Any = spec
        for part in path:
            place = place[int(part) if part.isdecimal() else part]
        place[last] = numbers.get(reference.job, reference.job)
    return spec


def _jobs(side: Side) -> list[Job]:
    return list(side.steps.values())


def _task(side: Side) -> Fact:
    labelled = [job for job in _jobs(side) if job.labels]
    if not labelled:
        return None
    outputs = labelled[0].outputs.value
    return outputs, f"the model gives {outputs}"


def _labels(side: Side) -> Fact:
    found = next((job.labels for job in _jobs(side) if job.labels), None)
    return (json.dumps(found), ", ".join(found)) if found else None


def _data(side: Side) -> Fact:
    """The data of its jobs, by their fingerprints where they are known."""
    identity = {
        job.data_fingerprint or json.dumps(job.spec["data"], sort_keys=True) for job in _jobs(side)
    }
    named = dict.fromkeys(
        f"{data_title(job)} ({counted(job.examples, 'example')}{_rows(job)})" for job in _jobs(side)
    )
    return json.dumps(sorted(identity)), " and ".join(named)


def _rows(job: Job) -> str:
    """The beginning of the fingerprint of a job's rows, which tells equal names apart."""
    return f", rows {job.data_fingerprint[:8]}" if job.data_fingerprint else ""


def _target(side: Side) -> Fact:
    job = next((one for one in _jobs(side) if one.kind == "attribution"), None)
    if job is None:
        return None
    output, target = job.spec.get("output", "probability"), job.spec.get("target", "predicted")
    return f"{output} {target}", f"the {output} of the class {target!r}"


def _shape(side: Side) -> Fact:
    job = next((one for one in _jobs(side) if one.layers), None)
    if job is None:
        return None
    shape = f"{counted(job.layers or 0, 'layer')} × {counted(job.heads or 0, 'head')}"
    return shape, shape
