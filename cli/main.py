"""The `headwise` command: one line and exit status 2 for bad input, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from cli.commands import (
    attack,
    jobs,
    logs,
    maintenance,
    processes,
    pruning,
    recurring,
    results,
    study,
)
from cli.context import fail
from cli.health import health
from jobs.errors import HeadwiseError

COMMANDS: dict[str, tuple[Callable[..., int | None], ...]] = {
    "Jobs": (
        *(jobs.submit, study.study, attack.attack, attack.try_attack),
        *(jobs.jobs, jobs.why, jobs.watch, logs.logs),
        *(jobs.pause, jobs.resume, jobs.cancel, jobs.change, jobs.delete),
    ),
    "Results": (results.sql, results.export, results.schema, pruning.prune),
    "Processes": (processes.up, processes.web, processes.scheduler, processes.worker),
    "Installation": (
        *(maintenance.doctor, health, maintenance.migrate, maintenance.backup),
        *(maintenance.purge, maintenance.compact),
    ),
}
"""The commands by panel of `headwise --help`, in its order."""

app = typer.Typer(
    name="headwise",
    help="Find out what every attention head of a transformer contributes to its predictions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(recurring.app, name="recurring", rich_help_panel="Jobs")


def main() -> None:
    """Run a command and end the process with its status."""
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except HeadwiseError as error:
        status = fail(error)
    except typer.Abort:
        status = 130
    except typer.TyperException as error:
        worded = getattr(error, "format_message", error.__str__)().rstrip(".")
        status = fail(HeadwiseError(f"{worded}. See `headwise --help`."))
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # The reader of a pipe went away, e.g. `headwise jobs | head`; what is still buffered
        # would fail again when Python flushes it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status or 0)


if __name__ == "__main__":
    main()
