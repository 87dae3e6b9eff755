"""The tree stays readable: imports without cycles, and nothing of one particular machine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from tests.helpers.environment import missing

ROOT = Path(__file__).parents[1]

# Written so that this file does not match itself.
PRIVATE = re.compile(
    r"(?<![\w.])/(?:wor[k]/|roo[t]/|User[s]/|opt/pyp[i])"
    r"|file:///op[t]"
    r"|\bpyp[i]\.org|pythonhoste[d]\.org|\bregistry\.(?:npmj[s]|yarnpk[g])"
    r"|--(?:extra-)?index-url[ =]https?:"
)


@cache
def tracked() -> dict[str, str]:
    """Tracked text files and their content."""
    if not (ROOT / ".git").exists():
        missing("a git checkout")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    texts = {}
    for name in filter(None, names):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b"\0"
        if b"\0" not in content:
            texts[name] = content.decode("utf-8")
    return texts


def test_no_import_cycle() -> None:
    """Imports inside functions and those for type checkers count, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    graph = grimp.build_graph(*project["tool"]["importlinter"]["root_packages"], cache_dir=None)
    imports = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    assert len(imports) > 100
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_machine_path_or_registry_is_named() -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in tracked().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if PRIVATE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "cd /wor" + "k/main",
        "open('/roo" + "t/.cache')",
        "https://pyp" + "i.org/simple",
        "--index-url " + "https://mirror.example/simple",
        "file:///op" + "t/mirror",
    ],
)
def test_the_pattern_finds_what_it_should(line: str) -> None:
    assert PRIVATE.search(line)


def test_no_two_tracked_names_differ_in_case_only() -> None:
    folded = [name.casefold() for name in tracked()]
    assert len(set(folded)) == len(folded)


def test_docstrings_name_things() -> None:
    """A docstring opens with a verb or a noun; the document of the API is made of many of them."""
    openings = re.compile(r'"""(?:What|How|Whether|Who|Which|Where|When|Why|That)\b.*')
    found = [
        f"{name}: {opening}"
        for name, text in tracked().items()
        if name.endswith(".py")
        for opening in openings.findall(text)
    ]
    assert found == []


def test_no_merge_is_left_half_done() -> None:
    markers = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
    assert [name for name, text in tracked().items() if markers.search(text)] == []
