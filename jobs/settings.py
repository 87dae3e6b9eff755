"""The settings: one typed object, read from `HEADWISE_*` and checked at startup.

Every process calls `load_settings()` once and passes the result on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jobs.errors import InputError, Problem, nearest, refuse

PREFIX = "HEADWISE_"
FAILURES = "SUPERVISED_FAILURES"
"""Not a setting: the variable in which a supervisor tells a process how often in a row it has ended
right after its start."""
FILE = "_FILE"
QUEUE_NAME = r"^[a-z0-9][a-z0-9_-]{0,40}$"
_HOST_NAME = re.compile(r"\.?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Days to keep a job after its end. Its details are its texts and rows per example."""

    keep_days: float
    """Days until the job is deleted; 0 keeps it for ever."""
    keep_details_days: float
    """Days until its details are purged; 0 keeps them as long as the job."""


class Settings(BaseModel):
    """Everything that can be configured; docs/settings.md is generated from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    home: Path = Field(
        default=Path("~/.headwise"),
        description="The data folder: databases, uploads, demo model. Created if missing.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy address of the database, sqlite:/// or postgresql+psycopg://. "
        "Default: headwise.sqlite in the data folder.",
    )
    migrate: str = Field(
        default="auto",
        pattern="^(auto|always|never)$",
        description="Whether a process that finds an older schema migrates the database: always, "
        "never, or auto: SQLite always, PostgreSQL only if it has no schema yet. Otherwise run "
        "`headwise migrate`.",
    )
    console_url: str = Field(
        default="",
        description="PostgreSQL only: address of the read-only role of the SQL console "
        "(`headwise doctor --create-console-role` creates it). Without it the console is off.",
    )
    broker_url: str = Field(
        default="",
        description="Celery broker: redis://, amqp:// or sqla+sqlite:///. "
        "Default: broker.sqlite in the data folder.",
    )
    allowed_folders: str = Field(
        default="",
        description="Folders, separated by ':', that models and data may be read from besides the "
        "data folder.",
    )
    host: str = Field(default="127.0.0.1", description="Address the dashboard listens on.")
    port: int = Field(default=8600, ge=1, le=65535, description="Port the dashboard listens on.")
    trusted_hosts: str = Field(
        default="",
        description="Host names, separated by ',', that the dashboard answers to besides "
        "localhost, for use behind a proxy (docs/proxy.md): headwise.example.org, or .example.org "
        "for that name and its subdomains; no scheme, port or path. Default: localhost only if the "
        "dashboard listens there, otherwise every name.",
    )
    queue: str = Field(
        default="default",
        pattern=QUEUE_NAME,
        description="Queue that jobs are submitted to and that a worker serves.",
    )
    queues: str = Field(
        default="",
        description="Queues that a worker serves, separated by ',' and equal in rank. "
        "Default: HEADWISE_QUEUE.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device of a worker for jobs that leave it to the worker (auto).",
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="CPU threads of a worker; 0: torch decides."
    )
    shard_seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Size of the shards that a worker claims, in seconds of its own speed.",
    )
    user_leases: int = Field(
        default=0,
        ge=0,
        description="Most shards of one user that run at a time in a queue; 0 is no limit.",
    )
    queue_leases: int = Field(
        default=0,
        ge=0,
        description="Most shards that run at a time in a queue; 0 is no limit.",
    )
    lease_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Length of a lease; a worker that is silent for this long loses its shard.",
    )
    heartbeat_seconds: float = Field(
        default=10.0, gt=0, le=600, description="Time between a worker's heartbeats."
    )
    control_seconds: float = Field(
        default=2.0,
        gt=0,
        le=600,
        description="How often a busy worker checks whether its job was paused or cancelled, or a "
        "part of its shard given to another worker.",
    )
    stall_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86400,
        description="A worker that makes no progress for this long, with a shard or in loading its "
        "model, gives the shard back and ends; its supervisor starts another.",
    )
    stall_warn_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86400,
        description="A shard without progress for this long, whose worker is alive, is shown as "
        "stalled; so is a scheduler whose round takes this long.",
    )
    tick_seconds: float = Field(
        default=0.5, gt=0, le=60, description="Time between two rounds of the scheduler."
    )
    max_jobs_per_user: int = Field(
        default=0, ge=0, description="Most unfinished jobs of one user; 0 is no limit."
    )
    max_examples_per_job: int = Field(
        default=0, ge=0, description="Most examples of one job; 0 is no limit."
    )
    max_queued_examples_per_user: int = Field(
        default=0,
        ge=0,
        description="Most examples of one user that wait in unfinished jobs; 0 is no limit.",
    )
    keep_days: float = Field(
        default=0.0,
        ge=0,
        le=36_500,
        description="Days after which a finished job is deleted, unless it has its own limit; "
        "0 keeps jobs for ever.",
    )
    keep_details_days: float = Field(
        default=0.0,
        ge=0,
        le=36_500,
        description="Days after which the details of a finished job are purged: its texts and its "
        "rows per example. Importance, rankings and curves stay; 0 keeps everything.",
    )
    upload_megabytes: int = Field(
        default=64, ge=1, le=4096, description="Largest upload on the dashboard."
    )
    data_megabytes: int = Field(
        default=256, ge=1, le=100_000, description="Most text that one job may have, in MB."
    )
    data_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="Longest time to read a data file in."
    )
    max_line_bytes: int = Field(
        default=1_000_000,
        ge=1_000,
        le=100_000_000,
        description="Most bytes of a line of a data file, and of a text.",
    )
    sql_seconds: float = Field(
        default=10.0, gt=0, le=600, description="Time limit of a query in the SQL console."
    )
    sql_rows: int = Field(
        default=1_000, ge=1, le=100_000, description="Row limit of a query in the SQL console."
    )
    log_format: str = Field(
        default="console", pattern="^(console|json)$", description="Log lines: console or json."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Lowest level logged."
    )
    otlp_endpoint: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Address that receives OpenTelemetry traces over HTTP, such as "
        "http://collector:4318/v1/traces; needs headwise[otel]. Default: no traces.",
    )
    log_lines: int = Field(
        default=2_000,
        ge=10,
        le=1_000_000,
        description="Most log lines that are kept per attempt; the oldest are dropped.",
    )

    @field_validator("home")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError:  # ~somebody
            raise ValueError("names the home folder of an unknown user") from None

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:///", "postgresql+psycopg://", "postgresql://")):
            raise ValueError("must start with sqlite:/// or postgresql://")
        if value.startswith("postgresql://"):
            value = value.replace("postgresql://", "postgresql+psycopg://", 1)
        return value

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, value: str) -> str:
        if value and not value.startswith(
            ("redis://", "rediss://", "amqp://", "amqps://", "sqla+sqlite:///")
        ):
            raise ValueError("must start with redis://, amqp:// or sqla+sqlite:///")
        try:
            _ = urlsplit(value).port
        except ValueError:
            raise ValueError("has a port that is not a number from 0 to 65535") from None
        return value

    @field_validator("queues")
    @classmethod
    def _queue_names(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",") if name.strip()]
        for name in names:
            if not re.fullmatch(QUEUE_NAME, name):
                raise ValueError(f"{name!r} is not a queue name")
        return ",".join(dict.fromkeys(names))

    @field_validator("trusted_hosts")
    @classmethod
    def _host_names(cls, value: str) -> str:
        names = [name.strip().lower() for name in value.split(",") if name.strip()]
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a host name")
        return ",".join(names)

    @property
    def database(self) -> str:
        """Address of the database in use."""
        return self.database_url or f"sqlite:///{self.home / 'headwise.sqlite'}"

    @property
    def broker(self) -> str:
        """Address of the broker in use."""
        return self.broker_url or f"sqla+sqlite:///{self.home / 'broker.sqlite'}"

    @property
    def served_queues(self) -> str:
        """The queues that a worker serves, separated by commas."""
        return self.queues or self.queue

    @property
    def retention(self) -> Retention:
        """The retention of jobs that set none themselves."""
        return Retention(keep_days=self.keep_days, keep_details_days=self.keep_details_days)

    @property
    def scratch(self) -> Path | None:
        """The folder of large temporary files; None, the system's, where it cannot be written.

        It is the data folder: the system's may be in memory.
        """
        return self.home if os.access(self.home, os.W_OK) else None

    @property
    def uploads(self) -> Path:
        """Folder of uploaded data files, see `jobs.inputs.uploads`."""
        return self.home / "uploads"

    @property
    def readable_folders(self) -> tuple[Path, ...]:
        """Folders that models and data may be read from."""
        extra = [Path(p).expanduser() for p in self.allowed_folders.split(os.pathsep) if p.strip()]
        return tuple(folder.resolve() for folder in (self.home, *extra))


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the settings from the environment; `KEY_FILE` names a file with the value of `KEY`.

    Raises InputError for every invalid key, with its value (of a file only the name, since its
    content may be secret), and for every unknown `HEADWISE_*` key, with the nearest known one: a
    typing mistake must not silently leave a default in place.
    """
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    given = {key: value for key, value in environ.items() if key.startswith(PREFIX)}
    files = {key + FILE: given.pop(key + FILE) for key in known if key + FILE in given}
    problems = [
        Problem(field=key, value=given[key], message="unknown setting", remedy=nearest(key, known))
        for key in sorted(given.keys() - known.keys())
    ]
    values: dict[str, object] = {known[k]: v for k, v in given.items() if k in known and v}
    for key, path in files.items():
        name = known[key.removesuffix(FILE)]
        if path and name in values:
            message = f"{key.removesuffix(FILE)} is set as well"
            problems.append(
                Problem(field=key, value=path, message=message, remedy="Set only one of them.")
            )
        elif path:
            try:
                values[name] = _content(key, path)
            except InputError as error:
                problems += error.problems
    values.update(overrides)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += _problems(error, {name: files.get(key + FILE) for key, name in known.items()})
    if problems:
        raise InputError(problems)
    return settings


def _content(key: str, path: str) -> str:
    try:
        content = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise refuse(key, path, f"cannot be read: {reason}", "Name a readable file.") from None
    if not content:
        raise refuse(key, path, "is an empty file", "Write the value into it.")
    return content


def _problems(error: ValidationError, files: Mapping[str, str | None]) -> Iterator[Problem]:
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else "settings"
        file = files.get(name)
        yield Problem(
            field=PREFIX + name.upper() + (FILE if file else ""),
            value=file or item["input"],
            message=item["msg"].removeprefix("Value error, "),
            remedy=(Settings.model_fields[name].description or "") if name in files else "",
        )


def settings_page() -> str:
    """Render docs/settings.md: a table of every key, its default and its meaning."""
    lines = ["# Settings", "", "Generated by `headwise schema --settings`.", ""]
    lines += [
        f"Each value may be read from a file, which keeps secrets out of the environment: "
        f"`{PREFIX}DATABASE_URL{FILE}=/run/secrets/database-url`.",
        "",
    ]
    lines += ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = str(field.default) if field.default != "" else "(see meaning)"
        lines.append(f"| `{PREFIX}{name.upper()}` | `{default}` | {field.description} |")
    return "\n".join(lines) + "\n"
