"""Charts of any table: which ones are proposed, and what they draw."""

from __future__ import annotations

from typing import Any

import pytest

from headwise.figures import CHARTS, Chart, Table, draw_table, propose


def table(**columns: tuple[str, list[Any]]) -> Table:
    """A table of columns: their type and values."""
    return Table(
        columns=tuple(columns),
        types=tuple(kind for kind, _ in columns.values()),
        rows=list(zip(*(values for _, values in columns.values()), strict=True)),
    )


HEADS = table(
    job_id=("integer", [7, 7, 7, 7]),
    layer=("integer", [0, 0, 1, 1]),
    head=("integer", [0, 1, 0, 1]),
    kind=("text", ["encoder"] * 4),
    low=("real", [0.1, 0.2, 0.3, 0.4]),
    mean=("real", [0.5, 0.25, None, 1.0]),
)
WORKERS = table(
    worker=("text", ["a", "a", "b", "b"]),
    outcome=("text", ["done", "lost", "done", "lost"]),
    shards=("integer", [4, 3, 2, 1]),
)
CURVE = table(
    share=("real", [0.0, 0.5, 0.0, 0.5]),
    **{"AVG(p.accuracy)": ("real", [0.9, 0.7, 0.9, 0.5])},
    source=("text", ["taylor", "taylor", "attattr", "attattr"]),
)


def test_the_best_chart_comes_first() -> None:
    found = propose(HEADS)
    assert next(iter(found.values())) == Chart(kind="heads", y="mean")
    bars = next(iter(propose(WORKERS).values()))
    assert bars == Chart(kind="bars", x="worker", y="shards", series="outcome")
    line = next(iter(propose(CURVE).values()))
    assert line == Chart(kind="line", x="share", y="AVG(p.accuracy)", series="source")


def test_heads_that_come_twice_make_no_heat_map() -> None:
    twice = table(layer=("integer", [0, 0]), head=("integer", [0, 0]), mean=("real", [0.5, 0.25]))
    assert "heads" not in propose(twice)
    kinds = table(
        layer=("integer", [0, 0]),
        head=("integer", [0, 0]),
        attention_type=("text", ["decoder", "cross"]),
        mean=("real", [0.5, 0.25]),
    )
    assert "heads" in propose(kinds)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"name": ("text", ["a"])},
        {"mean": ("real", [])},
        {"mean": ("real", [1.0])},
    ],
)
def test_a_table_without_two_columns_has_no_chart(columns: dict[str, Any]) -> None:
    assert propose(table(**columns)) == {}


def test_many_values_make_no_colours() -> None:
    many = table(
        name=("text", [str(n % 20) for n in range(40)]),
        layer=("integer", [n % 2 for n in range(40)]),
        mean=("real", [float(n) for n in range(40)]),
    )
    assert {chart.series for chart in propose(many).values()} == {""}


def test_a_heat_map_of_a_table() -> None:
    figure = draw_table(HEADS, Chart(kind="heads", y="mean"), "A note.")
    assert [row["mean"] for row in figure.rows] == [0.5, 0.25, None, 1.0]
    assert figure.caption == "mean by layer and head. A note."


@pytest.mark.parametrize("kind", [kind for kind in CHARTS if kind != "heads"])
def test_a_chart_has_its_columns_and_titles(kind: str) -> None:
    chart = Chart(kind=kind, x="share", y="AVG(p.accuracy)", series="source")
    figure = draw_table(CURVE, chart)
    # Vega would read a dot as a field of a field.
    assert figure.columns == ("share", "source", "AVG(p_accuracy)")
    axes = figure.chart["encoding"]
    assert axes["y"]["axis"]["title"] == "AVG(p.accuracy)"
    assert axes["x"]["field"] == "share"
    assert axes["color"]["scale"]["domain"] == ["taylor", "attattr"]
    assert figure.title == "AVG(p.accuracy) by share and source"


def test_a_number_that_json_does_not_have_is_left_out() -> None:
    odd = table(x=("integer", [1, 2]), y=("real", [float("nan"), 2.0]))
    figure = draw_table(odd, Chart(kind="line", x="x", y="y"))
    assert [row["y"] for row in figure.rows] == [None, 2.0]
    figure.json()
