"""The `headwise` command: one line and exit status 2 for bad input, never a traceback."""

from __future__ import annotations

import os
import sys

import typer

from cli.commands import attack, data, logs, maintenance, processes, pruning, recurring, study
from cli.commands import jobs as job_commands
from cli.context import fail
from jobs.errors import HeadwiseError

app = typer.Typer(
    name="headwise",
    help="What every attention head of a transformer contributes to its predictions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
processes.register(app)
job_commands.register(app)
maintenance.register(app)
recurring.register(app)
attack.register(app)
data.register(app)
pruning.register(app)
study.register(app)
logs.register(app)


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
