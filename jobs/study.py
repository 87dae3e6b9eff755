"""Studies: one question about a model and its data, and the jobs that answer it.

Hao et al., AAAI 2021: importance of heads (section 4), pruning by it (4.2) and adversarial triggers
(5) from one attribution. Heads are ranked and triggers mined on the first examples; pruning and
attack are evaluated on the rest, which neither has seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, model_validator

from jobs.errors import Problem
from jobs.specs.base import (
    LABEL_COLUMN,
    NAME_THE_LABELS,
    DataSpec,
    Device,
    Dtype,
    Frozen,
    JobSpec,
    MaxLength,
    ModelSpec,
    at,
)
from jobs.specs.submission import parse_spec, parsed
from jobs.states import FINAL_JOB_STATES, Control, JobState

PARTS = ("taylor", "leave-one-out", "pruning", "attack")
"""The steps that follow the attribution, in order."""
SMALL = 5000
"""Most forward passes of a leave-one-out step that is included by default: a minute or two on two
CPU cores."""
EVALUATED = ("pruning", "attack")
"""The steps on held-out examples."""


class StudySpec(Frozen):
    """One submission that reproduces the paper: attribution, importance, pruning and attack."""

    model: ModelSpec
    data: DataSpec
    examples: int = Field(
        default=200,
        ge=2,
        le=1_000_000,
        description="Rows that heads are ranked and triggers mined on: the first rows of the data.",
    )
    evaluation: DataSpec | None = Field(
        default=None,
        description="Other data to evaluate on. Default: the rows after those examples.",
    )
    evaluation_examples: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Most rows to evaluate on, of those after these examples. Default: all.",
    )
    parts: tuple[Literal["taylor", "leave-one-out", "pruning", "attack"], ...] | None = Field(
        default=None,
        description="What follows the attribution: taylor, leave-one-out, pruning, attack. "
        "Default: all; leave-one-out where it takes at most 5,000 forward passes.",
    )
    target: str = Field(
        default="predicted",
        min_length=1,
        max_length=200,
        description="Attribution: predicted, gold, or a label.",
    )
    rtol: float = Field(
        default=1e-2, ge=1e-6, le=0.5, description="Attribution: relative error to aim at."
    )
    steps: int = Field(
        default=10, ge=1, le=1000, description="Pruning: equal steps from no head to all heads."
    )
    random: int = Field(
        default=3, ge=0, le=100, description="Pruning: random orders of the heads to compare with."
    )
    within: float | None = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Pruning: choose the most heads that can be removed while accuracy falls by at "
        "most this many percentage points.",
    )
    triggers: int = Field(
        default=5, ge=1, le=1000, description="Attack: strongest triggers per class."
    )
    max_length: MaxLength = None
    dtype: Dtype = "float32"
    device: Device = "auto"

    @property
    def ranked(self) -> DataSpec:
        """The data that heads are ranked on."""
        limit = min(self.examples, self.data.limit or self.examples)
        return self.data.model_copy(update={"limit": limit})

    @property
    def held_out(self) -> DataSpec:
        """The data to evaluate on; disjoint from `ranked` unless other data was given."""
        found = self.evaluation
        if found is None:
            left = None if self.data.limit is None else self.data.limit - self.examples
            offset = self.data.offset + self.examples
            found = self.data.model_copy(update={"offset": offset, "limit": left})
        limits = [n for n in (found.limit, self.evaluation_examples) if n is not None]
        return found.model_copy(update={"limit": min(limits, default=None)})

    def chosen(self, layers: int, heads: int) -> tuple[str, ...]:
        """Return the steps after the attribution, on a model of this shape."""
        if self.parts is not None:
            return tuple(part for part in PARTS if part in self.parts)
        small = self.examples * layers * heads <= SMALL
        return tuple(part for part in PARTS if small or part != "leave-one-out")

    def jobs(self, parts: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return raw specifications by step; "$step" stands for the number of that step's job."""
        same = self.model_dump(mode="json", include={"model", "max_length", "dtype", "device"})
        ranked = {**same, "data": self.ranked.model_dump(mode="json")}
        held_out = {**same, "data": self.held_out.model_dump(mode="json")}
        attribution = {"target": self.target, "rtol": self.rtol}
        found = {"attribution": {"kind": "attribution", **ranked, **attribution}}
        for method in ("taylor", "leave-one-out"):
            if method in parts:
                found[method] = {"kind": "importance", **ranked, "method": method}
        if "pruning" in parts:
            found["pruning"] = {**held_out, **self._pruning(found)}
        if "attack" in parts:
            found["attack"] = {**held_out, **self._attack()}
        return found

    def _pruning(self, ranked: Mapping[str, Any]) -> dict[str, Any]:
        sources = [
            {"job": f"${step}", "source": source}
            for step, raw in ranked.items()
            for source in parse_spec(raw).compared
        ]
        return {
            "kind": "pruning",
            "sources": sources,
            "random": self.random,
            "steps": self.steps,
            "preset": "notebook",
            "within": self.within,
        }

    def _attack(self) -> dict[str, Any]:
        rule = {"examples": self.examples, "per_class": self.triggers}
        return {"kind": "attack", "triggers_from": "$attribution", "rule": rule}

    @classmethod
    def gold_for(cls, given: Mapping[str, Any]) -> str | None:
        """Importance, pruning and attack."""
        return "a study needs data.label_column: gold labels"

    @model_validator(mode="after")
    def _possible(self) -> StudySpec:
        if self.data.inline or (self.evaluation and self.evaluation.inline):
            raise at("data.inline", "a study needs data.path or data.dataset, not data.inline")
        if self.data.label_column is None and (message := self.gold_for(vars(self))):
            raise at(LABEL_COLUMN, message, NAME_THE_LABELS)
        needs_rest = self.evaluation is None and any(
            part in EVALUATED for part in self.parts or EVALUATED
        )
        if needs_rest and self.data.sample is not None:
            message = "leaves no rows to evaluate on: give evaluation, or data without sample"
            raise at("data.sample", f"data.sample {message}")
        if needs_rest and self.data.limit is not None and self.data.limit <= self.examples:
            message = (
                f"data.limit of {self.data.limit:,} leaves no rows to evaluate on after the first "
                f"{self.examples:,}: raise it, lower examples, or give evaluation"
            )
            raise at("data.limit", message)
        return self


def parse_study(raw: object) -> StudySpec:
    """Parse a study from decoded JSON. Raises InputError with every problem found."""
    return parsed(StudySpec, raw, "spec", "docs/howto/studies.md")


def own_problems(spec: StudySpec, problems: Sequence[Problem]) -> list[Problem]:
    """Translate problems of a study's jobs, `jobs.STEP.FIELD`, to fields of the study.

    A field that several jobs complain about is reported for the first of them only.
    """
    found: list[Problem] = []
    first: dict[str, str] = {}
    for one in problems:
        _, step, field = one.field.split(".", 2)
        if step in EVALUATED and field.startswith("data."):
            if spec.evaluation is not None:
                field = f"evaluation.{field.removeprefix('data.')}"
            elif field == "data.offset":
                one = Problem(
                    field="examples",
                    value=spec.examples,
                    message="leaves no rows of the data to evaluate on",
                    remedy="Lower it, or give other data as evaluation.",
                )
                field = one.field
        if first.setdefault(field, step) == step:
            found.append(replace(one, field=field))
    return found


def study_state(jobs: Sequence[tuple[JobState, str]]) -> JobState:
    """Return the state of a study from the states and controls of its jobs."""
    states = {state for state, _ in jobs}
    open_ = [(state, control) for state, control in jobs if state not in FINAL_JOB_STATES]
    if open_ and all(control == Control.CANCEL for _, control in open_):
        return JobState.CANCELLING
    # A job that is ending cannot be resumed, whatever its control says.
    ending = (JobState.STOPPING, JobState.FINALIZING)
    left = [control for state, control in open_ if state not in ending]
    if left and all(control == Control.PAUSE for control in left):
        return JobState.PAUSED
    if open_:
        return JobState.QUEUED if states <= {JobState.QUEUED} else JobState.RUNNING
    for state in (JobState.FAILED, JobState.CANCELLED):
        if state in states:
            return state
    return JobState.SUCCEEDED


def restarted(specs: Mapping[str, JobSpec], numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return a study's specifications with "$step" in place of the numbers of its own jobs."""
    steps = {number: step for step, number in numbers.items()}
    found = {}
    for step, spec in specs.items():
        raw = spec.model_dump(mode="json")
        for reference in spec.references():
            *path, last = reference.field.split(".")
            place: Any = raw
            for part in path:
                place = place[int(part)] if isinstance(place, list) else place[part]
            if reference.job in steps:
                key: Any = int(last) if isinstance(place, list) else last
                place[key] = f"${steps[reference.job]}"
        found[step] = raw
    return found
