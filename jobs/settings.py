"""The settings: one typed object, read from `HEADWISE_*` and checked at startup.

Every process calls `load_settings()` once and passes the result on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jobs.errors import InputError, Problem, nearest, refuse
from jobs.people import HIGHEST_PRIORITY, LOWEST_PRIORITY, Role
from jobs.scheduling.fair_share import FairShare, parse_weights

PREFIX = "HEADWISE_"
OF_CLIENTS = ("HEADWISE_SERVER", "HEADWISE_TOKEN")
"""Keys of the client and the command line, which say where an installation is."""
FAILURES = "SUPERVISED_FAILURES"
"""Not a setting: the variable in which a supervisor tells a process how often in a row it has ended
right after its start."""
SETTLED_SECONDS = 60.0
"""A process that has run for longer has not failed right after its start."""
FILE = "_FILE"
QUEUE_NAME = r"^[a-z0-9][a-z0-9_-]{0,40}$"
WAYS = ("password", "oidc", "proxy")
"""Ways to sign in."""
NO_SIGN_IN = "none"
_HOST_NAME = re.compile(r"\.?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Days to keep a job after its end. Its details are its texts and rows per example."""

    keep_days: float
    """Days until the job is deleted; 0 keeps it for ever."""
    keep_details_days: float
    """Days until its details are purged; 0 keeps them as long as the job."""


class Settings(BaseModel):
    """Everything that can be configured; docs/reference/settings.md is generated from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    home: Path = Field(
        default=Path("~/.headwise"),
        description="The data folder: databases, uploads, demo model. Created if missing.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy address of the database, sqlite:/// or postgresql://. "
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
        "localhost, for use behind a proxy (docs/howto/proxy.md): headwise.example.org, or "
        ".example.org for that name and its subdomains; no scheme, port or path. Needed wherever "
        "the dashboard does not listen on this machine alone.",
    )
    auth: str = Field(
        default="",
        description="How people sign in (docs/howto/accounts.md): password, oidc and proxy, "
        "separated by ','; none lets everybody do everything. Default: none while the "
        "dashboard listens only on this machine; otherwise it refuses to start until this is set.",
    )
    oidc_issuer: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Address of the OpenID Connect provider, as it calls itself: "
        "https://login.example.org/realms/lab. Without TLS only on this machine.",
    )
    oidc_client_id: str = Field(default="", description="Name of the dashboard at the provider.")
    oidc_client_secret: str = Field(
        default="", description="Its secret there; none for a public client, which PKCE protects."
    )
    oidc_groups_claim: str = Field(
        default="groups", description="Claim of the ID token that lists a person's groups."
    )
    oidc_roles: str = Field(
        default="",
        description="Roles by group, separated by ',': headwise-admins=admin,lab=member,*=viewer. "
        "A person gets the highest matching role, set again at every sign-in; people without one "
        "are refused. Default: HEADWISE_NEW_ROLE for new people, which administrators can change.",
    )
    metrics_token: str = Field(
        default="",
        description="Secret with which Prometheus may read /metrics where people sign in, also "
        "while the database does not answer. Default: a personal token with the scope read.",
    )
    proxy_header: str = Field(
        default="X-Remote-User",
        pattern=r"^[A-Za-z0-9-]+$",
        description="Header with the name of the person whom a trusted proxy has signed in: "
        "letters, digits and -.",
    )
    new_role: str = Field(
        default="viewer",
        pattern="^(viewer|member)$",
        description="Role of people who come by oidc or proxy for the first time.",
    )
    member_priority: int = Field(
        default=0,
        ge=LOWEST_PRIORITY,
        le=HIGHEST_PRIORITY,
        description="Highest priority that members may give to their jobs; administrators may give "
        "up to 100. Jobs of a single text run first for everybody.",
    )
    session_days: float = Field(
        default=30.0,
        gt=0,
        le=365,
        description="Days after which people must sign in again; after 7 days without a request "
        "they do in any case.",
    )
    audit_days: float = Field(
        default=365.0,
        ge=0,
        le=36_500,
        description="Days that entries of the audit log are kept; 0 keeps them for ever.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks, separated by ',', of the proxies whose "
        "X-Forwarded-For, X-Forwarded-Proto and HEADWISE_PROXY_HEADER are believed: 127.0.0.1, "
        "10.0.0.0/24.",
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Address of the dashboard for people, which notifications link to, such as "
        "https://headwise.example.org. Default: made of host and port.",
    )
    mail_url: str = Field(
        default="",
        pattern=r"^(mailtos?://\S+)?$",
        description="Mail server that notifications to e-mail addresses go through, as Apprise "
        "writes it: mailtos://user:password@mail.example.org:587?from=headwise@example.org. "
        "Default: no e-mail.",
    )
    notify_networks: str = Field(
        default="",
        description="Networks of private addresses, separated by spaces, that notifications may "
        "go to, such as 10.1.0.0/16. Default: none, so that nobody reaches internal services by "
        "way of Headwise.",
    )
    queue: str = Field(
        default="default",
        pattern=QUEUE_NAME,
        description="Queue that jobs are submitted to and that a worker serves: lower-case "
        "letters, digits, - and _.",
    )
    queues: str = Field(
        default="",
        description="Queues that a worker serves, separated by ',' and equal in rank. "
        "Default: HEADWISE_QUEUE.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device of a worker for jobs that leave it to the worker: auto, cpu, cuda or "
        "cuda:0.",
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
        description="Most shards of one user that run at a time in a queue; 0 means no limit.",
    )
    queue_leases: int = Field(
        default=0,
        ge=0,
        description="Most shards that run at a time in a queue; 0 means no limit.",
    )
    user_weights: str = Field(
        default="",
        description="Scheduler only: shares of the workers, such as `ann=2, nlp-*=3`, for a user "
        "or for each one whose name matches; the first match counts, every other user has 1. "
        "With 2, a user gets twice the share of one with 1.",
    )
    usage_half_life_seconds: float = Field(
        default=3600.0,
        ge=60,
        le=31_536_000,
        description="Scheduler only: time after which what a user has computed counts half.",
    )
    ageing_shards: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="Scheduler only: a user with a ready shard who has been passed over for this "
        "many shards of others at equal priority comes first; 0 turns this off.",
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
        default=0.5,
        gt=0,
        le=60,
        description="Longest time between two rounds of the scheduler, which also begins one when "
        "it hears of a change.",
    )
    max_jobs_per_user: int = Field(
        default=0, ge=0, description="Most unfinished jobs of one user; 0 means no limit."
    )
    max_examples_per_job: int = Field(
        default=0, ge=0, description="Most examples of one job; 0 means no limit."
    )
    max_queued_examples_per_user: int = Field(
        default=0,
        ge=0,
        description="Most examples of one user that wait in unfinished jobs; 0 means no limit.",
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
        "http://collector:4318/v1/traces; needs the packages of headwise-server[otel], which "
        "images have. Default: no traces.",
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

    @field_validator("notify_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        found = []
        for network in value.split():
            try:
                found.append(str(ip_network(network)))
            except ValueError:
                raise ValueError(f"{network!r} is not a network, such as 10.0.0.0/8") from None
        return " ".join(found)

    @field_validator("user_weights")
    @classmethod
    def _weights(cls, value: str) -> str:
        parse_weights(value)
        return value

    @field_validator("trusted_hosts")
    @classmethod
    def _host_names(cls, value: str) -> str:
        names = [name.strip().lower() for name in value.split(",") if name.strip()]
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a host name")
        return ",".join(names)

    @field_validator("auth")
    @classmethod
    def _known_ways(cls, value: str) -> str:
        ways = [way.strip().lower() for way in value.split(",") if way.strip()]
        for way in ways:
            if way not in (*WAYS, NO_SIGN_IN):
                raise ValueError(
                    f"{way!r} is not a way to sign in. {nearest(way, (*WAYS, 'none'))}"
                )
        if NO_SIGN_IN in ways and len(ways) > 1:
            raise ValueError("combines none with ways to sign in")
        return ",".join(dict.fromkeys(ways))

    @field_validator("oidc_issuer")
    @classmethod
    def _safe_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("must start with https://")
        return value.rstrip("/")

    @field_validator("oidc_roles")
    @classmethod
    def _known_roles(cls, value: str) -> str:
        for pair in filter(None, (one.strip() for one in value.split(","))):
            group, _, role = pair.rpartition("=")
            if not group or role not in list(Role):
                raise ValueError(f"{pair!r} is not GROUP=ROLE, with viewer, member or admin")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _proxy_networks(cls, value: str) -> str:
        for network in value.split(",") if value.strip() else ():
            try:
                ip_network(network.strip(), strict=False)
            except ValueError:
                raise ValueError(f"{network.strip()!r} is not an address or network") from None
        return value

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways to sign in; none where everybody may do everything."""
        return tuple(way for way in self.auth.split(",") if way in WAYS)

    def role_of_groups(self, groups: Collection[str]) -> Role | None:
        """The highest role that `oidc_roles` gives these groups; None where it gives none."""
        pairs = (one.strip().rpartition("=") for one in self.oidc_roles.split(",") if one.strip())
        found = [Role(role) for group, _, role in pairs if group == "*" or group in groups]
        return max(found, key=lambda role: role.rank, default=None)

    @property
    def is_local(self) -> bool:
        """True if the dashboard listens on this machine alone."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def check_sign_in(self) -> None:
        """Raise InputError where nobody could sign in, or others could without anybody's word."""
        if "oidc" in self.ways and not (self.oidc_issuer and self.oidc_client_id):
            missing = f"HEADWISE_OIDC_{'CLIENT_ID' if self.oidc_issuer else 'ISSUER'}"
            raise refuse(
                missing, None, "is required by HEADWISE_AUTH=oidc", "See docs/howto/accounts.md."
            )
        if "proxy" in self.ways and not self.trusted_proxies:
            message = "is required by HEADWISE_AUTH=proxy: it says whose header is trusted"
            remedy = "Set it to the proxy's address."
            raise refuse("HEADWISE_TRUSTED_PROXIES", None, message, remedy)
        if self.is_local:
            return
        if not self.auth:
            remedy = (
                "Set HEADWISE_AUTH=password and run `headwise user add NAME --admin`, or set "
                "HEADWISE_AUTH=none to let everybody who reaches it do everything."
            )
            message = "is reachable from elsewhere, and HEADWISE_AUTH is not set"
            raise refuse("HEADWISE_HOST", self.host, message, remedy)
        if not self.trusted_hosts:
            remedy = "Set HEADWISE_TRUSTED_HOSTS to the name or address that people type."
            message = "is reachable from elsewhere, and no host name is trusted"
            raise refuse("HEADWISE_HOST", self.host, message, remedy)

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
    def address(self) -> str:
        """Address of the dashboard for people, without a slash at its end."""
        host = "localhost" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        shown = f"[{host}]" if ":" in host else host
        return self.public_url.rstrip("/") or f"http://{shown}:{self.port}"

    @property
    def retention(self) -> Retention:
        """The retention of jobs that set none themselves."""
        return Retention(keep_days=self.keep_days, keep_details_days=self.keep_details_days)

    @property
    def fair_share(self) -> FairShare:
        """The rules by which users share the workers."""
        return FairShare(
            half_life=self.usage_half_life_seconds,
            ageing=self.ageing_shards,
            weights=parse_weights(self.user_weights),
        )

    @property
    def scratch(self) -> Path | None:
        """The folder of large temporary files; None, the system's, where it cannot be written.

        It is the data folder: the system's may be in memory.
        """
        return self.home if os.access(self.home, os.W_OK) else None

    @property
    def uploads(self) -> Path:
        """Folder of uploaded data files, see `jobs.inputs.data.uploads`."""
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
    for key in OF_CLIENTS:
        given.pop(key, None)
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
    from jobs.specs.validation import message_of  # it builds every model of specifications

    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else "settings"
        file = files.get(name)
        yield Problem(
            field=PREFIX + name.upper() + (FILE if file else ""),
            value=file or item["input"],
            message=message_of(item),
            remedy=(Settings.model_fields[name].description or "") if name in files else "",
        )


def settings_page() -> str:
    """Render docs/reference/settings.md: a table of every key, its default and its meaning."""
    lines = ["# Settings", "", "Generated by `headwise schema --settings`.", ""]
    lines += [
        f"Each value may be read from a file, which keeps secrets out of the environment: "
        f"`{PREFIX}DATABASE_URL{FILE}=/run/secrets/database-url`.",
        "",
        f"`{'` and `'.join(OF_CLIENTS)}` are not settings of an installation: they tell where it",
        "is, to the client and the command line ([login.md](../howto/login.md)).",
        "",
    ]
    lines += ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = str(field.default) if field.default != "" else "(see meaning)"
        lines.append(f"| `{PREFIX}{name.upper()}` | `{default}` | {field.description} |")
    return "\n".join(lines) + "\n"
