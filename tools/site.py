"""Hooks of mkdocs: the pages that are made from the code, and what links out of docs/ leads to.

`make docs-site` builds the site; nothing that it makes is committed, so nothing of it can be stale.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import latex2mathml.converter
import nbformat
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.core import TyperGroup

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "howto/contributing.md",
    "CHANGELOG.md": "reference/changelog.md",
    "SECURITY.md": "howto/vulnerabilities.md",
    "docs/examples/notebook.ipynb": "tutorials/notebook.md",
}
"""Pages of the site that are elsewhere in the repository."""
CLIENT = {
    "headwise.client.client.Client",
    "headwise.client.comparison.Comparison",
    "headwise.client.errors.ConflictError",
    "headwise.client.errors.NotFoundError",
    "headwise.client.errors.Problem",
    "headwise.client.errors.RefusedError",
    "headwise.client.errors.SignInError",
    "headwise.client.errors.UnreachableError",
    "headwise.client.job.Job",
    "headwise.figures.figure.Figure",
}
"""Classes that a client returns or raises, beside what `import headwise` offers."""
_LINK = re.compile(r"(\[[^\]]*\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
_FORMULA = re.compile(r"\$\$(.+?)\$\$", flags=re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are elsewhere, and those that are made from the code."""
    made = {new: outside_page(ROOT / old) for old, new in OUTSIDE.items()}
    made["reference/library.md"] = names_page("The library", public_names())
    made["reference/client.md"] = names_page("The client", CLIENT)
    made["reference/commands.md"] = commands_page()
    made["reference/api.md"] = api_page()
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write formulas as MathML, and lead links to the site's own pages."""

    def inside(link: re.Match[str]) -> str:
        before, target, after = link.groups()
        if ":" in target:
            return link[0]
        return before + site_link(target, page.file.src_uri) + after

    text = _LINK.sub(inside, markdown)
    return _FORMULA.sub(lambda found: mathml(found[1]), text)


def site_link(target: str, page: str) -> str:
    """Return where a link leads on the site, relative to its page.

    target: as the page's file has it, relative to that file
    page: the page, as the site names it
    """
    source = {new: old for old, new in OUTSIDE.items()}.get(page, f"docs/{page}")
    led = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    return posixpath.relpath(
        OUTSIDE.get(led, led.removeprefix("docs/")), posixpath.dirname(page) or "."
    )


def outside_page(path: Path) -> str:
    """Return the text of a page that is not in docs/ or is a notebook."""
    return notebook_page(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")


def mathml(formula: str) -> str:
    """Return a formula of LaTeX for browsers, which need no script for it."""
    made: str = latex2mathml.converter.convert(formula.strip(), display="block")
    return made


# The library.


def public_names() -> set[str]:
    """The full names of what `import headwise` offers, from its stub."""
    tree = ast.parse((ROOT / "headwise/__init__.pyi").read_text(encoding="utf-8"))
    return {
        f"headwise.{statement.module}.{name.name}"
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom)
        for name in statement.names
    }


def names_page(title: str, names: set[str]) -> str:
    """Return a page with the documentation of names, in alphabetical order."""
    parts = sorted(names, key=lambda name: name.rpartition(".")[2].lower())
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in parts)]) + "\n"


# The command line.


def commands_page() -> str:
    """Return a page with every command, its arguments and its options."""
    from cli.main import app

    root = typer.main.get_command(app)
    lines = ["# Commands", "", "What `headwise COMMAND --help` says, in one page.", ""]
    return "\n".join([*lines, *_command(root, "headwise")]) + "\n"


def _command(command: Any, name: str) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    if isinstance(command, TyperGroup):
        if name != "headwise":
            yield from (f"## {name}", "", _plain(command.help), "")
        for word in command.list_commands(context):
            _, found, _ = command.resolve_command(context, [word])  # imports it
            if found is not None and not found.hidden:
                yield from _command(found, f"{name} {word}")
        return
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield from (f"## {name}", "", "```", usage, "```", "", _plain(command.help), "")
    options = [record for one in command.params if (record := one.get_help_record(context))]
    if options:
        yield from ("| option | meaning |", "| --- | --- |")
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in options)
        yield ""


def _plain(text: str | None) -> str:
    return (text or "").replace("\b", "").strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# The JSON API.


def api_page() -> str:
    """Return a page with every operation of the API's document."""
    document = json.loads((ROOT / "docs/reference/openapi.json").read_text(encoding="utf-8"))
    lines = ["# The JSON API", "", "Every operation of [openapi.json](openapi.json).", ""]
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method, operation in item.items():
            if method != "parameters":
                lines += _operation(f"{method.upper()} {path}", operation, shared)
    return "\n".join(lines) + "\n"


def _operation(name: str, operation: dict[str, Any], shared: list[Any]) -> Iterator[str]:
    said = operation.get("description", "")
    yield from (f"## `{name}`", "", operation.get("summary", ""), "", said, "")
    parameters = [one for one in [*shared, *operation.get("parameters", [])] if "name" in one]
    if parameters:
        yield from ("| parameter | in | meaning |", "| --- | --- | --- |")
        for one in parameters:
            yield f"| `{one['name']}` | {one['in']} | {_cell(one.get('description', ''))} |"
        yield ""
    answers = ", ".join(f"`{status}`" for status in operation["responses"])
    yield from (f"Answers: {answers}", "")


# Notebooks.


def notebook_page(path: Path) -> str:
    """Return a notebook with its outputs as a page."""
    notebook = nbformat.read(path, as_version=4)
    parts = [part for cell in notebook.cells for part in _cell_parts(cell)]
    return "\n\n".join(parts) + "\n"


def _cell_parts(cell: Any) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source
        return
    yield f"```python\n{cell.source}\n```"
    for output in cell.outputs:
        if html := output.get("data", {}).get("text/html"):
            # A blank line would end the block of HTML.
            yield re.sub(r"\n\s*\n", "\n", html) if html.startswith("<div") else f"<p>{html}</p>"
        else:
            text = output.get("text") or output.data["text/plain"]
            yield f"```text\n{text.rstrip()}\n```"
