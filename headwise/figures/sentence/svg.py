"""Parts of SVG that words, arcs and trees have in common."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape

from headwise.figures.palette import LEVELS, LIGHT, level, opacity
from headwise.figures.sentence.layout import ASCENT, DESCENT, SIZE, SMALL, Box
from headwise.figures.theme import FONT

MARGIN = 8
_MONOSPACED = "Liberation Mono, Courier New, monospace"
_FORBIDDEN = re.compile("[^ -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f]")
_LEGEND_STEP, _LEGEND_HEIGHT = 9, 12


def document(
    kind: str,
    *,
    title: str,
    description: str,
    size: tuple[float, float],
    body: Sequence[str],
    role: str = "img",
) -> str:
    """A complete SVG with a white page, of which a style sheet may take the colours.

    kind: its class; role: `group` where its parts are read one by one
    """
    width, height = (math.ceil(one) for one in size)
    name, about = safe(title), safe(description)
    content = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="drawn {kind}" role="{role}"'
        f' viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="{FONT}" font-size="{SIZE}" fill="{LIGHT.text}" aria-label="{name}">\n'
        f"<title>{name}</title>\n<desc>{about}</desc>\n"
        f'<rect class="drawn-page" width="100%" height="100%" fill="{LIGHT.surface}"/>\n'
        f"{content}\n</svg>\n"
    )


def word_text(box: Box, *, halo: bool = False, on_colour: bool = False) -> str:
    """The letters of a word, exactly as wide as they were measured.

    halo: drawn over lines
    on_colour: drawn on a coloured ground, where grey letters would be hard to read
    """
    marks = ""
    if box.word.special:
        name, fill = ("", "") if on_colour else (" quiet", f' fill="{LIGHT.muted}"')
        marks = f' class="separator{name}" font-family="{_MONOSPACED}" font-size="{SMALL}"{fill}'
    if box.backwards:
        marks += ' direction="rtl"'
    attributes = (
        f'x="{box.middle:.1f}" y="{box.base:.1f}" text-anchor="middle"{marks}'
        f' textLength="{box.text_width:.1f}" lengthAdjust="spacingAndGlyphs"'
    )
    return (outline(attributes, box.text) if halo else "") + letters(attributes, box.text)


def letters(attributes: str, text: str) -> str:
    """A text with its attributes."""
    return f"<text {attributes}>{safe(text)}</text>"


def outline(attributes: str, text: str) -> str:
    """The wide outline, in the colour of the page, that keeps a text readable over lines.

    An element of its own below the letters: not every renderer knows `paint-order`.
    """
    stroke = f'stroke="{LIGHT.surface}" stroke-width="3" stroke-linejoin="round"'
    return letters(f'{attributes} {stroke} aria-hidden="true"', text)


def word_ground(box: Box, value: float, scale: float) -> str:
    """The coloured ground of a word; nothing for a value near zero."""
    step = level(value, scale)
    if not step:
        return ""
    return (
        f'<rect x="{box.left:.1f}" y="{box.top:.1f}" width="{box.width:.1f}"'
        f' height="{ASCENT + DESCENT}" rx="3" {coloured(value, "fill")}'
        f' fill-opacity="{opacity(step) / 100:g}"/>'
    )


def coloured(value: float, paint: str) -> str:
    """The class and the colour of the sign of a value; paint: `fill` or `stroke`."""
    name, colour = ("raises", LIGHT.raises) if value >= 0 else ("lowers", LIGHT.lowers)
    return f'class="{name}-{paint}" {paint}="{colour}"'


def legend(scale: float, left: float, top: float) -> str:
    """The scale of colours with the values of its ends."""
    steps = range(-LEVELS, LEVELS + 1)
    ends = (signed(-scale), signed(scale))
    size, y = 11, top + _LEGEND_HEIGHT - 2
    start = left + legend_margin(ends[0])
    bars = "".join(
        f'<rect x="{start + place * _LEGEND_STEP:.1f}" y="{top:.1f}" width="{_LEGEND_STEP}"'
        f' height="{_LEGEND_HEIGHT}" {coloured(step, "fill")}'
        f' fill-opacity="{opacity(step) / 100:g}"/>'
        for place, step in enumerate(steps)
        if step
    )
    stop = start + len(steps) * _LEGEND_STEP
    quiet = f'class="quiet" fill="{LIGHT.muted}" font-size="{size}"'
    return (
        f'<g class="drawn-scale">{bars}'
        f'<text x="{start - 5:.1f}" y="{y:.1f}" text-anchor="end" {quiet}>{ends[0]}</text>'
        f'<text x="{stop + 5:.1f}" y="{y:.1f}" {quiet}>{ends[1]}</text></g>'
    )


def legend_margin(text: str) -> float:
    """Room for the number at an end of the scale."""
    return 7.0 * len(text)


def legend_width(scale: float) -> float:
    """Pixels that the scale takes."""
    return (2 * LEVELS + 1) * _LEGEND_STEP + 2 * legend_margin(signed(scale))


def signed(value: float) -> str:
    """A value with its sign and three digits."""
    if math.isnan(value):
        return "–"
    return "0" if value == 0 else f"{value:+.3g}".replace("-", "−")


def safe(text: str) -> str:
    """Escape text, and replace the characters that XML does not allow."""
    return escape(_FORBIDDEN.sub("\ufffd", re.sub(r"\s", " ", text)))
