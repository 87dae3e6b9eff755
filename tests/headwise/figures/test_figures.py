"""Figures: their specifications, tables, captions and files."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import struct
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import altair
import jsonschema
import pytest

from headwise.errors import OptionError
from headwise.figures import (
    Measure,
    VegaFigure,
    bump,
    head_matrix,
    heat_map,
    histogram,
    history,
    pruning_curves,
    rendering,
    trigger_results,
    triggers_of_jobs,
)
from headwise.figures.palette import DARK, LIGHT
from tests.headwise.figures.made import (
    ACCURACY,
    EMPTY,
    FIGURES,
    REMOVED,
    SOURCE,
    TOTAL,
    curve,
    heads,
    in_jobs,
    ranked,
    triggers,
)

CAPTION = "Model classifier, data pairs.jsonl, n = 1,234, rtol 0.01, job 5, result 0123456789ab."


@cache
def schema() -> Any:
    """The checker of Vega-Lite specifications."""
    folder = Path(altair.__file__).parent / "vegalite/v6/schema"
    found = json.loads((folder / "vega-lite-schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(found)


@pytest.fixture(params=FIGURES)
def figure(request: pytest.FixtureRequest) -> VegaFigure:
    return FIGURES[request.param]()


def test_specifications_are_vega_lite(figure: VegaFigure) -> None:
    for spec in (figure.spec, figure.themed(DARK)):
        schema().validate(json.loads(json.dumps(spec, allow_nan=False)))
    assert figure.spec["$schema"] == altair.Chart("x").mark_bar().to_dict()["$schema"].replace(
        altair.SCHEMA_VERSION, "v6"
    )
    with pytest.raises(jsonschema.ValidationError):
        schema().validate({**figure.spec, "data": {"values": "no"}, "mark": "none"})


@pytest.mark.parametrize("name", EMPTY)
def test_figures_of_nothing(name: str) -> None:
    figure = EMPTY[name]()
    schema().validate(figure.spec)
    assert figure.rows == []
    assert figure.csv().count("\r\n") == 1
    assert figure.svg().startswith("<svg")


def test_altair_takes_specifications(figure: VegaFigure) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about a newer schema
        chart = altair.Chart.from_dict(figure.spec)
    assert chart.to_dict()["description"] == figure.description


def test_the_table_and_the_data_are_the_same(figure: VegaFigure) -> None:
    rows = list(csv.DictReader(io.StringIO(figure.csv(), newline="")))
    values = figure.spec["data"]["values"]
    assert rows
    assert len(rows) == len(values)
    for row, value in zip(rows, values, strict=True):
        assert tuple(row) == figure.columns
        for name, text in row.items():
            assert text == ("" if value[name] is None else str(value[name]))
    assert figure.csv().count("\r\n") >= len(rows) + 1


def test_heat_maps_have_the_numbers_of_heads() -> None:
    figure = heat_map(heads(), TOTAL)
    given = {(one["layer"], one["head"]): one for one in heads()}
    for row in figure.rows:
        one = given[row["layer"], row["head"]]
        assert (row["mean_total"], row["rank"]) == (one["mean_total"], one["rank"])
        assert row["mean_total_high"] == one["mean_total_high"]
    names = [row["name"] for row in figure.rows]
    assert names[0] == "cross L0 H0"
    assert names[-1] == "L1 H2"
    colour = figure.spec["encoding"]["color"]
    assert colour["scale"]["domain"] == [-1.375, 1.375]
    assert colour["scale"]["domainMid"] == 0
    assert colour["legend"]["title"] == "Total, probability"
    unsigned = heat_map(heads(1), TOTAL).spec["encoding"]["color"]["scale"]
    assert unsigned["domain"] == [0, 1.375]
    assert "domainMid" not in unsigned


def test_missing_values_stay_missing() -> None:
    rows = [*heads(), {"layer": 2, "head": 0, "mean_total": None}]
    figure = heat_map(rows, TOTAL)
    assert figure.rows[-1]["mean_total"] is None
    assert figure.csv().splitlines()[-1] == "L2 H0,encoder,2,0,,,,"
    assert figure.svg()


def test_bars_share_one_scale() -> None:
    figure = trigger_results(triggers(), "entailment")
    layers = figure.spec["layer"]
    assert [layer["encoding"]["x"]["scale"]["domain"] for layer in layers] == [[0, 1], [0, 1]]
    vega = json.loads(json.dumps(_compiled(figure)))
    assert [scale["domain"] for scale in vega["scales"] if scale["name"] == "x"] == [[0, 1]]
    # Two triggers of the same words are two rows.
    assert figure.spec["encoding"]["y"]["sort"] == [4, 2, 3]
    assert 'not "never" &lt;b&gt;' in figure.svg()


def test_triggers_of_jobs_share_one_scale_in_a_panel_for_each_kind() -> None:
    figure = triggers_of_jobs(in_jobs(triggers(), "job"), "entailment")
    assert figure.chart["facet"]["sort"] == ["mined", "random control"]
    layers = figure.chart["spec"]["layer"]
    assert [layer["encoding"]["x"]["scale"]["domain"] for layer in layers] == [[0, 1], [0, 1]]
    assert [row["success"] for row in figure.rows] == [
        *(0.9375, 0.8125, 0.125),
        *(0.9375 / 2, 0.8125 / 2, 0.125 / 2),
    ]
    assert _compiled(figure)["marks"]


RATE = Measure(name="rate", title="Rate")


def test_the_data_of_a_history_are_the_samples_alone() -> None:
    rows = [{"at": 0, "rate": 1.5}, {"at": 60, "rate": None}, {"at": 240, "rate": 2.0}]
    figure = history(rows, RATE, 60)
    assert figure.csv().splitlines() == [
        "at,rate",
        "1970-01-01T00:00:00+00:00,1.5",
        "1970-01-01T00:04:00+00:00,2.0",
    ]
    assert figure.spec["data"]["values"] == figure.rows
    assert figure.caption.startswith("Rate over time. Steps of 1 min;")
    assert figure.description == "Rate, in 2 steps of time. The largest value is 2."


def _stairs(figure: VegaFigure) -> list[str]:
    """The outline of every line of a history."""
    found = re.findall(r'<path[^>]*"line mark" d="([^"]*)"', figure.svg())
    return [re.sub(r"\.\d+", "", one) for one in found]


def test_a_gap_in_a_history_ends_its_line_and_the_last_step_lasts() -> None:
    rows = [{"at": 0, "rate": 1.0}, {"at": 240, "rate": 2.0}, {"at": 300, "rate": 1.0}]
    first, second = "M0,80L93,80L93,80", "M373,0L466,0L466,80L560,80L560,80"
    assert _stairs(history(rows, RATE, 60)) == [first + second]


def test_queues_have_a_line_each() -> None:
    rows = [{"queue": one, "at": at, "rate": 1.0} for one in ("a", "b") for at in (0, 60)]
    figure = history(rows, RATE, 60)
    assert _stairs(figure) == ["M0,0L280,0L280,0L560,0L560,0"] * 2
    assert figure.columns == ("queue", "at", "rate")
    assert figure.title == "Rate over time, by queue"


def test_labels_of_a_matrix_may_hold_any_character() -> None:
    """Some end a string of the language that looks them up."""
    figure = head_matrix([[1.0]], [[0.5]], ["a\u2028b'\"\\"], "L0 H0")
    assert figure.svg().startswith("<svg")


def test_lines_differ_by_dash_and_symbol() -> None:
    layers = pruning_curves(curve(), ACCURACY, REMOVED).spec["layer"]
    dashes = layers[3]["encoding"]["strokeDash"]["scale"]
    assert len({tuple(dash) for dash in dashes["range"]}) == len(dashes["domain"]) == 3
    symbols = layers[4]["encoding"]["shape"]["scale"]
    assert symbols["domain"] == ["AttAttr", "Taylor"]
    assert len(set(symbols["range"])) == len(symbols["range"])
    ranked = [row for row in curve() if row["direction"] != "any"]
    assert "Random" not in pruning_curves(ranked, ACCURACY, REMOVED).caption
    assert "Random" in pruning_curves(curve(), ACCURACY, REMOVED).caption


def test_heads_that_are_first_somewhere_stand_out() -> None:
    figure = bump(ranked())
    tops = {row["name"] for row in figure.spec["data"]["values"] if row["top"]}
    assert tops == {f"L0 H{head}" for head in (*range(5), *range(7, 12))}


def test_captions_say_where_numbers_come_from(figure: VegaFigure) -> None:
    assert figure.caption.startswith(f"{figure.title}. ")
    assert CAPTION in figure.caption
    assert figure.spec["usermeta"]["headwise"]["caption"] == figure.caption
    assert VegaFigure.from_spec(json.loads(figure.json())) == figure
    assert figure.description


def test_unknown_parts_of_a_caption_are_left_out() -> None:
    assert str(SOURCE) == CAPTION[0].lower() + CAPTION[1:-1]
    assert heat_map(heads(), TOTAL).caption == "Total by layer and head. Colour: mean of the sum."


def test_pictures(figure: VegaFigure) -> None:
    svg = figure.svg()
    assert svg.startswith("<svg")
    assert "http://" not in svg.replace("http://www.w3.org/", "")
    png = figure.png()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert 300 < width < 4000
    assert 150 < height < 4000
    pdf = figure.pdf()
    assert pdf.startswith(b"%PDF-")
    assert b"/Font" in pdf  # text stays text


def test_the_words_of_a_picture() -> None:
    svg = FIGURES["curves"]().svg()
    words = ("Accuracy", "Heads removed", "least important first", "Taylor", "80\u202f%")
    assert [word for word in words if f">{word}<" not in svg] == []


def test_files(figure: VegaFigure, tmp_path: Path) -> None:
    for form, start in (("svg", b"<svg"), ("PNG", b"\x89PNG"), ("pdf", b"%PDF")):
        path = tmp_path / f"figure.{form}"
        figure.save(path)
        assert path.read_bytes().startswith(start)
    figure.save(tmp_path / "figure.csv")
    assert (tmp_path / "figure.csv").read_bytes().decode() == figure.csv()
    figure.save(tmp_path / "figure.json")
    assert json.loads((tmp_path / "figure.json").read_text(encoding="utf-8")) == figure.spec
    with pytest.raises(OptionError, match="'gif'"):
        figure.save(tmp_path / "figure.gif")
    with pytest.raises(OptionError, match="svg, png, pdf, csv, json"):
        figure.save(tmp_path / "figure")


def test_notebooks_show_the_figure_and_its_caption(
    figure: VegaFigure, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = figure._repr_mimebundle_()
    assert bundle["application/vnd.vegalite.v6+json"] == figure.spec
    assert "<figure><svg" in bundle["text/html"]
    assert CAPTION in bundle["text/html"]
    monkeypatch.setattr(rendering, "available", lambda _drawing, _form: False)
    table = figure._repr_html_()
    assert table.count("<tr>") == len(figure.rows) + 1
    assert "<svg" not in table


def test_themes_differ_in_colours_alone(figure: VegaFigure) -> None:
    light, dark = figure.themed(LIGHT), figure.themed(DARK)
    assert light.pop("config") != dark.pop("config")
    assert light == dark
    assert "#" not in json.dumps({key: light[key] for key in light if key != "$schema"})


def test_a_broken_specification_is_an_error() -> None:
    with pytest.raises(Exception, match="cannot be drawn") as caught:
        rendering.render({"mark": "bar", "data": {"url": "https://example.org/rows.csv"}}, "svg")
    assert "\n" not in str(caught.value)


def test_figures_need_no_libraries() -> None:
    code = (
        "import sys, headwise.figures as f\n"
        "large = ('torch', 'numpy', 'altair', 'vl_convert')\n"
        "f.heat_map([{'layer': 0, 'head': 0, 'a': 1.0}], f.Measure(name='a', title='A')).spec\n"
        "print([name for name in large if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def _compiled(figure: VegaFigure) -> Any:
    import vl_convert

    return vl_convert.vegalite_to_vega(figure.spec)


def test_a_measure_names_its_unit() -> None:
    assert Measure(name="a", title="A", unit="logit").axis == "A, logit"
    assert Measure(name="a", title="A").axis == "A"


@pytest.mark.parametrize("spec", [{}, {"usermeta": 3}, {"usermeta": {"headwise": {}}, "data": {}}])
def test_other_specifications_are_no_figures(spec: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="not one that a figure wrote"):
        VegaFigure.from_spec(spec)


def test_maps_of_several_jobs_share_one_scale() -> None:
    spec = FIGURES["heat maps"]().spec
    assert spec["facet"]["sort"] == ["job 1", "job 2"]
    assert spec["spec"]["encoding"]["color"]["scale"]["domain"] == [-1.375, 1.375]
    (scale,) = [
        one for one in _compiled(FIGURES["heat maps"]())["scales"] if one["name"] == "color"
    ]
    assert scale["domain"] == [-1.375, 1.375]
    assert [row["mean_total"] for row in FIGURES["heat maps"]().rows[6:]] == [
        one["mean_total"] / 2 for one in heads()
    ]


def test_curves_of_jobs_differ_by_dash_and_random_orders_are_in_both_panels() -> None:
    figure = FIGURES["curves of jobs"]()
    assert figure.spec["facet"]["sort"] == ["least important first", "most important first"]
    lines = [layer for layer in figure.spec["spec"]["layer"] if layer["mark"] == "line"]
    assert [layer["encoding"]["color"]["field"] for layer in lines] == ["ranking"]
    dash = lines[0]["encoding"]["strokeDash"]
    assert dash["scale"]["domain"] == ["job 1", "job 2"]
    assert len({tuple(one) for one in dash["scale"]["range"]}) == 2
    assert len(figure.rows) == 2 * len(curve())
    svg = figure.svg()
    # Of each job a band of random orders in each of the two panels.
    assert svg.count('aria-roledescription="area mark"') == 4


def test_a_matrix_is_two_maps_of_the_same_cells() -> None:
    figure = FIGURES["matrix"]()
    maps = figure.chart["hconcat"]
    assert [one["encoding"]["color"]["field"] for one in maps] == ["attention", "attribution"]
    # Attention begins at zero; attribution has one colour for each sign.
    scales = [one["encoding"]["color"]["scale"]["domain"] for one in maps]
    assert scales == [[0, 0.75], [-0.25, 0.25]]
    assert [one["encoding"]["color"]["legend"]["title"] for one in maps] == [
        "Attention, probability",
        "Attribution, probability",
    ]
    assert [(row["query"], row["key"], row["attribution"]) for row in figure.rows] == [
        (0, 0, 0.125),
        (0, 1, -0.25),
        (1, 0, 0.0),
        (1, 1, 0.0625),
    ]
    assert "The largest attribution, 0.125, is cat reading cat." in figure.description
    # Tokens may hold anything, also what ends a string of an expression.
    assert html.unescape(figure.svg()).count('a "quoted" </scr') == 4


@pytest.mark.parametrize(
    ("counts", "marks"), [([1, 2], [0, 1, 2]), ([40, 7], [0, 8, 16, 24, 32, 40]), ([], [0])]
)
def test_counts_of_examples_are_whole(counts: list[int], marks: list[int]) -> None:
    rows = [{"low": n, "high": n + 1, "count": count} for n, count in enumerate(counts)]
    chart = histogram(rows, TOTAL, "Scores").chart
    assert chart["encoding"]["y"]["axis"]["values"] == marks
