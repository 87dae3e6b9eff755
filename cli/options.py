"""Options that several commands share, and groups of them.

A group is a frozen dataclass whose fields are options. A command takes a group as one parameter;
`with_groups` gives typer the single options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_type_hints

import typer

R = TypeVar("R")

Queue = Annotated[
    str | None, typer.Option(help="Workers that serve this queue run it. Default: HEADWISE_QUEUE.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CheckOnly = Annotated[bool, typer.Option("--check", help="Check and estimate; submit nothing.")]
MAX_ID = 2**31 - 1
"""The largest number of a job, an example or anything else; SQLite fails at more than 64 bits."""
JobId = Annotated[int, typer.Argument(help="Number of the job.", metavar="JOB", max=MAX_ID)]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any other key: data.sample=500."),
]


def with_groups(command: Callable[..., R]) -> Callable[..., R]:
    """Replace the parameters of a command that are groups by the options in them."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _options(groups[parameter.name])
        else:
            parameters.append(
                parameter.replace(
                    kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]
                )
            )

    @wraps(command)
    def run(**values: Any) -> R:
        given = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**given, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    found = []
    for field in fields(group):
        kind, option = get_args(hints[field.name])
        option = copy(option)
        option.rich_help_panel = group.panel
        found.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[kind, option],
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
            )
        )
    return found


Model = Annotated[
    str | None, typer.Option(metavar="<path>", help="Folder (./my-model) or hub name.")
]


@dataclass(frozen=True, kw_only=True)
class KeyOptions:
    """Options that set keys of a submission."""

    panel: ClassVar[str]
    prefix: ClassVar[str] = "spec."
    keys: ClassVar[Mapping[str, str]] = {}
    """The keys that options of another name set."""

    def values(self) -> dict[str, Any]:
        """The values that were given, by dotted key."""
        return {
            self.prefix + self.keys.get(name, name): value
            for name, value in vars(self).items()
            if value is not None
        }


@dataclass(frozen=True, kw_only=True)
class SourceOptions(KeyOptions):
    """The model and the data."""

    panel = "Model and data"
    keys: ClassVar[Mapping[str, str]] = {
        "model": "model.name",
        "revision": "model.revision",
        "data": "data.path",
        "dataset": "data.dataset",
        "config": "data.config",
        "split": "data.split",
        "text": "data.text_columns",
        "label": "data.label_column",
        "limit": "data.limit",
    }

    model: Model = None
    revision: Annotated[str | None, typer.Option(help="Hub revision of the model.")] = None
    data: Annotated[
        str | None,
        typer.Option(metavar="<path>", help="JSON, JSONL, CSV, TSV, text or Parquet file."),
    ] = None
    dataset: Annotated[str | None, typer.Option(help="Hub dataset; needs --split.")] = None
    config: Annotated[str | None, typer.Option(help="Configuration of the hub dataset.")] = None
    split: Annotated[str | None, typer.Option(help="Split of the hub dataset.")] = None
    text: Annotated[
        str | None, typer.Option(help="Text column, or two for pairs: premise,hypothesis.")
    ] = None
    label: Annotated[str | None, typer.Option(help="Column of the gold label.")] = None
    limit: Annotated[int | None, typer.Option(help="Largest number of rows.")] = None


@dataclass(frozen=True, kw_only=True)
class RetentionOptions(KeyOptions):
    """A job's priority, and how long it is kept: what can be changed later."""

    panel = "Queue and retention"
    prefix = ""

    priority: Annotated[
        int | None, typer.Option(help="-100 to 100; higher runs first. Default: 0.")
    ] = None
    keep_days: Annotated[
        float | None, typer.Option(help="Days after its end that the job is deleted; 0 is never.")
    ] = None
    keep_details_days: Annotated[
        float | None,
        typer.Option(
            help="Days after its end that its details (texts and rows per example) are purged; "
            "0 is never."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class QueueOptions(RetentionOptions):
    """The fields of a submission beside its specification."""

    name: Annotated[str | None, typer.Option(help="Name shown in lists.")] = None
    queue: Queue = None
    deadline: Annotated[
        str | None,
        typer.Option(
            help="When to stop the job and keep its results so far: seconds from now, or "
            "2026-11-30T08:00+01:00."
        ),
    ] = None
    notify: Annotated[
        list[str] | None, typer.Option(help="Name of a recipient to notify when it ends.")
    ] = None
    again: Annotated[
        bool | None, typer.Option("--again", help="Run it even if a job has these results.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """The file or preset that a submission starts from, before options change it."""

    panel: ClassVar[str] = "Start from"

    spec: Annotated[
        Path | None, typer.Option(help="JSON file with a specification or a submission.")
    ] = None
    preset: Annotated[str | None, typer.Option(help="Preset, by the beginning of its title.")] = (
        None
    )
    set_: Assignments = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Actions of a command on a submission."""

    panel: ClassVar[str | None] = None

    check: CheckOnly = False
    watch: Annotated[bool, typer.Option("--watch", help="Show its progress until it ends.")] = False
    as_json: AsJson = False
