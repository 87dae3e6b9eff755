"""Run the notebooks of the documentation, and write their outputs into them: `make docs`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
QUIET = {"PYTHONWARNINGS": "ignore:IProgress not found"}
"""tqdm warns that it has no widgets, which no reader needs to know."""


def run(path: Path, seconds: int = 120) -> Any:
    """Run a notebook in a process of its own; returns it with the outputs of this run.

    seconds: the longest that a cell may take

    Raises nbclient.exceptions.CellExecutionError where a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, kernel_name="python3", timeout=seconds)
    client.coalesce_streams, client.record_timing = True, False
    client.create_kernel_manager().transport = "ipc"
    client.execute(env=os.environ | QUIET)
    # The interpreter's version and the names of objects that are shown anyway would only be noise.
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "text/html" in output.get("data", {}):
                output.data.pop("text/plain", None)
    return notebook


def main() -> None:
    """Run every notebook, and keep its outputs."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(run(path), path)


if __name__ == "__main__":
    main()
