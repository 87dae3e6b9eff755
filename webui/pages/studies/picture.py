"""The picture of a study: its steps from left to right, with a line from what each one needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from db.reads.jobs import Job

WIDTH, HEIGHT = 168, 46
GAP_X, GAP_Y = 72, 14
EDGE = 2
"""Room around the picture for the lines of its boxes."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A step; lengths are those of the picture's coordinates."""

    step: str
    job: Job
    needs: Sequence[str]
    """The steps that it needs, in the order of the study."""
    x: int
    y: int


@dataclass(frozen=True, kw_only=True)
class StudyPicture:
    """The steps of a study, and what they need of each other."""

    boxes: Mapping[str, Box]

    @property
    def width(self) -> int:
        """Of the picture."""
        return max(box.x for box in self.boxes.values()) + WIDTH + EDGE

    @property
    def height(self) -> int:
        """Of the picture."""
        return max(box.y for box in self.boxes.values()) + HEIGHT + EDGE

    @cached_property
    def lines(self) -> list[str]:
        """Paths from the right of a step to the left of one that needs it."""
        found = []
        for box in self.boxes.values():
            for parent in (self.boxes[step] for step in box.needs):
                x, y = parent.x + WIDTH, parent.y + HEIGHT // 2
                middle, end = (x + box.x) // 2, box.y + HEIGHT // 2
                found.append(f"M{x} {y}C{middle} {y} {middle} {end} {box.x} {end}")
        return found

    @property
    def words(self) -> str:
        """The same as a text."""
        return " ".join(
            f"{box.step} needs {' and '.join(box.needs)}."
            if box.needs
            else f"{box.step} needs no other step."
            for box in self.boxes.values()
        )


def picture(jobs: Mapping[str, Job]) -> StudyPicture:
    """The picture of a study's jobs by step, in an order in which parents come first."""
    steps = {job.id: step for step, job in jobs.items()}
    column: dict[str, int] = {}
    rows: dict[int, int] = {}
    boxes: dict[str, Box] = {}
    for step, job in jobs.items():
        needs = [steps[parent] for parent, _ in job.parents if parent in steps]
        place = column[step] = 1 + max((column[one] for one in needs), default=-1)
        row = rows[place] = rows.get(place, -1) + 1
        x, y = EDGE + place * (WIDTH + GAP_X), EDGE + row * (HEIGHT + GAP_Y)
        boxes[step] = Box(step=step, job=job, needs=needs, x=x, y=y)
    return StudyPicture(boxes=boxes)
