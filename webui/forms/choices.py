"""Choices on the forms of jobs and studies that keep everything typed: kinds, presets and files.

Each is a button of the form, named `do` with the value `action:argument`; the page that answers is
the same form, filled in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from jobs.errors import InputError, Problem
from jobs.inputs.data.examples import Preview, data_file, preview
from jobs.inputs.folders import Listing, list_folder
from jobs.settings import Settings

KEPT = ("model.", "data.", "source", "name")
"""Fields of a preset that are taken only where nothing was typed: they begin with these."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A form as it is to be shown."""

    values: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """The changes that a choice made, in words."""
    listing: Listing | None = None
    listing_for: str = ""
    """The field that a file is picked for."""
    head: Preview | None = None
    """The first rows of the data file."""
    problems: tuple[Problem, ...] = ()


def open_or_take(do: str, values: Mapping[str, str], settings: Settings) -> Filled | None:
    """Open a folder of the file picker, or take what was picked; None for other actions.

    do: `open:FIELD:FOLDER` or `take:FIELD:PATH`
    """
    action, _, rest = do.partition(":")
    name, _, path = rest.partition(":")
    if action == "take":
        return Filled(values={**values, name: path})
    if action != "open":
        return None
    try:
        return Filled(values=values, listing=list_folder(path, settings), listing_for=name)
    except InputError as error:
        problems = tuple(replace(problem, field=name) for problem in error.problems)
        return Filled(values=values, problems=problems)


def with_preset(
    values: Mapping[str, str],
    preset: Mapping[str, str],
    defaults: Mapping[str, str],
    labels: Mapping[str, str],
) -> Filled:
    """Fill in a preset: its options, and its model and data where none were typed."""
    found, notes = dict(values), []
    kept = any(values.get(one, "").strip() for one in ("model.name", "data.path", "data.dataset"))
    for name, value in preset.items():
        before = values.get(name, "").strip()
        if before == value or (name.startswith(KEPT) and (before or kept)):
            continue
        found[name] = value
        if before and before != defaults.get(name):
            notes.append(f"{labels.get(name, name)} was {before}.")
    if kept:
        notes.append("Model and data stay as you gave them.")
    return Filled(values=found, notes=tuple(notes))


def with_head(filled: Filled, settings: Settings, *, guess: bool = True) -> Filled:
    """Add the first rows of the data file, and guess its columns where none were typed."""
    values = filled.values
    path = values.get("data.path", "").strip()
    if not path or values.get("source") == "hub":
        return filled
    try:
        head = preview(data_file(path, settings), settings)
    except InputError:  # told by the check of the whole form
        return filled
    filled = replace(filled, head=head)
    if not guess or values.get("data.text_columns", "").strip():
        return filled
    texts, label = head.guessed.text_columns, head.guessed.label_column
    if not texts:
        return filled
    own = values.get("data.label_column", "").strip()
    said = f"Columns guessed from the file: texts from {' and '.join(texts)}"
    if label and not own:
        said += f", labels from {label}"
    columns = {"data.text_columns": ", ".join(texts), "data.label_column": own or label or ""}
    return replace(filled, values={**values, **columns}, notes=(*filled.notes, f"{said}."))


def carried(values: Mapping[str, str], rendered: Collection[str]) -> dict[str, str]:
    """The values that the form has no control for, to be sent again with the others."""
    return {
        name: value
        for name, value in values.items()
        if name not in rendered and name not in ("do", "upload") and not name.startswith("notify.")
    }
