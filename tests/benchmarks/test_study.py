"""The page of the study: numbers to tables and pictures; what is written by hand stays."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks import study_page


def point(source, draw, direction, removed, accuracy):
    return {
        "source": source,
        "draw": draw,
        "direction": direction,
        "removed": removed,
        "share": removed / 4,
        "accuracy": [accuracy, accuracy - 0.1, accuracy + 0.1],
    }


@pytest.fixture
def results():
    curve = [
        point(source, draw, direction, removed, 0.9 - 0.1 * removed - 0.05 * draw)
        for source, draws in (("attattr", 1), ("random", 2))
        for draw in range(draws)
        for direction in ("least", "most")
        for removed in (0, 2, 4)
    ]
    attack = {
        "kind": "random",
        "segments": "both",
        "label": "no",
        "triggers": 7,
        "n": 12,
        "trigger": "some <b>",
        **{key: [0.5, 0.25, 0.75] for key in ("before", "after", "success")},
        "mean_success": 0.125,
    }
    task = {
        "labels": ["no", "yes"],
        "importance": [{"source": "attattr"}, {"source": "taylor"}],
        "correlation": [{"a": "taylor", "b": "attattr", "pearson": 0.25, "spearman": -0.5, "n": 4}],
        "curve": curve,
        "within_layer": curve,
        "chosen": {
            "removed": 2,
            "heads": 4,
            "verified": False,
            "accuracy": [[0.9, 0.8, 1.0], [0.7, 0.6, 0.8]],
        },
        "attack": [attack],
        "seconds": 90,
    }
    sizes = {"importance": 3, "pruning": 4, "mining": 5, "attack": 6, "rtol": 0.01, "seed": 0}
    return {"sizes": sizes, "tasks": {"A-B": task}}


def test_page(results, tmp_path):
    page = tmp_path / "study.md"
    page.write_text(f"# By hand\n\n{study_page.MARK}\n\nfrom before")
    study_page.write(results, page)
    text = page.read_text()
    assert text.startswith("# By hand\n\n" + study_page.MARK)
    assert "from before" not in text
    assert "| AttAttr, largest cell |  | -0.50 |\n| Taylor | 0.25 |  |" in text
    assert "| 50% (2) | 0.700 [0.600, 0.800] | 0.675 (0.650 to 0.700) |" in text
    assert "2 of 4 heads, least important by AttAttr first, can be removed" in text
    assert "0.700 [0.600, 0.800], against 0.900" in text
    assert "does not hold" in text
    assert "| 12 | 50.0% [25.0%, 75.0%] |" in text
    assert "12% of 7" in text
    for direction in ("least", "most"):
        assert f"study/ab-{direction}.svg" in text
        root = ElementTree.parse(tmp_path / f"study/ab-{direction}.svg").getroot()
        assert direction in (root[0].text or "")


def test_a_curve_falls_to_the_right():
    drawing = study_page.curve("a < b", {"x & y": [(0.0, [1.0, 1.0, 1.0]), (1.0, [0.0, 0.0, 0.0])]})
    root = ElementTree.fromstring(drawing)
    line = next(path for path in root if path.get("stroke-width") == "2")
    (x0, y0), (x1, y1) = [p.split() for p in (line.get("d") or "")[1:].split("L")]
    assert float(x0) < float(x1)
    assert float(y0) < float(y1)
    assert "x & y" in "".join(root.itertext())
