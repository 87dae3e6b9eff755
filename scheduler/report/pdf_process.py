"""The process that makes a PDF of a report: `scheduler.report.pdf` starts it.

It reads one request, a JSON object, from standard input, `{"html": the report, "seconds": limit}`,
and answers with the bytes of the PDF, or ends with NO_LIBRARY. It fetches nothing.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from contextlib import redirect_stdout
from typing import Any

from jobs.processes.limits import limit_process

MEMORY = 1 << 30
"""Bytes of data."""
NO_LIBRARY = 3
"""Exit status without a library that WeasyPrint loads."""


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
    try:
        # It prints advice where a library is missing.
        with redirect_stdout(io.StringIO()):
            import weasyprint
    except OSError:
        sys.exit(NO_LIBRARY)
    document = weasyprint.HTML(string=request["html"], url_fetcher=_fetcher())
    sys.stdout.buffer.write(document.write_pdf(pdf_tags=True))


def _fetcher() -> Any:
    """The fetcher that knows `data:` addresses alone."""
    from weasyprint.urls import URLFetcher

    return URLFetcher(allowed_protocols=("data",), allow_redirects=False)
