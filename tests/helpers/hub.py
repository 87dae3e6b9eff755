"""A model hub on this machine: one model, whose files are sent in pieces."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "org/model"


@contextmanager
def serving(
    folder: Path, cache: Path, sent: Callable[[], object] = lambda: None, piece: int = 1 << 12
) -> Iterator[None]:
    """Serve a model's folder as `org/model`, to this process alone.

    cache: folder of what is fetched
    sent: called after each piece of a file
    piece: bytes of a piece
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == f"/api/models/{NAME}/revision/main":
                self._answer(json.dumps({"id": NAME, "sha": COMMIT}).encode())
            elif path == f"/api/models/{NAME}/tree/{COMMIT}":
                files = [
                    {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": "0" * 40}
                    for one in folder.iterdir()
                ]
                self._answer(json.dumps(files).encode())
            elif path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
                self._answer((folder / path.rpartition("/")[2]).read_bytes())
            else:
                self.send_error(404)

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "HEAD":
                return
            for place in range(0, len(body), piece):
                self.wfile.write(body[place : place + piece])
                if "/resolve/" in self.path:
                    sent()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", piece)
        yield
    server.shutdown()
    server.server_close()
    thread.join()
