"""Pictures of figures, drawn by a short-lived process within limits of time and size."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from headwise.figures import Figure
from headwise.figures.rendering import FORMS, is_drawn
from jobs.errors import UnavailableError
from jobs.processes.limited_process import ask, end, start

log = logging.getLogger(__name__)

SECONDS = 60
"""Time for a picture; it takes one or two on an idle machine."""
MOST_BYTES = 16 << 20
"""Size of a picture."""
KEPT_BYTES = 8 << 20
"""Pictures that are kept, together: a page without scripts asks for all of its own again."""

_PROCESS = "webui.figures.drawing_process"
_kept: OrderedDict[str, bytes] = OrderedDict()
_lock = threading.Lock()


def content(figure: Figure, form: str) -> bytes:
    """A figure as a file of one of the formats. Raises UnavailableError if it cannot be drawn."""
    drawing = figure.drawing
    if form not in FORMS or is_drawn(drawing, form):
        return figure.content(form)
    request = {"drawing": drawing, "form": form}
    key = hashlib.sha256(json.dumps(request).encode()).hexdigest()
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    drawn = _answer(request)
    with _lock:
        _kept[key] = drawn
        while sum(map(len, _kept.values())) > KEPT_BYTES:
            _kept.popitem(last=False)
    return drawn


def bundle(ending: str) -> bytes:
    """The script that draws figures in browsers, with a script at its end.

    Raises UnavailableError.
    """
    return _answer({"bundle": ending})


def _answer(request: Mapping[str, Any]) -> bytes:
    child = start(_PROCESS)
    timer = threading.Timer(SECONDS, child.kill)
    timer.start()
    try:
        ask(child, {**request, "seconds": SECONDS})
        assert child.stdout is not None
        drawn = child.stdout.read(MOST_BYTES + 1)
        if len(drawn) <= MOST_BYTES and child.wait() == 0:
            return drawn
    finally:
        timer.cancel()
        end(child)
    log.error("drawing failed: status %s after %s bytes", child.returncode, len(drawn))
    message = "The figure could not be drawn; the log of the dashboard says why."
    raise UnavailableError(message, what="Figure")
