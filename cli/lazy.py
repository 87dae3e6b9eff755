"""Commands that are imported when they run, so that help and small commands start at once."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

PACKAGE = "cli.commands"
APP = "app"
"""The object of a module that has commands of its own; the module's docstring is its help."""


class LazyGroup(TyperGroup):
    """A command whose commands are known by name and imported when they are asked for."""

    panels: ClassVar[Mapping[str, Mapping[str, str]]]
    """Places of the commands, as `module.function`, by panel of the help and by name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.places = {name: one for names in self.panels.values() for name, one in names.items()}
        for panel, names in self.panels.items():
            for name in names:
                self.add_command(TyperCommand(name, rich_help_panel=panel))

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands. Whoever lists them shows what they do, which is read now."""
        for name, place in self.places.items():
            self.commands[name].help = docstring(place)
        return super().list_commands(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments begin with, and import it."""
        if place := self.places.get(args[0]):
            panel = self.commands[args[0]].rich_help_panel  # type: ignore[attr-defined]
            self.add_command(load(args[0], place, panel))
        return super().resolve_command(ctx, args)


def docstring(place: str) -> str:
    """The docstring of a command, read from its file."""
    module, _, function = place.partition(".")
    tree = _parsed(f"{PACKAGE}.{module}")
    if function == APP:
        return ast.get_docstring(tree) or ""
    (found,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return ast.get_docstring(found) or ""


@cache
def _parsed(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"There is no module {module}.")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def load(name: str, place: str, panel: str) -> Any:
    """A command that can run."""
    module, _, function = place.partition(".")
    found = getattr(import_module(f"{PACKAGE}.{module}"), function)
    if function == APP:
        group = typer.main.get_group(found)
        group.name, group.rich_help_panel = name, panel
        return group
    single = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
    )
    single.command(name, rich_help_panel=panel)(found)
    return typer.main.get_command(single)
