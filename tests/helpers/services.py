"""Servers on free ports that belong to a test: they may be killed, filled and wiped."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.helpers.ports import free_port

PIECE = 1 << 16
_PR_SET_PDEATHSIG = 1


def binary(name: str) -> str | None:
    """The path of a program, also in Debian's folders outside of PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = [*map(str, folders), "/usr/sbin", "/usr/local/sbin", os.environ.get("PATH", "")]
    return shutil.which(name, path=os.pathsep.join(places))


def await_port(port: int, seconds: float = 240) -> None:
    """Wait until a server listens."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.05)


def await_silence(port: int, seconds: float = 30) -> None:
    """Wait until nothing listens any more."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            if time.monotonic() > deadline:
                raise TimeoutError(f"a server still listens on port {port}")
            time.sleep(0.02)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a file system of that size; gives False where this process may not."""
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave no room on the file system of a folder."""
    balloon = folder / "balloon"
    with balloon.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PIECE))
    try:
        yield
    finally:
        balloon.unlink()


STARTS = 3
"""Number of attempts at a start."""
START_SECONDS = 60.0
"""Time that a server has to listen before it is started again."""


class Server:
    """A server process that can be killed and started again with what it has stored."""

    needs: tuple[str, ...] = ()
    ends_with_parent = False
    """End it when the thread that started it ends, even if that is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.addresses: tuple[str, ...] = ("127.0.0.1",)
        """It serves whoever reaches it there; set it before `create`."""

    @classmethod
    def missing(cls) -> str:
        """The needed programs that are not installed, or an empty string."""
        return ", ".join(name for name in cls.needs if binary(name) is None)

    url: str

    def create(self) -> None:
        """Make what it stores its data in, once."""

    def command(self) -> list[str]:
        """The command that runs it in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        """Start it and wait until it listens; one that does not is ended and started again.

        A RabbitMQ 3.10 that was killed was seen to stand still while it booted.
        """
        for _ in range(STARTS - 1):
            self._run()
            try:
                return await_port(self.port, START_SECONDS)
            except TimeoutError:
                self.kill()
        self._run()
        await_port(self.port)

    def _run(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user(),
                preexec_fn=_end_with_parent if self.ends_with_parent else None,
            )

    def await_answer(self, seconds: float = 60) -> None:
        """Wait until it serves clients, which may be a moment after it listens."""

    def user(self) -> str | None:
        return None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it with a signal, and everything it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.process.wait()
            self.process = None
            await_silence(self.port)

    def stop(self) -> None:
        """End it for good."""
        self.kill()


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


@contextlib.contextmanager
def running(kind: type[Server]) -> Iterator[str]:
    """Run a server in a temporary folder; gives its address."""
    folder = Path(tempfile.mkdtemp(prefix="headwise-test-"))
    server = kind(folder)
    server.ends_with_parent = True
    try:
        server.create()
        server.start()
        server.await_answer()
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Redis(Server):
    """Without persistence: a restart loses everything."""

    needs = ("redis-server",)

    def command(self) -> list[str]:
        options = ["--port", str(self.port), "--bind", *self.addresses, "--save", ""]
        options += ["--appendonly", "no", "--protected-mode", "no"]
        return [binary("redis-server") or "", *options]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


class RabbitMQ(Server):
    """A node of its own name, with its own data and cookie."""

    needs = ("rabbitmq-server", "rabbitmqctl")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.distribution_port, self.mapper_port = free_port(), free_port()

    def environment(self) -> dict[str, str]:
        node = f"chaos{self.port}@localhost"
        plugins = self.folder / "enabled_plugins"
        plugins.write_text("[].\n")
        config = self.folder / "rabbitmq.conf"
        listeners = [
            f"listeners.tcp.{number} = {address}:{self.port}"
            for number, address in enumerate(self.addresses, start=1)
        ]
        config.write_text("\n".join([*listeners, "loopback_users = none", ""]))
        return {
            **os.environ,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": node,
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "ERL_EPMD_PORT": str(self.mapper_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }

    def command(self) -> list[str]:
        # Debian's wrapper in /usr/sbin would change the user and with it the paths.
        inner = sorted(Path("/usr/lib/rabbitmq/lib").glob("*/sbin/rabbitmq-server"))
        return [str(inner[-1]) if inner else binary("rabbitmq-server") or ""]

    def stop(self) -> None:
        """End its port mapper too, which outlives it."""
        self.kill()
        mapper = ["epmd", "-port", str(self.mapper_port), "-kill"]
        subprocess.run(mapper, check=False, capture_output=True)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"


class PostgreSQL(Server):
    """A cluster of its own, on a small disk where one can be mounted."""

    needs = ("postgres", "initdb")

    def user(self) -> str | None:
        """PostgreSQL refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def create(self) -> None:
        """Make the cluster. Without fsync: the machine itself is never killed here."""
        if name := self.user():
            os.chown(self.folder, pwd.getpwnam(name).pw_uid, -1)
        subprocess.run(
            [
                *(binary("initdb") or "", "-D", str(self.data), "-U", "postgres", "-A", "trust"),
                *("--no-sync", "--wal-segsize=1", "--locale=C", "-E", "UTF8"),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=self.user(),
        )
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {one}/24 trust\n" for one in self.addresses)

    def command(self) -> list[str]:
        options = {
            "port": self.port,
            "listen_addresses": ",".join(self.addresses),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "min_wal_size": "2MB",
            "max_wal_size": "16MB",
        }
        given = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [binary("postgres") or "", "-D", str(self.data), *given]

    def await_answer(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url.replace("+psycopg", "")).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """SIGQUIT by default means at once, with recovery at the next start."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)
            self.process.wait()
            self.process = None
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def restart(self) -> None:
        """Immediately, as after a crash."""
        self.kill(signal.SIGQUIT)
        self.start()

    def stop(self) -> None:
        self.kill(signal.SIGQUIT)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
