"""Installing behind a bar: it moves along what pip says, and a failure shows that."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet

from tools import install

ROOT = Path(__file__).parents[2]

SAID = """Obtaining file:///home/ann/headwise
Collecting numpy>=2 (from headwise==0.1.0)
  Downloading numpy-2.4.0.whl (16 MB)
Processing /wheels/lazy_loader-0.6-py3-none-any.whl (from headwise==0.1.0)
Installing collected packages: numpy, lazy_loader
""".splitlines(keepends=True)


def test_the_bar_moves_with_every_package_and_never_past_the_end() -> None:
    bar = install.Bar(2)
    seen = []

    def lines() -> object:
        for line in SAID:
            yield line
            seen.append((bar.done, bar.what))

    assert install.follow(lines(), bar) == SAID  # type: ignore[arg-type]
    assert [done for done, _ in seen] == [0, 1, 1, 2, 2]
    assert [what for _, what in seen][1:] == ["numpy", "numpy", "lazy_loader", "unpacking"]
    assert bar.line().startswith(f"Installing [{'#' * install.WIDTH}] 2/2 ")


def test_as_many_packages_are_expected_as_are_listed() -> None:
    runs, all_of_them = install.expected(["-e", "."]), install.expected(["--group", "dev"])
    assert 80 < runs < all_of_them < 400


def test_every_package_admits_the_oldest_python() -> None:
    """Debian 12 has Python 3.11.2, and pip finds no version where one package wants 3.11.5."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=") + ".0"
    wanted = {
        one.name: one.metadata["Requires-Python"]
        for one in distributions()
        if "Requires-Python" in one.metadata
    }
    assert wanted["pytest"]
    too_new = {
        name: versions
        for name, versions in wanted.items()
        if not SpecifierSet(versions).contains(oldest)
    }
    assert not too_new, "pin an older version in constraints.txt"


def test_a_failure_shows_what_pip_said(tmp_path: Path) -> None:
    command = [sys.executable, install.__file__, sys.executable, "--no-index", "no-such-package-1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No matching distribution found for no-such-package-1" in done.stderr
    assert done.stdout.startswith("Installing [")


def test_it_makes_the_environment(tmp_path: Path) -> None:
    python = tmp_path / "new/bin/python"
    command = [sys.executable, install.__file__, str(python)]
    done = subprocess.run(
        command,
        env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"Installing \[\.+\] 0/2 +\d+ s  environment\n", done.stdout)
    subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=True)


def test_it_needs_nothing_that_is_installed() -> None:
    command = [sys.executable, "-S", "-E", "-c", "import runpy; runpy.run_path('tools/install.py')"]
    done = subprocess.run(command, cwd=Path(install.__file__).parents[1], check=False)
    assert done.returncode == 0
