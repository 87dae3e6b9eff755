"""The colours of every picture: charts, words, arcs, trees, notebooks and downloads.

Orange raises the model's output and blue lowers it. Blue and orange stay apart with every common
colour blindness, and lines differ by dash and symbol besides.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = 10
"""Steps of the scale of words on either side of zero."""
_OPACITIES = (9, 18, 27, 36, 46, 56, 66, 77, 88, 100)


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours on one background, as #rrggbb."""

    surface: str
    text: str
    muted: str
    line: str
    raises: str
    """The background of a word that raises the output most; text is readable on it."""
    lowers: str
    diverging: tuple[str, ...]
    """From values far below zero to values far above it."""
    sequential: tuple[str, ...]
    """From zero to the largest value."""
    categories: tuple[str, ...]
    """Lines and marks."""


LIGHT = Palette(
    surface="#ffffff",
    text="#1c2026",
    muted="#59616b",
    line="#e2e2dd",
    raises="#f08a24",
    lowers="#5898f0",
    diverging=("#123f8c", "#5898f0", "#fbfaf8", "#f08a24", "#8a3a03"),
    sequential=("#fdf8f2", "#fbd3a5", "#f3983f", "#c45a0c", "#6b2a05"),
    categories=("#1f5fbf", "#c2570a", "#01a766", "#bd679c", "#5c3914", "#2b393d"),
)
"""Pages in light mode, and whatever is printed, downloaded or shown in a notebook."""
DARK = Palette(
    surface="#171b21",
    text="#e6e9ee",
    muted="#a0abb8",
    line="#2b323c",
    raises="#a34c05",
    lowers="#2159bd",
    diverging=("#8fb8ff", "#2a68d4", "#1f252d", "#ce6208", "#ffbf80"),
    sequential=("#1f252d", "#4d2f12", "#9a4a08", "#e07a1c", "#ffd29a"),
    categories=("#8fb2ff", "#f2a65a", "#17d397", "#a599b3", "#efdf32", "#d9ffe7"),
)


def level(value: float, scale: float) -> int:
    """The step of a value on the diverging scale, from -LEVELS to LEVELS; 0 near zero, and of NaN.

    scale: the magnitude that gets the strongest colour
    """
    if not (scale > 0 and abs(value) > 0):
        return 0
    step = min(LEVELS, round(LEVELS * abs(value) / scale))
    return step if value > 0 else -step


def opacity(step: int) -> int:
    """The opacity of a step's colour, in percent."""
    return _OPACITIES[abs(step) - 1] if step else 0


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of #rrggbb, 0 to 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def style_sheet() -> str:
    """The rules of the dashboard that colour words, arcs and bars."""
    light, dark = _variables(LIGHT), _variables(DARK)
    levels = "".join(
        f".{sign}{step} {{ background: rgb(var(--{name}) / {opacity}%); "
        "print-color-adjust: exact; }\n"
        for sign, name in (("p", "pos"), ("n", "neg"))
        for step, opacity in enumerate(_OPACITIES, 1)
    )
    return (
        f":root {{ {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f".z {{ background: transparent; }}\n{levels}"
    )


def _variables(palette: Palette) -> str:
    pairs = (("pos", palette.raises), ("neg", palette.lowers))
    return " ".join(f"--{name}: {' '.join(map(str, channels(colour)))};" for name, colour in pairs)
