"""A release, made of a small copy of the checkout: its files, its commit and its tag."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tools.release import (
    ROOT,
    ReleaseError,
    check_wheel,
    named,
    release,
    version_of,
)

COPIED = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "docker", "deploy", "headwise")


def git(tree: Path, *words: str) -> str:
    """Run git as nobody in particular."""
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    command = ["git", *who, *words]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with what a release is made of."""
    made = tmp_path / "tree"
    made.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "secrets")
            shutil.copytree(ROOT / name, made / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, made)
    git(made, "init", "--quiet", "--initial-branch=main")
    git(made, "config", "user.name", "A")
    git(made, "config", "user.email", "a@example.org")
    changes = "# Changelog\n\n## 0.9.0, unreleased\n\n- New.\n\n## 0.1.0, 2026-01-01\n\n- Old.\n"
    (made / "CHANGELOG.md").write_text(changes)
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "All")
    return made


def test_a_dry_run_builds_and_checks_everything_and_leaves_the_checkout(
    tree: Path, tmp_path: Path
) -> None:
    before = git(tree, "rev-parse", "HEAD")
    folder = release("0.9.0", tree, tmp_path / "dist", dry=True)
    assert git(tree, "rev-parse", "HEAD") == before
    assert git(tree, "tag") == git(tree, "status", "--porcelain") == ""
    names = {path.name for path in folder.iterdir()}
    wheel = "headwise-0.9.0-py3-none-any.whl"
    assert names == {wheel, "headwise-0.9.0.tar.gz", "sbom.json", "SHA256SUMS"}
    materials = json.loads((folder / "sbom.json").read_text())
    assert materials["metadata"]["component"]["name"] == "headwise"
    assert {"numpy", "torch"} <= {part["name"] for part in materials["components"]}
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_a_release_is_one_commit_and_a_tag_that_says_what_changed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is built is another test.
    monkeypatch.setattr("tools.release.build", lambda copy, folder: folder.mkdir(parents=True))
    release("0.9.0", tree, tmp_path / "dist", dry=False)
    assert git(tree, "log", "--format=%s") == "Release 0.9.0\nAll"
    assert git(tree, "tag", "--format=%(contents)") == "Headwise 0.9.0\n\n- New."
    assert version_of(tree) == "0.9.0"
    assert set.union(*named(tree).values()) == {"0.9.0"}
    assert re.search(r"^## 0\.9\.0, \d{4}-\d\d-\d\d$", (tree / "CHANGELOG.md").read_text(), re.M)
    with pytest.raises(ReleaseError, match=r"tag v0\.9\.0 exists"):
        release("0.9.0", tree, tmp_path / "again", dry=True)


@pytest.mark.parametrize(
    ("version", "message"), [("0.8.0", "no heading"), ("new", "is no version; use one like 0.2.0")]
)
def test_a_release_that_cannot_be_made_says_why(
    tree: Path, tmp_path: Path, version: str, message: str
) -> None:
    with pytest.raises(ReleaseError, match=message):
        release(version, tree, tmp_path / "dist", dry=True)
    (tree / "new").touch()
    with pytest.raises(ReleaseError, match="has changes"):
        release("0.9.0", tree, tmp_path / "dist", dry=True)


def test_a_wheel_with_more_than_the_library_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("headwise/a.py", "")
        archive.writestr("jobs/a.py", "")
    with pytest.raises(ReleaseError, match="more than the library: jobs"):
        check_wheel(tmp_path / "a.whl", "0.9.0")


def test_files_that_name_the_release_name_this_one() -> None:
    found = named(ROOT)
    assert len(found) == 6
    assert set.union(*found.values()) == {version_of(ROOT)}
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert "\nversion:" not in citation  # it would be one more place
