"""Pictures of Vega-Lite specifications and of SVG by vl-convert: offline, without a browser.

The first picture of a process takes about a second and 150 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from headwise.errors import FigureError, first_line

FORMS = ("svg", "png", "pdf")
PIXELS_PER_INCH = 200


Drawing = Mapping[str, Any] | str
"""The source of a picture: a Vega-Lite specification, or an SVG that is complete."""


def is_drawn(drawing: Drawing, form: str) -> bool:
    """True where nothing needs to be drawn: an SVG is asked for, and there is one."""
    return isinstance(drawing, str) and form == "svg"


def available(drawing: Drawing, form: str) -> bool:
    """True where a picture can be drawn: vl-convert is installed, or not needed."""
    return is_drawn(drawing, form) or find_spec("vl_convert") is not None


def render(drawing: Drawing, form: str) -> bytes:
    """Draw as `svg`, `png` or `pdf`. Nothing is loaded from elsewhere. Raises FigureError."""
    if is_drawn(drawing, form):
        return str(drawing).encode()
    try:
        return _draw(drawing, form)
    except ImportError:
        raise FigureError(
            "pictures are drawn by vl-convert: pip install 'headwise[figures]'"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise FigureError(f"the figure cannot be drawn: {first_line(error)}") from None


def _draw(drawing: Drawing, form: str) -> bytes:
    import vl_convert

    if isinstance(drawing, str):
        if form == "png":
            return bytes(vl_convert.svg_to_png(drawing, ppi=PIXELS_PER_INCH))
        return bytes(vl_convert.svg_to_pdf(drawing))
    spec = dict(drawing)
    options: dict[str, Any] = {"allowed_base_urls": []}
    if form == "png":
        return bytes(vl_convert.vegalite_to_png(spec, ppi=PIXELS_PER_INCH, **options))
    if form == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec, **options))
    return str(vl_convert.vegalite_to_svg(spec, **options)).encode()
