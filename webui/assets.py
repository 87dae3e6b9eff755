"""Style sheets, scripts and the script that draws figures, at addresses that change with them."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from functools import lru_cache
from importlib.metadata import version as package_version
from pathlib import Path

from flask import Blueprint, Response, abort, request

from headwise.figures.palette import DARK, LIGHT, style_sheet
from headwise.figures.theme import config
from webui.figures import drawing

FOLDER = Path(__file__).parent / "static"
VEGA = "vega.js"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"


def _themes() -> str:
    themes = {"LIGHT": config(LIGHT), "DARK": config(DARK)}
    return "".join(f"export const {name} = {json.dumps(one)};\n" for name, one in themes.items())


GENERATED = {"palette.css": style_sheet, "themes.js": _themes}
"""Files that are written from the palette."""
_ENDING = "window.vegaEmbed = vegaEmbed;"


def _version() -> str:
    digest = hashlib.sha256(package_version("vl-convert-python").encode())
    for path in sorted(FOLDER.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    for name, write in GENERATED.items():
        digest.update(name.encode() + write().encode())
    return digest.hexdigest()[:12]


VERSION = _version()
"""Part of every address: scripts import each other by relative names and stay of one version."""

blueprint = Blueprint("assets", __name__)


@blueprint.get("/assets/<version>/<name>")
def serve(version: str, name: str) -> Response:
    """One file. Under another version's address it is served too, but not for keeps."""
    if name == VEGA:
        response = _vega()
    elif name in GENERATED:
        response = _text(name, GENERATED[name]())
    elif all(path.name != name for path in FOLDER.iterdir()):
        abort(404)
    else:
        response = _file(name)
    response.headers["Cache-Control"] = FOREVER if version == VERSION else "no-cache"
    return response


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    """Browsers ask for it unasked."""
    return _file("icon.svg")


def _file(name: str) -> Response:
    response = _text(name, (FOLDER / name).read_bytes())
    response.add_etag()
    response.make_conditional(request)
    return response


def _text(name: str, content: str | bytes) -> Response:
    return Response(content, mimetype=TYPES[Path(name).suffix])


def _vega() -> Response:
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    with _lock:
        content = _bundle()
    response = _text(VEGA, content if packed else gzip.decompress(content))
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    return response


_lock = threading.Lock()
"""Two browsers that ask at the same time start one process."""


@lru_cache(maxsize=1)
def _bundle() -> bytes:
    """Vega, Vega-Lite and Vega-Embed in one script, compressed; made once, in about a second."""
    return gzip.compress(drawing.bundle(_ENDING), 9, mtime=0)
