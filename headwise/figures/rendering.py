"""Pictures of Vega-Lite specifications by vl-convert: offline, without a browser.

The first picture of a process takes about a second and 150 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from headwise.errors import FigureError, first_line

FORMS = ("svg", "png", "pdf")
PIXELS_PER_INCH = 200


def available() -> bool:
    """True if vl-convert is installed."""
    return find_spec("vl_convert") is not None


def render(spec: Mapping[str, Any], form: str) -> bytes:
    """Draw a specification as `svg`, `png` or `pdf`. It loads nothing. Raises FigureError."""
    try:
        import vl_convert
    except ImportError:
        raise FigureError(
            "pictures are drawn by vl-convert: pip install 'headwise[figures]'"
        ) from None
    options: dict[str, Any] = {"allowed_base_urls": []}
    try:
        if form == "png":
            return bytes(vl_convert.vegalite_to_png(dict(spec), ppi=PIXELS_PER_INCH, **options))
        if form == "pdf":
            return bytes(vl_convert.vegalite_to_pdf(dict(spec), **options))
        return str(vl_convert.vegalite_to_svg(dict(spec), **options)).encode()
    except (RuntimeError, ValueError) as error:
        raise FigureError(f"the figure cannot be drawn: {first_line(error)}") from None
