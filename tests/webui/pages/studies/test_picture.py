"""The picture of what a study's steps need of each other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from webui.pages.studies.picture import GAP_X, HEIGHT, WIDTH, picture


def jobs(**needs: tuple[str, ...]) -> dict[str, Any]:
    """Jobs by step, numbered from 1."""
    numbers = {step: number for number, step in enumerate(needs, 1)}
    return {
        step: SimpleNamespace(id=numbers[step], parents=[(numbers[one], "queued") for one in given])
        for step, given in needs.items()
    }


def test_steps_stand_to_the_right_of_what_they_need() -> None:
    found = picture(
        jobs(attribution=(), taylor=(), pruning=("attribution", "taylor"), attack=("attribution",))
    )
    places = {
        step: (box.x // (WIDTH + GAP_X), box.y // HEIGHT) for step, box in found.boxes.items()
    }
    assert places == {"attribution": (0, 0), "taylor": (0, 1), "pruning": (1, 0), "attack": (1, 1)}
    assert len(found.lines) == 3
    assert "pruning needs attribution and taylor." in found.words
    assert "taylor needs no other step." in found.words
    assert all(box.x + WIDTH <= found.width for box in found.boxes.values())
    assert all(box.y + HEIGHT <= found.height for box in found.boxes.values())


def test_a_chain_and_a_parent_outside_the_study() -> None:
    chain = jobs(first=(), second=("first",), third=("second",))
    chain["first"].parents.append((99, "succeeded"))
    found = picture(chain)
    assert [box.x // (WIDTH + GAP_X) for box in found.boxes.values()] == [0, 1, 2]
    assert found.boxes["first"].needs == []
    assert found.lines[0].startswith(f"M{found.boxes['first'].x + WIDTH} ")
