"""docs/explanation/study.md and its pictures, from the numbers of ``benchmarks.study``.

The part above the page's mark is written by hand and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

MARK = "<!-- written by `python -m benchmarks.study` from here on -->"
NAMES = {
    "attattr": "AttAttr, largest cell",
    "attattr-total": "AttAttr, total",
    "taylor": "Taylor",
    "leave-one-out-loss": "leave one out, loss",
    "leave-one-out-accuracy": "leave one out, accuracy",
    "attention": "raw attention",
    "random": "random",
}
_DRAWN = ("attattr", "taylor", "leave-one-out-loss", "attention", "random")
# Colours of Okabe and Ito (2008), told apart without seeing all of them, and dashes besides.
_STYLES = (
    ("#0072b2", ""),
    ("#d55e00", "7 3"),
    ("#009e73", "2 3"),
    ("#cc79a7", "9 3 2 3"),
    ("#777777", ""),
)
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _LEGEND = 640, 360, 56, 46, 172

Result = dict[str, Any]


def write(results: Result, page: Path) -> None:
    """Write the page below its mark, and pictures into a folder beside it."""
    above = page.read_text(encoding="utf-8").partition(MARK)[0] if page.exists() else ""
    pictures = page.with_suffix("")
    pictures.mkdir(exist_ok=True)
    parts = [above + MARK]
    for name, task in results["tasks"].items():
        parts += _task(name, task, results["sizes"], pictures)
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _task(name: str, task: Result, sizes: Result, pictures: Path) -> list[str]:
    stem = name.lower().replace("-", "")
    for direction in ("least", "most"):
        title = f"{name}: accuracy, {direction} important heads removed first"
        drawing = curve(title, _lines(task["curve"], direction))
        (pictures / f"{stem}-{direction}.svg").write_text(drawing, encoding="utf-8")
    seconds = task["seconds"]
    shown = [
        f"![{name}: accuracy as more and more heads are removed, {way} important first; the "
        f"numbers are in the table]({pictures.name}/{stem}-{way}.svg)"
        for way in ("least", "most")
    ]
    return [
        f"## {name}",
        f"Importance from {sizes['importance']} examples, curves on {sizes['pruning']} others, "
        f"triggers from {sizes['mining']} training examples tried on {sizes['attack']}; rtol "
        f"{sizes['rtol']:g}, seed {sizes['seed']}; {seconds / 60:.0f} minutes.",
        "### Do the sources agree?",
        _correlations(task),
        "### Pruning",
        *shown,
        _curve_table(task["curve"], "least"),
        _curve_table(task["curve"], "most"),
        _within(task["within_layer"]),
        _chosen(task["chosen"]),
        "### Attack",
        _attack(task["attack"]),
    ]


def _correlations(task: Result) -> str:
    """Spearman above, Pearson below the diagonal."""
    sources = [ranking["source"] for ranking in task["importance"]]
    found = {(c["a"], c["b"]): c for c in task["correlation"]}
    rows = []
    for i, row in enumerate(sources):
        cells = []
        for j, column in enumerate(sources):
            pair = found.get((row, column)) or found.get((column, row))
            kind = "spearman" if i < j else "pearson"
            cells.append("" if pair is None else f"{pair[kind]:.2f}")
        rows.append([NAMES[row], *cells])
    note = "Correlation over all heads: Spearman above the diagonal, Pearson below."
    return f"{note}\n\n{_table(['', *(NAMES[source] for source in sources)], rows)}"


def _of(points: Sequence[Result], source: str, direction: str) -> dict[int, list[Result]]:
    """Points by number of heads removed; several each where there are several draws."""
    found: dict[int, list[Result]] = {}
    for point in points:
        if (point["source"], point["direction"]) == (source, direction):
            found.setdefault(point["removed"], []).append(point)
    return dict(sorted(found.items()))


def _lines(points: Sequence[Result], direction: str) -> dict[str, list[tuple[float, list[float]]]]:
    """By name: share removed, and accuracy with the ends of its interval or of the draws."""
    lines: dict[str, list[tuple[float, list[float]]]] = {}
    for source in _DRAWN:
        for same in _of(points, source, direction).values():
            values = [point["accuracy"][0] for point in same]
            spread = [float(np.mean(values)), min(values), max(values)]
            shown = spread if len(same) > 1 else same[0]["accuracy"]
            lines.setdefault(NAMES[source], []).append((same[0]["share"], shown))
    return lines


def _curve_table(points: Sequence[Result], direction: str) -> str:
    sources = [source for source in NAMES if _of(points, source, direction)]
    by_source = {source: list(_of(points, source, direction).values()) for source in sources}
    rows = []
    for place, same in enumerate(by_source[sources[0]]):
        share, removed = same[0]["share"], same[0]["removed"]
        row = [f"{share:.0%} ({removed})"]
        row += [_accuracy(by_source[source][place]) for source in sources]
        rows.append(row)
    note = (
        f"Accuracy with the {direction} important heads removed first, with 95 % Wilson intervals; "
        "random: mean and range of the draws."
    )
    return f"{note}\n\n{_table(['removed', *(NAMES[s] for s in sources)], rows)}"


def _within(points: Sequence[Result]) -> str:
    sources = [source for source in NAMES if _of(points, source, "most")]
    header = ["removed", *(f"{NAMES[s]}, {way}" for s in sources for way in ("top", "bottom"))]
    found = [_of(points, s, way) for s in sources for way in ("most", "least")]
    rows = [
        [f"{removed} in total", *(_accuracy(column[removed]) for column in found)]
        for removed in found[0]
    ]
    note = (
        "The same number of heads removed from every layer: its most important (top) or least "
        "important (bottom) ones."
    )
    return f"{note}\n\n{_table(header, rows)}"


def _accuracy(same: Sequence[Result]) -> str:
    values = [point["accuracy"][0] for point in same]
    if len(same) > 1:
        return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
    value, low, high = same[0]["accuracy"]
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _chosen(chosen: Result) -> str:
    whole, pruned = (
        f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in chosen["accuracy"]
    )
    kept = "holds" if chosen["verified"] else "does not hold"
    return (
        f"{chosen['removed']} of {chosen['heads']} heads, least important by AttAttr first, can be "
        "removed for a loss of at most two points of accuracy. On held-out examples the accuracy "
        f"is {pruned}, against {whole} for the whole model: the bound {kept} there."
    )


def _attack(rows: Sequence[Result]) -> str:
    table = [
        [
            row["label"],
            row["segments"],
            row["kind"],
            f"`{row['trigger']}`",
            str(row["n"]),
            *(_interval(row[name]) for name in ("before", "after", "success")),
            f"{row['mean_success']:.0%} of {row['triggers']}",
        ]
        for row in sorted(rows, key=lambda row: (row["label"], row["segments"]))
    ]
    note = (
        "The best trigger of each kind for each gold class, chosen on one half of the texts and "
        "evaluated on the other half. Success: of the texts predicted correctly without the "
        "trigger, the share predicted wrongly with it. The last column is the mean success of all "
        "triggers of the kind."
    )
    header = ["class", "where", "triggers by", "best", "n", "before", "after", "success", "mean"]
    return f"{note}\n\n{_table(header, table)}"


def _interval(value: Sequence[float]) -> str:
    return f"{value[0]:.1%} [{value[1]:.1%}, {value[2]:.1%}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def curve(title: str, lines: dict[str, list[tuple[float, list[float]]]]) -> str:
    """Accuracy against the share of heads removed, as SVG; bands are intervals or draws."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for tick in range(0, 101, 20):
        x, y = _at(tick / 100, 0)[0], _at(0, tick / 100)[1]
        end = _at(1, 0)[0]
        parts += [
            f'<path d="M{_LEFT} {y:.1f}H{end:.1f}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick} %</text>',
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick} %</text>',
        ]
    middle = (_LEFT + _at(1, 0)[0]) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">heads removed</text>'
    )
    for number, (name, points) in enumerate(lines.items()):
        colour, dash = _STYLES[number % len(_STYLES)]
        upper = [_at(x, high) for x, (_, _, high) in points]
        lower = [_at(x, low) for x, (_, low, _) in points]
        y = 24 + 20 * number
        x = _WIDTH - _LEGEND + 14
        parts += [
            f'<path d="{_path(upper + lower[::-1])}Z" fill="{colour}" opacity="0.12"/>',
            f'<path d="{_path([_at(x, value[0]) for x, value in points])}" fill="none" '
            f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>',
            f'<path d="M{x} {y - 4}h26" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/><text x="{x + 32}" y="{y}">{escape(name)}</text>',
        ]
    return "".join([*parts, "</svg>\n"])


def _at(x: float, y: float) -> tuple[float, float]:
    """Place of a share and an accuracy, both 0 to 1."""
    width, height = _WIDTH - _LEFT - _LEGEND, _HEIGHT - _BOTTOM - 16
    return _LEFT + x * width, 16 + (1 - y) * height


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
