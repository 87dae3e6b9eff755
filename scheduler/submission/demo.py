"""The bundled demo: its model and data are put into the data folder when somebody asks for them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from jobs.errors import UnavailableError
from jobs.settings import Settings
from scheduler.submission.presets import DEMO, DEMO_DATA, DEMO_MODEL, presets

SECONDS = 120
"""Building the model takes a few seconds."""


def is_bundled() -> bool:
    """True in a checkout or an image, which have the demo's package."""
    return importlib.util.find_spec("demo") is not None


def demo_submission(settings: Settings) -> dict[str, object]:
    """The raw submission of the demo, once its model and data are in the data folder.

    Raises UnavailableError where they cannot be put there.
    """
    if DEMO not in presets(settings):
        _install(settings)
    return presets(settings)[DEMO]


def _install(settings: Settings) -> None:
    found = importlib.util.find_spec("demo")
    if found is None or not found.submodule_search_locations:
        raise UnavailableError("The demo is not bundled with this installation.")
    # A process of its own: the package is above this one, and imports what pages do not need.
    command = [sys.executable, "-m", "demo.model", str(settings.home / DEMO_MODEL)]
    try:
        built = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"The demo model cannot be built: {error}") from None
    if built.returncode:
        last = (built.stderr.strip() or "see the log").splitlines()[-1]
        raise UnavailableError(f"The demo model cannot be built: {last}")
    target = settings.home / DEMO_DATA
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    shutil.copyfile(Path(found.submodule_search_locations[0]) / "pairs.jsonl", partial)
    partial.replace(target)
