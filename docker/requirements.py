"""Print what the project needs, one requirement a line: the base, and the extras that are named.

An image installs these before it gets the code, so that a change of code costs no download.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
needed = list(project["dependencies"])
for extra in sys.argv[1:]:
    needed += project["optional-dependencies"][extra]
sys.stdout.write("\n".join(needed) + "\n")
