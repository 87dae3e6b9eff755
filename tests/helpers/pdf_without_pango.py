"""The process that makes PDFs, on a machine without the libraries that WeasyPrint loads."""

from __future__ import annotations

from typing import Any

import cffi

from scheduler.report import pdf_process


def main() -> None:
    """Answer the request on standard input."""
    cffi.FFI.dlopen = _missing
    pdf_process.main()


def _missing(_ffi: Any, name: str, _flags: int = 0) -> Any:
    raise OSError(f"cannot load library {name!r}")
