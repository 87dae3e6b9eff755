"""The heads that go at each point, and the specifications of pruning that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.kinds.pruning import Curves, PruningSpec, curves
from jobs.results.base import SiteInfo
from jobs.specs.submission import parse_spec
from tests.helpers.inputs import raw_submission, refused

MEAN = np.array([[0.1, 0.7, 0.3, 0.9], [0.5, 0.2, 0.8, 0.4], [0.6, 0.0, 1.0, np.nan]])
"""Three sites of four, four and three heads."""
SITES = [
    SiteInfo(layer=0, attention_type="encoder", heads=4, name="encoder.0"),
    SiteInfo(layer=1, attention_type="encoder", heads=4, name="encoder.1"),
    SiteInfo(layer=0, attention_type="cross", heads=3, name="decoder.0.cross"),
]
FIRST = {"job": 1, "source": "attattr"}
SECOND = {"job": 2, "source": "taylor"}


def raw(home: Path, **changes: Any) -> dict[str, Any]:
    return dict(raw_submission(home, **{"kind": "pruning", "sources": [FIRST], **changes})["spec"])


def spec(home: Path, **changes: Any) -> PruningSpec:
    found = parse_spec(raw(home, **changes))
    assert isinstance(found, PruningSpec)
    return found


def masks(found: Curves, **chosen: object) -> list[list[int]]:
    """Removed heads as numbers layer by layer, of the points with these properties."""
    points = [p for p in found.points if all(vars(p)[k] == v for k, v in chosen.items())]
    return [np.flatnonzero(found.masks[point.mask_no]).tolist() for point in points]


def test_curves_remove_the_least_and_the_most_important_first(tmp_path: Path) -> None:
    found = curves(spec(tmp_path, shares=[0, 0.2, 1], random=0), [MEAN], SITES)
    every = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert masks(found, direction="least") == [[], [0, 9], every]
    assert masks(found, direction="most") == [[], [3, 10], every]
    assert [point.share for point in found.points[:3]] == [0, 2 / 11, 1]


def test_equal_masks_are_there_once_and_the_first_removes_nothing(tmp_path: Path) -> None:
    wanted = spec(tmp_path, sources=[FIRST, SECOND], steps=4, random=0, directions=["least"])
    found = curves(wanted, [MEAN, MEAN], SITES)
    assert len(found.points) == 10
    assert found.masks.shape == (5, 3, 4)
    assert not found.masks[0].any()
    assert masks(found, source_no=0) == masks(found, source_no=1)


def test_random_orders_are_seeded_and_leave_out_what_is_not_there(tmp_path: Path) -> None:
    found = curves(spec(tmp_path, steps=2, random=2, seed=5), [MEAN], SITES)
    again = curves(spec(tmp_path, steps=2, random=2, seed=5), [MEAN], SITES)
    other = curves(spec(tmp_path, steps=2, random=2, seed=6), [MEAN], SITES)
    draws = [masks(found, source="random", draw=draw) for draw in (0, 1)]
    assert draws[0] != draws[1]
    assert {p.direction for p in found.points if p.source == "random"} == {"any"}
    assert masks(again, source="random", draw=0) == draws[0] != masks(other, draw=0)
    assert not found.masks[:, 2, 3].any()


def test_within_each_layer(tmp_path: Path) -> None:
    found = curves(spec(tmp_path, within_layer=[2, 1], random=0), [MEAN], SITES)
    one, two = masks(found, scope="layer", direction="most")
    assert one == [3, 6, 10]
    assert two == [1, 3, 4, 6, 8, 10]
    call = lambda: curves(spec(tmp_path, within_layer=[5], random=0), [MEAN], SITES)  # noqa: E731
    assert refused(call, "no layer has so many heads", "at most 4").field == "within_layer"


def test_the_notebooks_rule_and_every_number_of_heads_to_choose_from(tmp_path: Path) -> None:
    wanted = spec(tmp_path, steps=1, random=0, preset="notebook", within=1)
    found = curves(wanted, [MEAN], SITES)
    # Eleven heads: the threshold is the fourth smallest, and it goes as well.
    assert masks(found, scope="notebook") == [[0, 2, 5, 9]]
    assert [len(mask) for mask in masks(found, scope="choice")] == list(range(12))


@pytest.mark.parametrize(
    ("chosen", "all_of_them", "by_the_notebook"),
    [
        # Levels of the eight heads of the encoder: the third smallest is the threshold.
        ({"attention_types": ["encoder"]}, [0, 1, 2, 3, 4, 5, 6, 7], [0, 2, 5]),
        (
            {"attention_types": ["cross", "encoder"], "layers": [0]},
            [0, 1, 2, 3, 8, 9, 10],
            [0, 2, 9],
        ),
        ({"layers": [1]}, [4, 5, 6, 7], [5, 7]),
    ],
)
def test_only_heads_of_the_chosen_sites_are_removed(
    tmp_path: Path, chosen: Any, all_of_them: list[int], by_the_notebook: list[int]
) -> None:
    wanted = spec(tmp_path, steps=1, random=1, preset="notebook", within=1, **chosen)
    found = curves(wanted, [MEAN], SITES)
    for source in ("attattr", "random"):
        assert masks(found, scope="global", source=source)[-1] == all_of_them
    assert masks(found, scope="notebook") == [by_the_notebook]
    assert [len(mask) for mask in masks(found, scope="choice")] == [*range(len(all_of_them) + 1)]
    assert {p.share for p in found.points if p.scope == "global"} == {0, 1}


def test_sites_that_the_model_has_not_are_refused(tmp_path: Path) -> None:
    call = lambda: curves(spec(tmp_path, layers=[7]), [MEAN], SITES)  # noqa: E731
    problem = refused(call, "leaves no head that attattr of job 1 ranks", "layers 0 to 1")
    assert (problem.field, problem.value) == ("layers", "7")


def test_a_choice_of_all_sites_is_not_written_down(tmp_path: Path) -> None:
    """Specifications from before there was one keep their hash."""
    assert not {"layers", "attention_types"} & set(spec(tmp_path).model_dump())
    assert spec(tmp_path, layers=[2, 1]).model_dump()["layers"] == (1, 2)


def test_the_cost_counts_the_layers_that_differ(tmp_path: Path) -> None:
    wanted = spec(tmp_path, shares=[0.2], random=0, directions=["most"])
    # Nothing, and heads 3 of layer 0 and 2 of layer 2: that is a whole forward pass more.
    assert curves(wanted, [MEAN], SITES).cost == 2
    later = np.array([[3.0, 4.0], [1.0, 2.0]])
    wanted = spec(tmp_path, shares=[0.25], random=0, directions=["least"])
    assert curves(wanted, [later], SITES[:2]).cost == 1.5


def test_references_name_the_rankings(tmp_path: Path) -> None:
    found = spec(tmp_path, sources=[FIRST, SECOND]).references()
    assert [(r.field, r.job, r.source) for r in found] == [
        ("sources.0.job", 1, "attattr"),
        ("sources.1.job", 2, "taylor"),
    ]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("sources", {"sources": []}),
        ("sources", {"sources": [FIRST, FIRST]}),
        ("sources.0.job", {"sources": [{"job": 0}]}),
        ("sources.0.sauce", {"sources": [{"job": 1, "sauce": "attattr"}]}),
        ("directions", {"directions": []}),
        ("directions", {"directions": ["least", "least"]}),
        ("shares.0", {"shares": [1.5]}),
        ("steps", {"steps": 0}),
        ("random", {"random": -1}),
        ("within_layer.0", {"within_layer": [0]}),
        ("within", {"within": 101}),
        ("attention_types", {"attention_types": ["cross", "cross"]}),
        ("attention_types.0", {"attention_types": ["decodr"]}),
        ("layers.0", {"layers": [-1]}),
        ("preset", {"preset": "paper"}),
    ],
)
def test_what_is_refused_at_its_field(tmp_path: Path, field: str, changes: dict[str, Any]) -> None:
    assert refused(lambda: spec(tmp_path, **changes)).field == field


def test_too_many_masks_and_missing_labels_are_refused(tmp_path: Path) -> None:
    refused(lambda: spec(tmp_path, steps=1000), "up to 4,997 different masks", "at most 2,000")
    refused(lambda: spec(tmp_path, data={"label_column": None}), "needs data.label_column")
