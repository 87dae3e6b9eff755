"""The wheel of the library: its content, and its use beside a user's own modules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLASHING = ("stats", "trees", "db", "jobs", "cli", "workers", "scheduler", "webui")
DEPENDENCIES = {
    *("lazy-loader", "numpy", "protobuf", "safetensors", "sentencepiece", "torch", "transformers")
}

ATTRIBUTE = """
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer
import headwise, headwise.stats, headwise.trees

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "it", "is"]
config = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                    intermediate_size=16, max_position_embeddings=16)
torch.manual_seed(0)
model = BertForSequenceClassification(config).eval()
tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
result = headwise.attribute(model, tokenizer, ["so it is"])
assert result.errors == (None,), result.errors
print(headwise.__file__)
print(result.importance().shape, result.tree(0).nodes[0].token)
"""

TORCH_FREE = """
import sys
import headwise, headwise.stats.ranking, headwise.trees
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the files that it is made of."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "headwise", source / "headwise", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone, which borrows its dependencies from this one.

    They come by way of PYTHONPATH, which, unlike a site folder, runs no .pth files: the checkout
    that is installed here in editable mode is not importable there.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site / "site-packages")
    return folder / "bin" / "python"


def run(python: Path, code: str, folder: Path) -> list[str]:
    """The lines that code prints in a folder."""
    path = sysconfig.get_path("purelib")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-c", code],
        cwd=folder,
        env={**environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules named like ours."""
    for name in CLASHING:
        (tmp_path / f"{name}.py").write_text("raise ImportError('not this one')\n")
    return tmp_path


def test_the_wheel_holds_the_library_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(metadata).decode())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"headwise"}
    assert {"headwise/py.typed", "headwise/__init__.pyi"} <= set(names)
    required = [line for line in fields.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(">")[0].strip() for line in required} == DEPENDENCIES


def test_the_library_works_beside_modules_of_the_same_names(python: Path, folder: Path) -> None:
    where, result = run(python, ATTRIBUTE, folder)
    assert Path(where).is_relative_to(python.parents[1])
    assert result == "(2, 2) [SEP]"


def test_the_application_is_not_there(python: Path, tmp_path: Path) -> None:
    found = "from importlib.util import find_spec\nprint([n for n in {} if find_spec(n)])"
    assert run(python, found.format(CLASHING), tmp_path) == ["[]"]


def test_statistics_and_trees_need_no_torch(python: Path, folder: Path) -> None:
    assert run(python, TORCH_FREE, folder) == ["[]"]


def test_the_command_starts_beside_modules_of_its_names(folder: Path) -> None:
    command = Path(sysconfig.get_path("scripts")) / "headwise"
    done = subprocess.run(
        [command, "--help"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "submit" in done.stdout
