"""List the licences of everything that is installed: `make docs` writes docs/reference/licences.md.

What a package says of itself is read: its licence expression, else its classifiers, else the first
line of its licence field.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHON = "3.11.99"
"""The version that markers are evaluated for, so that the list is the same on every patch."""
OWN = {"headwise", "headwise-server"}
ACCELERATORS = ("cuda-", "nvidia-", "triton")
"""Packages that depend on the build of torch; NVIDIA's have a licence of its own."""
NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
}
HEAD = """# Licences

Headwise is under Apache-2.0. It is not distributed together with other packages, except in images
that are built from `docker/`; these packages are installed beside it. A test holds the list to the
licences that are allowed (`tests/tools/test_licences.py`). Builds of torch for GPUs bring libraries
of NVIDIA, under NVIDIA's own licence.
"""


def licence(name: str) -> str:
    """Return the licence of an installed package, an SPDX expression where it gives one."""
    said = metadata.metadata(name).json
    if expression := said.get("license_expression"):
        return str(expression)
    marks = [
        mark.rpartition(" :: ")[2]
        for mark in said.get("classifier", [])
        if mark.startswith("License :: OSI Approved :: ")
    ]
    if marks:
        return " OR ".join(sorted(NAMES.get(mark, mark) for mark in marks))
    field = str(said.get("license") or "unknown").strip().partition("\n")[0]
    return NAMES.get(field, field)


def needed(requirements: Iterable[str]) -> dict[str, str]:
    """Return the installed packages that requirements lead to, and their versions."""
    found: dict[str, str] = {}
    waiting = [(Requirement(one), "") for one in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        marks = {"extra": extra, "python_full_version": PYTHON}
        if requirement.marker and not requirement.marker.evaluate(marks):
            continue
        name = canonicalize_name(requirement.name)
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform, or optional
        if name in found and not requirement.extras:
            continue
        found[name] = installed.version.partition("+")[0]
        for extra_name in ("", *requirement.extras):
            waiting += [(Requirement(one), extra_name) for one in installed.requires or ()]
    return {
        name: version
        for name, version in found.items()
        if name not in OWN and not (name.startswith(ACCELERATORS) and name != "nvidia-ml-py")
    }


def requirements() -> tuple[list[str], list[str]]:
    """Return what runs need, and what development needs, of both projects."""
    library = _read("pyproject.toml")
    server = _read("cli/pyproject.toml")["project"]
    runs = [*library["project"]["dependencies"], *server["dependencies"]]
    for project in (library["project"], server):
        runs += [one for extra in project["optional-dependencies"].values() for one in extra]
    groups = library["dependency-groups"]
    development = [one for name in groups for one in groups[name] if isinstance(one, str)]
    return runs, development


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def page() -> str:
    """Return the page of all licences."""
    runs, development = requirements()
    used = needed(runs)
    others = {k: v for k, v in needed(development).items() if k not in used}
    return "\n".join([HEAD, *_table("Installed to run", used), *_table("For development", others)])


def _table(title: str, packages: dict[str, str]) -> Iterator[str]:
    yield from (f"## {title}", "", "| package | version | licence |", "| --- | --- | --- |")
    for name in sorted(packages):
        yield f"| {name} | {packages[name]} | {re.sub(r'[|]', '/', licence(name))} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(page())
