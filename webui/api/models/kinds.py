"""Results that only one kind of job has."""

from __future__ import annotations

from db.kinds.pruning import Choice, Point
from jobs.kinds.attack import TriggerKind
from jobs.kinds.triggers import TriggerToken
from webui.contract.models import Answer, Page

Share = tuple[float | None, float | None, float | None]


class PruningAnswer(Answer):
    """The curves of a pruning job, and its choice."""

    points: list[Point]
    choice: Choice | None
    """Numbers of given and overlapping examples, and the choice of `within`."""
    provisional: bool
    """True while shards are missing."""


class TriggerResultAnswer(Answer):
    """The rates of a trigger with one model and gold class, as [value, low, high]."""

    model: int
    """0 for the job's own."""
    gold: int
    n: int
    """Examples."""
    before_correct: int
    after_correct: int
    flipped: tuple[int, ...]
    """By class: examples that were predicted correctly and are now predicted as that class."""
    accuracy_before: Share
    accuracy_after: Share
    success: Share
    """Share of the examples predicted correctly before that are not any more."""
    rank: int
    """1 has the highest success, among triggers of its kind with that model and class."""


class TriggerAnswer(Answer):
    """A trigger and its results."""

    trigger: int
    kind: TriggerKind
    control_of: int | None
    """The trigger that a control is for."""
    label: int | None
    """The class it was mined for."""
    text: str
    tokens: tuple[TriggerToken, ...]
    """[token, segment, position, word] each."""
    support: int | None
    """Examples that it was found in."""
    strength: float | None
    origin_job: int | None
    origin_example: int | None
    results: list[TriggerResultAnswer]


class TriggerPage(Page):
    """The triggers of an attack job, by number."""

    triggers: list[TriggerAnswer]
    total: int
    """Triggers on all pages."""
    provisional: bool
    """True while the job runs."""


class TriggerOrigin(Answer):
    """An example that a trigger was mined from."""

    job: int
    example: int
    score: float
    text_a: str | None
    text_b: str | None


class FlippedExample(Answer):
    """An example that is predicted wrongly because of a trigger."""

    example: int
    gold: int
    predicted: int
    probabilities: list[float]
    text_a: str | None
    text_b: str | None


class OneTriggerAnswer(Answer):
    """A trigger, where it came from, and what it flips."""

    trigger: TriggerAnswer
    sources: list[TriggerOrigin]
    """The strongest first."""
    flipped: list[FlippedExample]


class TriedAnswer(Answer):
    """The effect of words on a text; all null until it is computed."""

    texts: tuple[str, ...] | None
    texts_after: tuple[str, ...] | None
    before: tuple[float, ...] | None
    """Probabilities by label."""
    after: tuple[float, ...] | None
    predicted_before: int | None
    predicted_after: int | None


class MaskAnswer(Answer):
    """The heads that a mask removes."""

    removed: list[tuple[int, int]]
    """[site, head] each."""
