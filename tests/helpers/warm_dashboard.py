"""A dashboard that was made before: forks of a process that imports this serve theirs at once.

Without it, each imports and compiles every page, three seconds of a core.
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import tests.helpers.apps  # noqa: F401 - dashboards of this process share compiled templates
from jobs.settings import load_settings
from webui.app import create_app
from webui.server.serve import compile_templates

with tempfile.TemporaryDirectory() as home:
    _app = create_app(load_settings({}, home=Path(home)))
    compile_templates(_app)
    _app.extensions["headwise"].database.close()
gc.freeze()  # forks need not look at what they were given, nor copy it
