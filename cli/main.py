"""The `headwise` command: one line and exit status 2 for bad input, never a traceback."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from cli.context import fail, out
from cli.lazy import LazyGroup
from cli.store.chosen import Choice, choice
from jobs.errors import HeadwiseError, refuse, shorten

COMMANDS = {
    "Jobs": {
        "submit": "jobs.submit",
        "study": "study.study",
        "attack": "attack.attack",
        "try-attack": "attack.try_attack",
        "jobs": "jobs.jobs",
        "why": "jobs.why",
        "watch": "jobs.watch",
        "logs": "logs.logs",
        "pause": "jobs.pause",
        "resume": "jobs.resume",
        "cancel": "jobs.cancel",
        "change": "jobs.change",
        "delete": "jobs.delete",
        "notify": "notify.app",
        "recurring": "recurring.app",
    },
    "Results": {
        "sql": "results.sql",
        "export": "results.export",
        "figure": "figures.figure",
        "matrix": "figures.matrix",
        "compare": "compare.compare",
        "report": "report.report",
        "schema": "results.schema",
        "prune": "pruning.prune",
    },
    "Server": {"login": "login.login", "logout": "login.logout", "whoami": "login.whoami"},
    "Processes": {
        "up": "processes.up",
        "web": "processes.web",
        "scheduler": "processes.scheduler",
        "worker": "processes.worker",
    },
    "Installation": {
        "doctor": "maintenance.doctor",
        "health": "health.health",
        "migrate": "maintenance.migrate",
        "backup": "backup.backup",
        "restore": "backup.restore",
        "purge": "maintenance.purge",
        "compact": "maintenance.compact",
    },
    "People": {"user": "users.app", "token": "tokens.app"},
}
"""The commands by panel of `headwise --help`, in its order."""

ELSEWHERE = ("Jobs", "Results", "Server")
"""The panels whose commands work on a server, too."""

OWN = ("cli", "db", "headwise", "jobs", "scheduler", "webui", "workers")


class Commands(LazyGroup):
    """The commands of `headwise`."""

    panels = COMMANDS


app = typer.Typer(
    cls=Commands,
    name="headwise",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    """Print the release instead of running a command."""
    if wanted:
        from importlib.metadata import version

        out.print(f"headwise {version('headwise')}")
        raise typer.Exit


@app.callback()
def choose(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Server that the Jobs and Results commands use. Default: HEADWISE_SERVER, or the "
            "server of `headwise login`.",
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Work on this machine's database, whatever the login.")
    ] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the release.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Find out what every attention head of a transformer contributes to its predictions."""
    command = context.invoked_subcommand or ""
    if server is not None and local:
        raise refuse("--server", server, "cannot be combined with --local", "Give one of the two.")
    if server is not None and command not in _elsewhere():
        message = f"`headwise {command}` works on this machine alone"
        raise refuse("--server", server, message, "Leave it out, or run the command there.")
    choice.set(Choice(server=server, local=local))


def _elsewhere() -> set[str]:
    """The commands that work on a server, too; `schema` describes this release."""
    return {name for panel in ELSEWHERE for name in COMMANDS[panel]} - {"schema"}


def main() -> None:
    """Run a command and end the process with its status."""
    # Imports make objects by the ten thousand, and no garbage that is worth looking for.
    gc.set_threshold(50_000)
    # pydantic would read the metadata of every installed package to find plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except HeadwiseError as error:
        status = fail(error)
    except ModuleNotFoundError as error:
        status = fail(_absent(error))
    except typer.Abort:
        status = 130
    except typer.TyperException as error:
        status = fail(HeadwiseError(f"{_in_words(error)}. See `headwise --help`."))
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # The reader of a pipe went away, e.g. `headwise jobs | head`; what is still buffered
        # would fail again when Python flushes it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status or 0)


def _in_words(error: typer.TyperException) -> str:
    """The fault of a command line. Typer hands on what pydantic says of a value."""
    from pydantic import ValidationError

    from jobs.specs.validation import message_of

    cause = error.__cause__
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        error.message = f"{message_of(first)} (given: {shorten(first['input'])})"
    return error.format_message().rstrip(".")


def _absent(error: ModuleNotFoundError) -> HeadwiseError:
    """Say which library an image of another role lacks; a module of our own is a bug."""
    name = (error.name or "").partition(".")[0]
    if name in OWN:
        raise error
    return HeadwiseError(
        f"This installation has no {name}, which the command needs: run it in the image of "
        "the role that it belongs to (docs/howto/deploy.md), or install all of ./cli."
    )


if __name__ == "__main__":
    main()
