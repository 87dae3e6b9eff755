"""Make a release: `make release VERSION=0.2.0`; with DRY=1 all but the commit and the tag.

A copy of HEAD gets the version, in pyproject.toml and where files name images, and the date in the
changelog; the wheel, the source and the bill of materials are built from the copy and checked. Then
the copy's commit and its tag are taken over. Nothing is pushed or published.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
NAMED_IN = ("docker/Dockerfile", "deploy/kubernetes/**/*.yaml")
"""Files that name the release and cannot read it from pyproject.toml."""
_IMAGE = r"(image: headwise-[a-z-]+:|ARG VERSION=)"
_HEADING = r"^## {version}, unreleased$"


class ReleaseError(Exception):
    """A release that cannot be made, and why."""


def version_of(tree: Path) -> str:
    """Return the version of a checkout, from its pyproject.toml."""
    text = (tree / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def named(tree: Path) -> dict[Path, set[str]]:
    """Return the versions that other files of a checkout name."""
    found = {}
    for pattern in NAMED_IN:
        for path in tree.glob(pattern):
            text = path.read_text(encoding="utf-8")
            if versions := set(re.findall(rf"{_IMAGE}([\w.+-]+)", text)):
                found[path] = {version for _, version in versions}
    return found


def set_version(tree: Path, version: str) -> None:
    """Write a version into a checkout."""
    path = tree / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        re.sub(r'^version = "[^"]+"', f'version = "{version}"', text, count=1, flags=re.MULTILINE),
        encoding="utf-8",
    )
    for path in named(tree):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(rf"{_IMAGE}[\w.+-]+", rf"\g<1>{version}", text), encoding="utf-8")


def date_changes(tree: Path, version: str, day: str) -> str:
    """Put the date into the changelog, and return what it says of the version.

    Raises ReleaseError if it does not have the version as the unreleased one.
    """
    path = tree / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    heading = re.search(_HEADING.format(version=re.escape(version)), text, flags=re.MULTILINE)
    if heading is None:
        raise ReleaseError(
            f"CHANGELOG.md has no heading '## {version}, unreleased'; write what changed under it"
        )
    text = text.replace(heading[0], f"## {version}, {day}")
    path.write_text(text, encoding="utf-8")
    section = text.partition(f"## {version}, {day}\n")[2]
    return re.split(r"^## ", section, flags=re.MULTILINE)[0].strip()


def build(tree: Path, folder: Path) -> None:
    """Build the wheel, the source and the bill of materials, and check what is in them."""
    folder.mkdir(parents=True)
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    run(build, tree)
    materials = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    run([*materials, "--pyproject", "pyproject.toml", "-o", str(folder / "sbom.json")], tree)
    check_wheel(next(folder.glob("*.whl")), version_of(tree))
    check_source(next(folder.glob("*.tar.gz")))
    sums = [f"{sha256(path)}  {path.name}" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")


def check_wheel(path: Path, version: str) -> None:
    """Raise ReleaseError if a wheel has anything but the library."""
    with zipfile.ZipFile(path) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    surplus = tops - {"headwise", f"headwise-{version}.dist-info"}
    if surplus:
        raise ReleaseError(f"{path.name} has more than the library: {', '.join(sorted(surplus))}")


def check_source(path: Path) -> None:
    """Raise ReleaseError if a source archive has a part of the application."""
    allowed = {"headwise", "pyproject.toml", "PKG-INFO", "README.md", "LICENSE", ".gitignore"}
    with tarfile.open(path) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    if tops - allowed:
        raise ReleaseError(f"{path.name} has more than the library: {sorted(tops - allowed)}")


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(command: list[str], folder: Path) -> str:
    """Run a command; returns what it prints. Raises ReleaseError with its last lines."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-5:]
        raise ReleaseError(f"{' '.join(command[:4])} failed: " + " ".join(said))
    return done.stdout.strip()


def release(version: str, tree: Path, out: Path, *, dry: bool) -> Path:
    """Release a version of the checkout; returns the folder with its files.

    dry: the checkout gets neither the commit nor the tag

    Raises ReleaseError where something is in the way.
    """
    try:
        version = str(Version(version))
    except InvalidVersion as error:
        raise ReleaseError(f"VERSION {version!r} is no version; use one like 0.2.0") from error
    if run(["git", "status", "--porcelain"], tree):
        raise ReleaseError("the checkout has changes: commit or stash them")
    tag = f"v{version}"
    if run(["git", "tag", "--list", tag], tree):
        raise ReleaseError(f"the tag {tag} exists: a released version does not change")
    target = out / version
    if target.exists():
        raise ReleaseError(f"{target} exists: remove it")
    with tempfile.TemporaryDirectory(prefix="headwise-release-") as name:
        copy = Path(name) / "headwise"
        run(["git", "clone", "--quiet", "--no-hardlinks", str(tree), str(copy)], tree)
        set_version(copy, version)
        changes = date_changes(copy, version, f"{datetime.now(UTC):%Y-%m-%d}")
        who = [part for key in ("user.name", "user.email") for part in ("-c", _config(tree, key))]
        git = ["git", *who]
        run([*git, "commit", "--quiet", "--all", "--message", f"Release {version}"], copy)
        message = f"Headwise {version}\n\n{changes}"
        run([*git, "tag", "--annotate", "--cleanup=verbatim", tag, "--message", message], copy)
        build(copy, target)
        if not dry:
            run(["git", "pull", "--quiet", "--ff-only", "--tags", str(copy), "HEAD"], tree)
    return target


def _config(tree: Path, key: str) -> str:
    return f"{key}={run(['git', 'config', key], tree)}"


def main() -> None:
    """Release the version of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--dry-run", action="store_true", help="no commit and no tag")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    chosen = parser.parse_args()
    try:
        folder = release(chosen.version, ROOT, chosen.out, dry=chosen.dry_run)
    except ReleaseError as error:
        parser.exit(1, f"release: {error}\n")
    done = "would be" if chosen.dry_run else "is"
    sys.stdout.write(f"{folder} has the files; the tag v{chosen.version} {done} made here.\n")


if __name__ == "__main__":
    main()
