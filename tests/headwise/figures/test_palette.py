"""Colours: readable, apart from each other for everybody, and the same everywhere."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from headwise.figures.palette import DARK, LEVELS, LIGHT, Palette, channels, style_sheet

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
PALETTES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
SEEN = pytest.mark.parametrize("blindness", BLINDNESS)


def linear(colour: str) -> np.ndarray:
    """Linear RGB of sRGB."""
    part = np.array(channels(colour)) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of contrast."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted(float(weights @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(colour: str, blindness: str) -> np.ndarray:
    """CIELAB of a colour as somebody sees it."""
    seen = np.clip(BLINDNESS[blindness] @ linear(colour), 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(np.maximum(to_xyz @ seen / [0.9505, 1.0, 1.089], 1e-9))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(one: str, other: str, blindness: str) -> float:
    """The distance of two colours; about 2 can just be told apart."""
    return float(np.linalg.norm(lab(one, blindness) - lab(other, blindness)))


@PALETTES
def test_text_is_readable(palette: Palette) -> None:
    assert contrast(palette.text, palette.surface) > 12
    assert contrast(palette.muted, palette.surface) > 4.5
    for background in (palette.raises, palette.lowers):
        assert contrast(palette.text, background) > 4.5, background


@PALETTES
def test_lines_stand_out(palette: Palette) -> None:
    for colour in palette.categories:
        assert contrast(colour, palette.surface) > 3, colour


@PALETTES
@SEEN
def test_signs_are_apart_for_everybody(palette: Palette, blindness: str) -> None:
    low, lower, _, higher, high = palette.diverging
    assert apart(palette.raises, palette.lowers, blindness) > 40
    assert apart(lower, higher, blindness) > 40
    assert apart(low, high, blindness) > 25


@PALETTES
@SEEN
def test_lines_are_apart_for_everybody(palette: Palette, blindness: str) -> None:
    for one, other in itertools.combinations(palette.categories, 2):
        assert apart(one, other, blindness) > 20, (one, other)


@PALETTES
@SEEN
def test_scales_go_one_way(palette: Palette, blindness: str) -> None:
    """Lightness falls, or rises, from the middle to both ends."""
    for scale in (palette.sequential, palette.diverging[2:], palette.diverging[2::-1]):
        lightness = [float(lab(colour, blindness)[0]) for colour in scale]
        steps = np.diff(lightness)
        assert (steps > 3).all() or (steps < -3).all(), lightness


def test_the_dashboard_has_the_same_colours() -> None:
    sheet = style_sheet()
    for palette in (LIGHT, DARK):
        assert f"--pos: {' '.join(map(str, channels(palette.raises)))};" in sheet
        assert f"--neg: {' '.join(map(str, channels(palette.lowers)))};" in sheet
    for level in range(1, LEVELS + 1):
        assert sheet.count(f".p{level} {{") == sheet.count(f".n{level} {{") == 1
    assert math.isclose(contrast("#000000", "#ffffff"), 21)
