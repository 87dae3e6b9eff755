"""The site builds without a warning and loads nothing from elsewhere; public names have docs."""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tools.site import CLIENT, public_names

ROOT = Path(__file__).parents[1]
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(https?:)?//"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon)[^>]*\bhref=[\"']?https?://"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a broken link or a page that no menu has is a warning, and fails it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    found = [page.name for page in pages if LOADED.search(page.read_text(encoding="utf-8"))]
    assert found == []


def test_the_folders_are_the_menu() -> None:
    """Tutorials, how-tos, reference and explanation lie apart, each page where the menu has it."""
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    folders = {"Tutorials": "tutorials", "How to": "howto"}
    kinds = {name: pages for entry in menu for name, pages in entry.items() if name != "Headwise"}
    assert list(kinds) == ["Tutorials", "How to", "Reference", "Explanation"]
    astray = [
        page
        for kind, entries in kinds.items()
        for entry in entries
        for page in (entry.values() if isinstance(entry, dict) else [entry])
        if Path(page).parent.as_posix() != folders.get(kind, kind.lower())
    ]
    assert astray == []


def test_generated_pages_have_every_name(site: Path) -> None:
    for page, names in (("library", public_names()), ("client", CLIENT)):
        text = (site / f"reference/{page}.html").read_text(encoding="utf-8")
        assert [name for name in sorted(names) if f'id="{name}"' not in text] == []
    commands = (site / "reference/commands.html").read_text(encoding="utf-8")
    assert all(f"headwise {name}" in commands for name in ("submit", "study", "user add", "up"))
    api = (site / "reference/api.html").read_text(encoding="utf-8")
    assert "POST /api/v1/jobs" in api
    notebook = (site / "tutorials/notebook.html").read_text(encoding="utf-8")
    assert "<math" in notebook
    assert 'class="headwise"' in notebook


def members(kind: type) -> Iterator[tuple[str, object]]:
    """Return what a class offers of its own: methods and properties without an underscore."""
    for name, value in vars(kind).items():
        if not name.startswith("_") and (
            inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)
        ):
            yield name, value


def test_every_public_name_is_documented() -> None:
    missing = []
    for path in sorted(public_names() | CLIENT):
        value = pkgutil.resolve_name(path)
        name = path.rpartition(".")[2]
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if not value.__doc__ or value.__doc__.startswith(f"{name}("):
            missing.append(name)
        if inspect.isclass(value):
            missing += [
                f"{name}.{member}" for member, one in members(value) if not inspect.getdoc(one)
            ]
    assert missing == []
