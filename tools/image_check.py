"""Build the images without a container engine, and run a job through them: `make images`.

Needs root and Debian's debootstrap and buildah. The base image is made here, as no registry is
asked for one: Debian's smallest system with the Python that runs this. Where packages come from is
what this machine's pip and apt say; nothing of it gets into an image.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from demo import model as demo

ROOT = Path(__file__).parents[1]
TARGETS = ("web", "scheduler", "worker")
LIBRARIES = (
    *("ca-certificates", "libbz2-1.0", "libexpat1", "libffi8", "liblzma5", "libncursesw6"),
    *("libreadline8", "libsqlite3-0", "libssl3", "libuuid1", "zlib1g"),
)
"""Libraries that Python's own modules load."""
BASE = "localhost/python"
ABSENT = {
    "web": ("pip", "torch", "transformers", "pandas", "datasets"),
    "scheduler": ("pip", "torch", "transformers", "vl_convert", "flask"),
    "worker": ("pip", "pandas", "pyarrow", "vl_convert", "flask", "datasets"),
}
"""Modules that an image does not have."""
SECONDS = 120.0
"""The longest that a service may take to be healthy."""


class Builder:
    """buildah with a store of its own."""

    def __init__(self, folder: Path, driver: str) -> None:
        self.folder = folder
        self._command = (
            *("buildah", "--storage-driver", driver),
            *("--root", str(folder / "store"), "--runroot", str(folder / "run")),
        )

    def __call__(self, *words: str | Path, quiet: bool = False) -> str:
        """Run a command of buildah; returns what it prints. Raises CalledProcessError."""
        ran = subprocess.run(
            [*self._command, *map(str, words)],
            check=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
        )
        return ran.stdout.strip()

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start a command of buildah, in a group of its own."""
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        command = [*self._command, *map(str, words)]
        return subprocess.Popen(command, env=environment, start_new_session=True)


def make_base(build: Builder, mirror: str) -> None:
    """Make the image that the Dockerfile starts from, as python:slim is made."""
    system = build.folder / "system"
    subprocess.run(
        [
            *("debootstrap", "--variant=minbase", f"--include={','.join(LIBRARIES)}"),
            *("bookworm", str(system), mirror),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(system / "var/cache/apt")
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = f"lib/{python}/site-packages"
    for name in ("bin", f"lib/{python}"):
        shutil.copytree(
            Path(sys.base_prefix) / name,
            system / "usr/local" / name,
            symlinks=True,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__"),
        )
    for library in Path(sys.base_prefix, "lib").glob("libpython*"):
        shutil.copy2(library, system / "usr/local/lib", follow_symlinks=False)
    shutil.copytree(Path(sys.base_prefix, packages, "pip"), system / "usr/local" / packages / "pip")
    subprocess.run(["chroot", str(system), "ldconfig"], check=True)
    container = build("from", "scratch")
    build("add", "--quiet", container, system, "/")
    build("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    build("commit", "--quiet", container, BASE)
    build("rm", container)
    shutil.rmtree(system)


def pip_mounts(folder: Path) -> Iterator[str]:
    """This machine's configuration of pip, and the local folders in it, as mounts of a build."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, text=True, capture_output=True
    ).stdout
    settings: dict[str, str] = {}
    for line in said.splitlines():
        key, _, value = line.partition("=")
        settings[key.replace(":env:", "global").rpartition(".")[2]] = value.strip("'\"")
    lines = [f"{key} = {value}" for key, value in settings.items()]
    written = folder / "pip.conf"
    written.touch(mode=0o600)  # addresses may have passwords in them
    written.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    yield f"{written}:/etc/pip.conf:ro"
    words = (word for value in settings.values() for word in value.replace("\\n", " ").split())
    local = {Path(word.removeprefix("file://")) for word in words if "/" in word}
    for path in sorted(one for one in local if one.is_absolute() and one.exists()):
        place = path.parent if path.name == "simple" else path
        yield f"{place}:{place}:ro"


def make_image(build: Builder, target: str, mounts: Sequence[str]) -> None:
    """Build a target of the Dockerfile."""
    volumes = [part for mount in mounts for part in ("--volume", mount)]
    build(
        *("build", "--quiet", "--pull=false", "--layers", "--format=docker", *volumes),
        *("--build-arg", f"PYTHON_IMAGE={BASE}", "--file", ROOT / "docker/Dockerfile"),
        *("--target", target, "--tag", f"headwise-{target}", ROOT),
    )


def megabytes(build: Builder, name: str) -> float:
    """Size of a container's files."""
    place = Path(build("mount", name))
    files = (one for one in place.rglob("*") if one.is_file() and not one.is_symlink())
    return sum(one.stat().st_size for one in files) / 1e6


def check_modules(build: Builder, name: str, target: str) -> None:
    """Fail if an image has a module that its role does not need."""
    found = f"import importlib.util as u; print([m for m in {ABSENT[target]} if u.find_spec(m)])"
    surplus = build("run", name, "--", "python", "-c", found)
    if surplus != "[]":
        raise SystemExit(f"image_check: {target} has {surplus}")


class System:
    """Containers that share a data folder, as services of compose share a volume."""

    def __init__(self, build: Builder, names: dict[str, str]) -> None:
        self.build, self.names = build, names
        self.data = Path(tempfile.mkdtemp(prefix="data-", dir=build.folder))
        os.chown(self.data, 10001, 10001)
        self.models = build.folder / "models"
        demo.build(self.models / "demo")
        shutil.copy(ROOT / "demo/pairs.jsonl", self.models)
        self.services: dict[str, subprocess.Popen[bytes]] = {}

    def words(self, role: str, *command: str) -> tuple[str | Path, ...]:
        """The words of `buildah run` for a command in the container of a role."""
        mounts = ("--volume", f"{self.data}:/data", "--volume", f"{self.models}:/models:ro")
        environment = ("--env", "HEADWISE_ALLOWED_FOLDERS=/models", "--env", "HEADWISE_PORT=8697")
        return ("run", *mounts, *environment, self.names[role], "--", *command)

    def run(self, role: str, *command: str) -> str:
        """Run a command in the container of a role; returns what it prints."""
        return self.build(*self.words(role, *command))

    def start(self, role: str, *command: str) -> None:
        """Start a service."""
        self.services[role] = self.build.start(*self.words(role, *command))

    def becomes_healthy(self, role: str) -> None:
        """Run the image's own health check until it succeeds."""
        said = json.loads(self.build("inspect", "--type", "image", f"headwise-{role}"))
        _, *check = said["Docker"]["config"]["Healthcheck"]["Test"]
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.build(*self.words(role, *check), quiet=True)
            except subprocess.CalledProcessError:
                if self.services[role].poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"image_check: {role} did not become healthy") from None
                time.sleep(1)
            else:
                return

    def stop(self) -> None:
        """End the services."""
        for service in self.services.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(service.pid, signal.SIGTERM)
            service.wait(timeout=60)


def run_job(system: System) -> None:
    """Run a job through the images: each step in the image that it belongs to."""
    system.run("scheduler", "headwise", "migrate")
    system.start("web", "headwise", "web")
    system.start("scheduler", "headwise", "scheduler")
    system.becomes_healthy("web")
    system.becomes_healthy("scheduler")
    asked = ("--model", "/models/demo", "--data", "/models/pairs.jsonl", "--limit", "4")
    system.run("web", "headwise", "submit", *asked, "--text", "premise,hypothesis")
    system.run("worker", "headwise", "worker", "--drain")
    system.run("web", "headwise", "watch", "1")
    system.run(
        "web", "headwise", "export", "1", "--table", "head_scores", "--to", "/data/1.parquet"
    )


@contextmanager
def temporary(kept: Path | None) -> Iterator[Path]:
    """A folder to keep, or one that goes in the end."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="headwise-images-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def main() -> None:
    """Build the images, and run a job through them if all are there."""
    parser = argparse.ArgumentParser(prog="python -m tools.image_check", description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS, help="default: all of them")
    parser.add_argument("--folder", type=Path, help="keeps layers for the next run; default: none")
    parser.add_argument("--driver", default="overlay", help="storage driver; vfs works anywhere")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="of Debian")
    chosen = parser.parse_args()
    with temporary(chosen.folder) as folder:
        build = Builder(folder, chosen.driver)
        if not build("images", "--quiet", "--filter", f"reference={BASE}"):
            make_base(build, chosen.mirror)
        mounts = list(pip_mounts(build.folder))
        names: dict[str, str] = {}
        for target in chosen.targets:
            began = time.monotonic()
            make_image(build, target, mounts)
            names[target] = build("from", "--pull=false", f"headwise-{target}")
            check_modules(build, names[target], target)
            size = megabytes(build, names[target])
            took = time.monotonic() - began
            sys.stdout.write(f"{target}: {size:,.0f} MB, built in {took:.0f} s\n")
            sys.stdout.flush()
        if set(TARGETS) <= names.keys():
            system = System(build, names)
            try:
                run_job(system)
                sys.stdout.write("a job ran through them\n")
            finally:
                system.stop()
        build("rm", "--all")


if __name__ == "__main__":
    main()
