"""Style sheet, scripts and Plotly's bundle, at addresses that change with their content."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, abort, request, send_from_directory

FOLDER = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
FOREVER = "public, max-age=31536000, immutable"


def _version() -> str:
    digest = hashlib.sha256(package_version("plotly").encode())
    for path in sorted(FOLDER.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


VERSION = _version()
"""Part of every address: scripts import each other by relative names and stay of one version."""

blueprint = Blueprint("assets", __name__)


@blueprint.get("/assets/<version>/<name>")
def serve(version: str, name: str) -> Response:
    """One file. Under another version's address it is served too, but not for keeps."""
    if name == PLOTLY:
        response = _plotly()
    elif all(path.name != name for path in FOLDER.iterdir()):
        abort(404)
    else:
        response = send_from_directory(FOLDER, name)
    response.headers["Cache-Control"] = FOREVER if version == VERSION else "no-cache"
    return response


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    """Browsers ask for it unasked."""
    return send_from_directory(FOLDER, "icon.svg")


def _plotly() -> Response:
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    response = Response(_bundle(packed), mimetype="text/javascript")
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    return response


@lru_cache(maxsize=2)
def _bundle(packed: bool) -> bytes:
    # Found without importing the package, which is slow and not needed.
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        abort(404)
    folder = Path(spec.submodule_search_locations[0])
    content = (folder / "package_data" / PLOTLY).read_bytes()
    return gzip.compress(content, 6, mtime=0) if packed else content
