"""Write the dependencies of the images with their hashes: `make lock`.

Files in docker/, for Python 3.11 on x86-64 and ARM: what every role needs, what each role needs
besides, and what builds the wheels. Versions are those of constraints.txt; hashes are those that
the package index gives. torch and what it brings are left out: which build an image gets is chosen
when it is built.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PLATFORMS = ("x86_64", "aarch64")
TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
"""Packages that pip on Debian 12 installs."""
HEAD = "# Written by `make lock` from constraints.txt: do not edit.\n"


def needed(project: dict[str, Any]) -> dict[str, list[str]]:
    """Requirements of each file; those of roles come on top of `common`."""
    server = tomllib.loads((ROOT / "cli/pyproject.toml").read_text(encoding="utf-8"))
    every = {
        canonicalize_name(Requirement(one).name): one for one in server["project"]["dependencies"]
    }
    roles = server["tool"]["headwise"]["images"]
    of_a_role = {name for names in roles.values() for name in names}
    extras = server["project"]["optional-dependencies"]
    library = [one for one in project["project"]["dependencies"] if not one.startswith("torch")]
    return {
        "common": [
            *(one for name, one in every.items() if name not in of_a_role),
            *extras["otel"],
        ],
        **{role: [every[name] for name in names] for role, names in roles.items()},
        "worker": [*library, *extras["gpu"]],
        "build": project["build-system"]["requires"],
    }


def resolved(requirements: list[str], platform: str) -> dict[str, str]:
    """Name and version of every package, and the hash of its file for a platform."""
    tags = [part for tag in TAGS for part in ("--platform", f"{tag}_{platform}")]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"),
                *("--ignore-installed", "--only-binary=:all:", "--python-version=3.11", *tags),
                *("--target", folder, "--report", str(report)),
                *("-c", str(ROOT / "constraints.txt"), *requirements),
            ],
            check=True,
            # The index alone: wheels of this machine have other hashes.
            env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""},
        )
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {
        f"{one['metadata']['name'].lower()}=={one['metadata']['version']}": one["download_info"][
            "archive_info"
        ]["hashes"]["sha256"]
        for one in found
    }


def main() -> None:
    """Write the files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    common: set[str] = set()
    for name, requirements in needed(project).items():
        hashes: dict[str, set[str]] = defaultdict(set)
        for platform in PLATFORMS:
            for package, digest in resolved(requirements, platform).items():
                hashes[package].add(digest)
        lines = [
            " \\\n    ".join(
                [package, *(f"--hash=sha256:{one}" for one in sorted(hashes[package]))]
            )
            for package in sorted(hashes)
            if package not in common or name == "build"
        ]
        common |= hashes.keys() if name == "common" else set()
        file = ROOT / f"docker/requirements-{name}.txt"
        file.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
