"""The `headwise` command: one line and exit status 2 for bad input, never a traceback."""

from __future__ import annotations

import os
import sys

import typer

from cli import (
    attack_commands,
    data_commands,
    job_commands,
    life_commands,
    prune_commands,
    recurring_commands,
    service_commands,
    study_commands,
    watch_commands,
)
from cli.context import fail
from jobs.errors import HeadwiseError

app = typer.Typer(
    name="headwise",
    help="What every attention head of a transformer contributes to its predictions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
service_commands.register(app)
job_commands.register(app)
life_commands.register(app)
recurring_commands.register(app)
attack_commands.register(app)
data_commands.register(app)
prune_commands.register(app)
study_commands.register(app)
watch_commands.register(app)


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
