"""Print what an image needs, one requirement a line: `server`, and `library` for workers.

An image installs these before it gets the code, so that a change of code costs no download.
"""

import sys
import tomllib
from pathlib import Path

PROJECTS = {"library": "pyproject.toml", "server": "cli/pyproject.toml"}

for name in sys.argv[1:]:
    project = tomllib.loads(Path(PROJECTS[name]).read_text(encoding="utf-8"))["project"]
    sys.stdout.write("\n".join(project["dependencies"]) + "\n")
