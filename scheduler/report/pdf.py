"""A report as PDF, made of its HTML by WeasyPrint in a process within limits of time and memory."""

from __future__ import annotations

import json
import logging
import subprocess
from importlib.util import find_spec

from jobs.errors import InputError, UnavailableError, refuse
from jobs.processes.limited_process import start
from scheduler.report.pdf_process import NO_LIBRARY

log = logging.getLogger(__name__)

SECONDS = 60
"""Time for a PDF; it takes a few on an idle machine."""

_PROCESS = "scheduler.report.pdf_process"


def available() -> bool:
    """True if WeasyPrint is installed; the libraries that it needs may be missing all the same."""
    return find_spec("weasyprint") is not None


def to_pdf(html: str) -> bytes:
    """A report as PDF.

    Raises InputError where WeasyPrint or a library of it is missing, UnavailableError if it fails.
    """
    if not available():
        raise _lacks("needs WeasyPrint, which is not installed", "pip install -e './cli[report]'")
    request = json.dumps({"html": html, "seconds": SECONDS}).encode()
    with start(_PROCESS, stderr=subprocess.PIPE) as child:
        try:
            made, said = child.communicate(request, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            message = f"The PDF took longer than {SECONDS} s. Write .html, and print it."
            raise UnavailableError(message, what="PDF") from None
        finally:
            child.kill()
    if child.returncode == NO_LIBRARY:
        raise _lacks(
            "needs the library Pango, which is not installed",
            "sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0",
        )
    if child.returncode:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        log.error("no PDF: status %s: %s", child.returncode, last)
        message = (
            f"The PDF could not be made{f': {last}' if last else ''}. Write .html, and print it."
        )
        raise UnavailableError(message, what="PDF")
    return made


def _lacks(message: str, command: str) -> InputError:
    return refuse("pdf", None, message, f"Install it ({command}), or write .html.")
