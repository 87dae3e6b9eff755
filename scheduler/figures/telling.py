"""The telling examples of a job in words, as reports and the pages of studies show them."""

from __future__ import annotations

from collections.abc import Sequence

from db.reads.telling import FIRST, LONGEST, Telling
from jobs.formatting import percent

RULE = (
    "The most confident right prediction and the most confident wrong one among the texts of at "
    f"most {LONGEST} characters in the first {FIRST:,} examples of the job; without gold labels, "
    "the first such example."
)
"""The rule by which they are chosen."""


def describe(one: Telling, labels: Sequence[str]) -> str:
    """The prediction of an example, and why it is shown."""
    reason = one.reason.capitalize()
    if one.predicted is None:
        return f"{reason}."
    sure = "" if one.probability is None else f" with probability {percent(one.probability)}"
    gold = "" if one.gold is None else f", gold label {labels[one.gold]}"
    return f"{reason}: {labels[one.predicted]}{sure}{gold}."
