"""The process that draws a figure, or makes the script that draws figures in browsers.

`webui.figures.drawing` starts it: drawing takes 150 MB, which the dashboard does not keep. It reads
one request, a JSON object, from standard input, and answers with the bytes of the picture:

    {"drawing": a specification or an SVG, "form": "svg", "png" or "pdf", "seconds": limit}
    {"bundle": a script to put at the end, "seconds": limit}
"""

from __future__ import annotations

import json
import os
import resource
import sys

from jobs.processes.limits import limit_process

MEMORY = 2 << 30
"""Bytes of data. Not of addresses, of which V8 reserves more than machines have."""


def main() -> None:
    """Answer the request on standard input and end the process."""
    request = json.load(sys.stdin.buffer)
    limit_process(
        {
            resource.RLIMIT_CPU: request["seconds"],
            resource.RLIMIT_DATA: MEMORY,
            resource.RLIMIT_FSIZE: 0,
        }
    )
    if "bundle" in request:
        import vl_convert

        drawn = vl_convert.javascript_bundle(request["bundle"]).encode()
    else:
        from headwise.figures.rendering import render

        drawn = render(request["drawing"], request["form"])
    sys.stdout.buffer.write(drawn)
    sys.stdout.buffer.flush()
    # Not sys.exit: V8 takes its time to end.
    os._exit(0)
