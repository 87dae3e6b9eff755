"""The page about the library and its example run as they are written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer

from tests.helpers.classifiers import tiny

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A folder with a random model and a tokenizer that knows most words of the page by pieces."""
    folder = tmp_path_factory.mktemp("models") / "classifier"
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters, "man"]
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(words)})
    tokenizer.save_pretrained(folder)
    tiny(dtype=torch.float32, positions=128).save_pretrained(folder)
    return folder


def blocks():
    text = (DOCS / "howto/library.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def test_the_page_runs_from_top_to_bottom(classifier, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    assert len(blocks()) >= 6
    for block in blocks():
        exec(block.replace("path/to/classifier", str(classifier)), names)
    assert names["again"].tokens == names["result"].tokens
    assert (tmp_path / "example.html").stat().st_size > 1000
    assert "2 of 2" in capsys.readouterr().out


def test_the_example_runs(classifier, tmp_path):
    done = subprocess.run(
        [sys.executable, DOCS / "examples/explain.py", classifier],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join([str(DOCS.parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "3 examples by integrated-gradients" in done.stdout
    assert "all converged: True" in done.stdout
    assert (tmp_path / "explain.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
